/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading arguments and results: a small machine that takes the steps of
 * event.h. What it reads goes into the entry that `values` has for the frame,
 * behind the event, and from there into the ring in one piece.
 *
 * Its state is in the entry, too: a level for each element that is being looked
 * at. Whatever the target's memory holds, a step reads chunk_bytes at most, and
 * STEPS_MAX steps are taken.
 */
#pragma once

#define PADDED(n) (((n) + 7) & ~7U)
#define LENGTH_MAX (1ULL << 47) /* no Go value is longer than the address space */
#define STEPS_MAX 1024
#define WORD 8

/*
 * Where the chunk behind `used` bytes begins. The verifier has to see that the
 * longest one can be found there, which is twice as much as it takes.
 */
static __always_inline struct chunk *new_chunk(struct values *values, __u32 used)
{
	return place(values, used, 2 * chunk_bytes + sizeof(struct chunk));
}

/* What may be used of values->bytes: new_chunk finds a chunk wherever that ends. */
static __always_inline __u32 room(void)
{
	return values_bytes - 2 * chunk_bytes - sizeof(struct chunk);
}

/* The word of the chunks at a position; 0 where there is none. */
static __always_inline __u64 word_at(struct values *values, __u32 position)
{
	__u64 *word = place(values, position, WORD);

	return word ? *word : 0;
}

static __always_inline __u8 byte_at(struct values *values, __u32 position)
{
	__u8 *byte = place(values, position, 1);

	return byte ? *byte : 0;
}

/*
 * Copies n bytes of the target to a position. What is compared is the very
 * register that is used: Linux 6.1 does not see that half of one is bounded.
 */
static __always_inline long read_memory(struct values *values, __u64 position, __u64 address,
					__u64 n)
{
	barrier_var(n);
	if (n > chunk_bytes)
		return -1;
	barrier_var(position);
	if (position > values_bytes - chunk_bytes)
		return -1;
	if (!n || !bpf_probe_read_user(values->bytes + position, n, (void *)address))
		return 0;
	count(&counted.unreadable);
	return -1;
}

#define TOP_HASH_MIN 5	  /* runtime.minTopHash: less is an empty slot */
#define CONTROL_FREE 0x80 /* of an empty or a deleted slot (internal/runtime/maps) */

static __always_inline bool guard_holds(struct values *values, struct level *level,
					struct step *step)
{
	__u32 at = level->position + step->guard;

	switch (step->guarded) {
	case GUARD_ZERO:
		return !word_at(values, at);
	case GUARD_NOT_ZERO:
		return word_at(values, at);
	case GUARD_TOP_HASH:
		return byte_at(values, at) >= TOP_HASH_MIN;
	case GUARD_CONTROL:
		return !(byte_at(values, at) & CONTROL_FREE);
	}
	return true;
}

/* Ends the reading. */
static __always_inline void stop(struct values *values, __u16 why)
{
	values->progress.stopped = true;
	values->progress.why = why;
}

/* What a step, or a dynamic type, says of the elements that it leads to. */
struct elements {
	__u64 address;
	__u32 left;
	__u32 size; /* in the chunk */
	__u32 gap;  /* what else each has in the target */
	__u32 first;
	__u16 count;
	__u16 whole;
	__u32 pad;
};

/*
 * Goes on with the elements at a position, in place of the current ones where
 * these were the last. False: too deep.
 */
static __always_inline bool go_down(struct values *values, struct elements *elements,
				    __u32 position, __u32 chunk)
{
	struct level *level = &values->levels[values->progress.depth & (LEVELS - 1)];
	__u16 hops = level->hops + 1;

	if (!elements->count || !elements->left)
		return true;
	if (hops > HOPS_MAX)
		return false;
	if (level->next < level->count || level->left > 1) {
		if (values->progress.depth >= LEVELS - 1)
			return false;
		level = &values->levels[++values->progress.depth & (LEVELS - 1)];
	}
	*level = (struct level){
		.address = elements->address,
		.position = position,
		.size = elements->size,
		.first = elements->first,
		.count = elements->count,
		.left = elements->left,
		.gap = elements->gap,
		.chunk = chunk,
		.hops = hops,
	};
	return true;
}

/*
 * As many of the elements as there is room for in a chunk, behind `before` bytes.
 * False: not even one.
 */
static __always_inline bool fit(struct values *values, struct elements *elements, __u32 before)
{
	__u64 taken = (__u64)values->progress.used + sizeof(struct chunk) + before;
	__u64 room = values->progress.limit;

	if (taken > room)
		return false;
	room -= taken;
	if ((__u64)elements->left * elements->size <= room)
		return true;
	if (elements->size > room)
		return false;
	elements->left = (__u32)room / elements->size;
	if (values->progress.key) /* nobody has seen the rest */
		values->progress.secret = true;
	return true;
}

/*
 * Makes the chunk of elements, behind `before` bytes that are in it already,
 * and goes on with them.
 */
static __always_inline void read_elements(struct values *values, struct chunk *chunk,
					  struct elements *elements, __u32 before)
{
	__u32 head = values->progress.used, position = head + sizeof(*chunk) + before;
	__u32 n;

	if (!fit(values, elements, before)) {
		values->progress.full = true;
		return;
	}
	n = elements->left * elements->size;
	chunk->size = chunk->good = before;
	if (n + before > chunk_bytes) {
		chunk->status = CHUNK_INVALID;
	} else if (elements->whole && read_memory(values, position, elements->address, n)) {
		chunk->status = CHUNK_FAULT;
	} else {
		chunk->size = before + n;
		if (elements->whole)
			chunk->good = before + n;
		if (!go_down(values, elements, position, head))
			chunk->status = CHUNK_DEEP;
	}
	values->progress.used += sizeof(*chunk) + PADDED(chunk->size);
}

/* One element: what a pointer leads to, or a part of the current one. */
static __always_inline void follow_pointer(struct values *values, struct chunk *chunk,
					   struct level *level, struct step *step, __u32 at)
{
	struct elements elements = {
		.address = step->op == STEP_PART ? level->address + step->offset
						 : word_at(values, at),
		.left = 1,
		.size = step->size,
		.first = step->first,
		.count = step->count,
		.whole = step->flags & STEP_WHOLE,
	};

	if (!elements.address)
		return;
	if (step->flags & STEP_INDEX) {
		__u64 length = word_at(values, at + WORD);

		if (length <= step->limit)
			return;
		if (length > LENGTH_MAX) {
			chunk->status = CHUNK_INVALID;
			values->progress.used += sizeof(*chunk);
			return;
		}
	}
	elements.address += step->skip;
	read_elements(values, chunk, &elements, 0);
}

static __always_inline void follow_data(struct values *values, struct chunk *chunk,
					struct level *level, struct step *step, __u32 at)
{
	struct elements elements = {
		.address = word_at(values, at),
		.size = step->size,
		.first = step->first,
		.count = step->count,
		.whole = step->flags & STEP_WHOLE,
	};
	__u64 length;

	elements.gap = step->skip;
	switch (step->length) {
	case LENGTH_LOG2:
	case LENGTH_HALF:
		length = byte_at(values, level->position + step->guard);
		if (step->length == LENGTH_HALF && length)
			length--;
		length = 1ULL << (length & 63);
		break;
	case LENGTH_MASK:
		length = word_at(values, at + WORD) + 1;
		break;
	default:
		length = word_at(values, at + WORD);
	}
	if (!length || !elements.address)
		return;
	if (length > LENGTH_MAX) {
		chunk->status = CHUNK_INVALID;
		values->progress.used += sizeof(*chunk);
		return;
	}
	elements.left = step->limit;
	if (length <= step->limit)
		elements.left = length;
	else if (values->progress.key) /* nobody has seen the rest */
		values->progress.secret = true;
	read_elements(values, chunk, &elements, 0);
}

static __always_inline void follow_interface(struct values *values, struct chunk *chunk,
					     struct step *step, __u32 at)
{
	__u32 index = COOKIE_BINARY(values->progress.cookie);
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct dynamic_key key = {.binary = index, .of = step->limit};
	__u64 type = word_at(values, at);
	struct elements elements = {.left = 1};
	struct dynamic *dynamic;

	if (!type || !binary)
		return;
	/* runtime.itab: the interface, the type */
	if (!(step->flags & STEP_EMPTY) &&
	    bpf_probe_read_user(&type, sizeof(type), (void *)(type + WORD))) {
		count(&counted.unreadable);
		chunk->status = CHUNK_FAULT;
		values->progress.used += sizeof(*chunk);
		return;
	}
	*(__u64 *)(chunk + 1) = type;
	key.type = type - load_bias(binary);
	dynamic = bpf_map_lookup_elem(&dynamics, &key);
	if (!dynamic) {
		chunk->status = CHUNK_TYPE;
		read_elements(values, chunk, &elements, sizeof(type));
		return;
	}
	if (dynamic->flags & STEP_SECRET)
		values->progress.secret |= values->progress.key != 0;
	elements.first = dynamic->first;
	elements.count = dynamic->count;
	if (dynamic->direct) {
		__u32 head = values->progress.used;

		read_elements(values, chunk, &(struct elements){}, sizeof(type));
		if (!go_down(values, &elements, at + WORD, head))
			chunk->status = CHUNK_DEEP;
		return;
	}
	elements.address = word_at(values, at + WORD);
	elements.size = dynamic->size;
	elements.whole = dynamic->flags & STEP_WHOLE;
	read_elements(values, chunk, &elements, sizeof(type));
}

/*
 * Goes on with a value whose type depends on the dictionary of the call, which is
 * in the root chunk of the arguments, at the beginning of the entry.
 */
static __always_inline void follow_shape(struct values *values, struct level *level,
					 struct step *step, __u32 at)
{
	__u32 index = COOKIE_BINARY(values->progress.cookie);
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct dynamic_key key = {.binary = index, .of = step->limit};
	struct elements elements = {
		.address = level->address + step->offset,
		.left = 1,
		.first = step->first,
		.count = step->count,
	};
	struct dynamic *dynamic;

	if (!binary)
		return;
	key.type = word_at(values, sizeof(struct chunk) + step->guard);
	key.type -= load_bias(binary);
	dynamic = bpf_map_lookup_elem(&dynamics, &key);
	if (dynamic) {
		elements.first = dynamic->first;
		elements.count = dynamic->count;
	}
	if (!go_down(values, &elements, at, level->chunk))
		stop(values, CHUNK_DEEP);
}

/*
 * Reads a range of the current element. Where that fails, the chunk is worth
 * nothing, nor is what has been read for its elements: nothing comes behind it.
 */
static __always_inline void read_range(struct values *values, struct level *level,
				       struct step *step)
{
	struct chunk *chunk = place(values, level->chunk, sizeof(*chunk));
	__u32 at = level->position + step->offset;

	if (!chunk)
		return;
	if (!read_memory(values, at, level->address + step->offset, step->size)) {
		__u32 good = at + step->size - level->chunk - sizeof(*chunk);

		if (good > chunk->good && good <= chunk->size)
			chunk->good = good;
		return;
	}
	stop(values, CHUNK_OK);
	chunk->good = 0;
	chunk->status = CHUNK_FAULT;
	values->progress.used = level->chunk + sizeof(*chunk) + PADDED(chunk->size);
}

/*
 * Has the next turn judge what a step has read of a key: what was not read cannot
 * be called harmless.
 */
static __always_inline void judge(struct values *values, struct chunk *chunk, __u32 head,
				  struct step *step)
{
	__u32 type = step->op == STEP_INTERFACE ? WORD : 0;

	if (chunk->status != CHUNK_OK || chunk->size < type)
		values->progress.secret = true;
	if (step->op == STEP_PART && !(step->flags & STEP_TEXT))
		return;
	values->progress.text = head + sizeof(*chunk) + type;
	values->progress.length = chunk->size - type;
}

static __always_inline void take_step(struct values *values, struct level *level, struct step *step)
{
	__u32 at = level->position + step->offset, head;
	struct chunk *chunk;

	if (step->op == STEP_RANGE) {
		read_range(values, level, step);
		return;
	}
	if (step->op == STEP_ARRAY) {
		struct elements elements = {
			.address = level->address + step->offset,
			.left = step->limit,
			.size = step->size,
			.first = step->first,
			.count = step->count,
		};

		if (!go_down(values, &elements, at, level->chunk))
			stop(values, CHUNK_DEEP);
		return;
	}
	if (step->op == STEP_SHAPE) {
		follow_shape(values, level, step, at);
		return;
	}
	chunk = new_chunk(values, values->progress.used);
	if (!chunk || values->progress.used + sizeof(*chunk) > values->progress.limit)
		values->progress.full = true;
	if (values->progress.full || !chunk)
		return;
	*chunk = (struct chunk){};
	if (step->flags & STEP_KEY) {
		values->progress.key = values->progress.depth;
		values->progress.secret = false;
	}
	if (step->flags & STEP_PUBLIC && values->progress.secret) {
		chunk->status = CHUNK_SECRET;
		values->progress.used += sizeof(*chunk);
		return;
	}
	head = values->progress.used;
	switch (step->op) {
	case STEP_POINTER:
	case STEP_PART:
		follow_pointer(values, chunk, level, step, at);
		break;
	case STEP_DATA:
		follow_data(values, chunk, level, step, at);
		break;
	case STEP_INTERFACE:
		follow_interface(values, chunk, step, at);
		break;
	}
	if (values->progress.key && values->progress.used > head)
		judge(values, chunk, head, step);
}

static long next_step(__u32 n, void *context)
{
	struct values *values = *(struct values **)context;
	struct level *level = &values->levels[values->progress.depth & (LEVELS - 1)];
	struct step *step;
	__u32 index;

	if (values->progress.stopped)
		return 1;
	if (values->progress.length) {
		if (!values->progress.secret &&
		    looks_secret(values, values->progress.text, values->progress.length))
			values->progress.secret = true;
		values->progress.length = 0;
		return 0;
	}
	if (values->progress.depth <= values->progress.key)
		values->progress.key = 0;
	if (level->next >= level->count) {
		if (level->left > 1) {
			level->left--;
			level->position += level->size;
			level->address += level->size + level->gap;
			level->next = 0;
			return 0;
		}
		if (!values->progress.depth) {
			stop(values, CHUNK_OK);
			return 1;
		}
		values->progress.depth--;
		return 0;
	}
	index = level->first + level->next++;
	step = bpf_map_lookup_elem(&steps, &index);
	if (!step) {
		stop(values, CHUNK_OK);
		return 1;
	}
	if (guard_holds(values, level, step))
		take_step(values, level, step);
	return 0;
}
