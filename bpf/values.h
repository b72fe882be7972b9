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

/* The state of one reading. */
struct reading {
	struct values *values;
	__u64 cookie;
	__u32 used;   /* bytes of values->bytes in use */
	__u32 depth;  /* index of the current level */
	__u32 secret; /* whether the last STEP_KEY looked like one, or could not be seen */
	__u32 stopped;
};

/* Whether there is room for the longest chunk, and what is in it can be found. */
static __always_inline struct chunk *new_chunk(struct values *values, __u32 used)
{
	return place(values, used, 2 * chunk_bytes + sizeof(struct chunk));
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

static __always_inline bool guard_holds(struct reading *reading, struct level *level,
					struct step *step)
{
	struct values *values = reading->values;
	__u32 at = level->position + step->guard;

	if (step->guarded & GUARD_PUBLIC && reading->secret)
		return false;
	switch (step->guarded & ~GUARD_PUBLIC) {
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

/* What a step, or a dynamic type, says of the elements that it leads to. */
struct elements {
	__u64 address;
	__u32 left;
	__u32 size;
	__u32 first;
	__u16 count;
	__u8 whole;
	__u8 pad;
};

/* Goes on with the elements at a position. False: too deep. */
static __always_inline bool go_down(struct reading *reading, struct elements *elements,
				    __u32 position, __u32 chunk)
{
	struct level *below;

	if (!elements->count || !elements->left)
		return true;
	if (reading->depth >= LEVELS - 1)
		return false;
	below = &reading->values->levels[++reading->depth & (LEVELS - 1)];
	*below = (struct level){
		.address = elements->address,
		.position = position,
		.size = elements->size,
		.first = elements->first,
		.count = elements->count,
		.left = elements->left,
		.chunk = chunk,
	};
	return true;
}

/*
 * Makes the chunk of elements, behind `before` bytes that are in it already,
 * and goes on with them.
 */
static __always_inline void read_elements(struct reading *reading, struct chunk *chunk,
					  struct elements *elements, __u32 before)
{
	__u32 head = reading->used, position = head + sizeof(*chunk) + before;
	__u32 n = elements->left * elements->size;

	chunk->size = chunk->good = before;
	if (n + before > chunk_bytes) {
		chunk->status = CHUNK_INVALID;
	} else if (elements->whole &&
		   read_memory(reading->values, position, elements->address, n)) {
		chunk->status = CHUNK_FAULT;
	} else {
		chunk->size = chunk->good = before + n;
		if (!go_down(reading, elements, position, head))
			chunk->status = CHUNK_DEEP;
	}
	reading->used += sizeof(*chunk) + PADDED(chunk->size);
}

static __always_inline void follow_pointer(struct reading *reading, struct chunk *chunk,
					   struct step *step, __u32 at)
{
	struct elements elements = {
		.address = word_at(reading->values, at),
		.left = 1,
		.size = step->size,
		.first = step->first,
		.count = step->count,
		.whole = step->flags & STEP_WHOLE,
	};

	if (!elements.address)
		return;
	if (step->flags & STEP_INDEX) {
		__u64 length = word_at(reading->values, at + WORD);

		if (length <= step->limit)
			return;
		if (length > LENGTH_MAX) {
			chunk->status = CHUNK_INVALID;
			reading->used += sizeof(*chunk);
			return;
		}
	}
	elements.address += step->skip;
	read_elements(reading, chunk, &elements, 0);
}

/* A key that was not read, or not to its end, cannot be called harmless. */
static __always_inline void judge(struct reading *reading, struct chunk *chunk, __u32 head,
				  __u64 length)
{
	if (chunk->status == CHUNK_OK && length <= chunk->size &&
	    !looks_secret(reading->values, head + sizeof(*chunk), chunk->size))
		return;
	reading->secret = true;
	if (chunk->status == CHUNK_OK)
		chunk->status = CHUNK_SECRET;
}

static __always_inline void follow_data(struct reading *reading, struct chunk *chunk,
					struct level *level, struct step *step, __u32 at)
{
	struct elements elements = {
		.address = word_at(reading->values, at),
		.size = step->size,
		.first = step->first,
		.count = step->count,
		.whole = step->flags & STEP_WHOLE,
	};
	__u32 head = reading->used;
	__u64 length;

	if (step->flags & STEP_KEY)
		reading->secret = false;
	switch (step->length) {
	case LENGTH_LOG2:
	case LENGTH_HALF:
		length = byte_at(reading->values, level->position + step->guard);
		if (step->length == LENGTH_HALF && length)
			length--;
		length = 1ULL << (length & 63);
		break;
	case LENGTH_MASK:
		length = word_at(reading->values, at + WORD) + 1;
		break;
	default:
		length = word_at(reading->values, at + WORD);
	}
	if (!length || !elements.address)
		return;
	if (length > LENGTH_MAX) {
		reading->secret = true;
		chunk->status = CHUNK_INVALID;
		reading->used += sizeof(*chunk);
		return;
	}
	elements.left = length > step->limit ? step->limit : length;
	read_elements(reading, chunk, &elements, 0);
	if (step->flags & STEP_KEY)
		judge(reading, chunk, head, length);
}

static __always_inline void follow_interface(struct reading *reading, struct chunk *chunk,
					     struct step *step, __u32 at)
{
	__u32 index = COOKIE_BINARY(reading->cookie);
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct dynamic_key key = {.binary = index, .of = step->limit};
	__u64 type = word_at(reading->values, at);
	struct elements elements = {.left = 1};
	struct dynamic *dynamic;

	if (!type || !binary)
		return;
	/* runtime.itab: the interface, the type */
	if (!(step->flags & STEP_EMPTY) &&
	    bpf_probe_read_user(&type, sizeof(type), (void *)(type + WORD))) {
		count(&counted.unreadable);
		chunk->status = CHUNK_FAULT;
		reading->used += sizeof(*chunk);
		return;
	}
	*(__u64 *)(chunk + 1) = type;
	key.type = type - load_bias(binary);
	dynamic = bpf_map_lookup_elem(&dynamics, &key);
	if (!dynamic) {
		chunk->status = CHUNK_TYPE;
		read_elements(reading, chunk, &elements, sizeof(type));
		return;
	}
	elements.first = dynamic->first;
	elements.count = dynamic->count;
	if (dynamic->direct) {
		__u32 head = reading->used;

		read_elements(reading, chunk, &(struct elements){}, sizeof(type));
		if (!go_down(reading, &elements, at + WORD, head))
			chunk->status = CHUNK_DEEP;
		return;
	}
	elements.address = word_at(reading->values, at + WORD);
	elements.size = dynamic->size;
	elements.whole = dynamic->flags & STEP_WHOLE;
	read_elements(reading, chunk, &elements, sizeof(type));
}

/*
 * Goes on with a value whose type depends on the dictionary of the call, which is
 * in the root chunk of the arguments, at the beginning of the entry.
 */
static __always_inline void follow_shape(struct reading *reading, struct level *level,
					 struct step *step, __u32 at)
{
	__u32 index = COOKIE_BINARY(reading->cookie);
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
	key.type = word_at(reading->values, sizeof(struct chunk) + step->guard);
	key.type -= load_bias(binary);
	dynamic = bpf_map_lookup_elem(&dynamics, &key);
	if (dynamic) {
		elements.first = dynamic->first;
		elements.count = dynamic->count;
	}
	if (!go_down(reading, &elements, at, level->chunk))
		reading->stopped = true;
}

/*
 * Reads a part of the current element. Where that fails, the chunk is worth
 * nothing, nor is what has been read for its elements: nothing comes behind it.
 */
static __always_inline void read_range(struct reading *reading, struct level *level,
				       struct step *step)
{
	struct values *values = reading->values;
	struct chunk *chunk;

	if (!read_memory(values, level->position + step->offset, level->address + step->offset,
			 step->size))
		return;
	reading->stopped = true;
	chunk = place(values, level->chunk, sizeof(*chunk));
	if (!chunk)
		return;
	chunk->good = 0;
	chunk->status = CHUNK_FAULT;
	reading->used = level->chunk + sizeof(*chunk) + PADDED(chunk->size);
}

static __always_inline void take_step(struct reading *reading, struct level *level,
				      struct step *step)
{
	__u32 at = level->position + step->offset;
	struct chunk *chunk;

	if (step->op == STEP_RANGE) {
		read_range(reading, level, step);
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

		/* There is no chunk that could say so. */
		if (!go_down(reading, &elements, at, level->chunk))
			reading->stopped = true;
		return;
	}
	if (step->op == STEP_SHAPE) {
		follow_shape(reading, level, step, at);
		return;
	}
	chunk = new_chunk(reading->values, reading->used);
	if (!chunk)
		return;
	switch (step->op) {
	case STEP_POINTER:
		follow_pointer(reading, chunk, step, at);
		return;
	case STEP_DATA:
		follow_data(reading, chunk, level, step, at);
		return;
	case STEP_INTERFACE:
		follow_interface(reading, chunk, step, at);
		return;
	}
}

static long next_step(__u32 n, void *context)
{
	struct reading *reading = context;
	struct level *level = &reading->values->levels[reading->depth & (LEVELS - 1)];
	struct step *step;
	__u32 index;

	if (reading->stopped || !new_chunk(reading->values, reading->used))
		return 1;
	if (level->next >= level->count) {
		if (level->left > 1) {
			level->left--;
			level->position += level->size;
			level->address += level->size;
			level->next = 0;
			return 0;
		}
		if (!reading->depth)
			return 1;
		reading->depth--;
		return 0;
	}
	index = level->first + level->next++;
	step = bpf_map_lookup_elem(&steps, &index);
	if (!step)
		return 1;
	if (guard_holds(reading, level, step))
		take_step(reading, level, step);
	return 0;
}
