/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * When values are read, and where they are kept: arguments at the entry of a call,
 * or before it where the stack has to grow first; results at its exit.
 */
#pragma once

/*
 * Reads what a function's steps say, of its ARGS or RESULTS, behind `used`
 * bytes; how many are in use then.
 */
static __always_inline __u32 read_values(struct hit *hit, struct registers *r,
					 struct values *values, __u32 used, int results)
{
	__u32 index = COOKIE_FUNCTION(hit->cookie);
	struct function *function = bpf_map_lookup_elem(&functions, &index);
	struct progress *progress = &values->progress;
	__u32 limit = room();
	struct root *root;
	struct chunk *chunk;

	chunk = new_chunk(values, used);
	if (!function || !chunk)
		return used;
	root = &function->roots[results];
	if (root->size > chunk_bytes || used + sizeof(*chunk) + root->size > limit)
		return used;
	if (root->reserve < limit)
		limit -= root->reserve;
	limit &= ~(WORD - 1); /* as chunks are padded */
	*chunk = (struct chunk){.size = root->size, .good = root->held};
	copy_arguments((__u64 *)(chunk + 1), r, root->registers);
	*progress = (struct progress){
		.cookie = hit->cookie,
		.used = used + sizeof(*chunk) + root->size,
		.limit = limit,
	};
	if (!root->count)
		return progress->used;
	values->levels[0] = (struct level){
		.address = hit->return_address + root->stack,
		.position = used + sizeof(*chunk),
		.first = root->first,
		.count = root->count,
		.left = 1,
		.chunk = used,
	};
	bpf_loop(STEPS_MAX, next_step, &values, 0);
	if (chunk->status == CHUNK_OK)
		chunk->status = progress->stopped ? progress->why : CHUNK_STEPS;
	return progress->used;
}

/* Reads the arguments of a call into a new entry; their size in bytes, or negative. */
GLOBAL int read_args(struct hit *hit, __u32 level, struct bpf_user_pt_regs_t *context)
{
	struct frame_key key;
	__u32 zero = 0;
	struct values *entry = bpf_map_lookup_elem(&empty_values, &zero);

	if (!hit || !entry)
		return -1;
	key = (struct frame_key){.g = hit->g, .tgid = hit->tgid, .level = level};
	if (bpf_map_update_elem(&values, &key, entry, BPF_ANY))
		return -1;
	entry = bpf_map_lookup_elem(&values, &key);
	if (!entry)
		return -1;
	return has(hit, COOKIE_ARGS) ? read_values(hit, &context->registers, entry, 0, ARGS) : 0;
}

/* Whether arguments were kept for this very call, as far as its goroutine is known. */
static __always_inline bool kept_for(struct values *kept, struct hit *hit)
{
	if (!kept || kept->event.tgid != hit->process ||
	    kept->event.function != COOKIE_FUNCTION(hit->cookie))
		return false;
	return !kept->event.goid || !hit->goid ||
	       (kept->event.goid == hit->goid && kept->event.start == hit->depth);
}

/*
 * The stack has to grow, or the goroutine to yield, before a call can begin:
 * the function starts again afterwards, but the compiler brings only those
 * argument registers through that it uses. So they are read here. It may
 * happen again before the entry: the first time was the right one.
 */
static __always_inline void keep_args(struct hit *hit, struct registers *r)
{
	struct frame_key key = {.g = hit->g, .tgid = hit->tgid, .level = LEVEL_KEPT};
	struct values *kept = bpf_map_lookup_elem(&values, &key);
	long size;

	if (kept_for(kept, hit))
		return;
	size = read_args(hit, key.level, context_of(r));
	kept = bpf_map_lookup_elem(&values, &key);
	if (size < 0 || !kept) {
		count(&counted.values_full);
		return;
	}
	kept->event.goid = hit->goid;
	kept->event.tgid = hit->process;
	kept->event.start = hit->depth;
	kept->event.function = COOKIE_FUNCTION(hit->cookie);
	kept->event.args = size;
}

/* Gives a call the arguments that are kept under another key. */
static __always_inline long take_args(struct frame_key *key, struct values *kept,
				      struct frame_key *kept_key)
{
	long size = kept->event.args;

	if (bpf_map_update_elem(&values, key, kept, BPF_ANY))
		size = -1;
	bpf_map_delete_elem(&values, kept_key);
	return size;
}

/* The arguments of a call: those that were kept for it, else read now. */
static __always_inline long enter_args(struct hit *hit, struct frame_key *key, struct registers *r)
{
	struct frame_key kept_key = {.g = hit->g, .tgid = hit->tgid, .level = LEVEL_KEPT};
	struct values *kept;

	if (has(hit, COOKIE_KEPT)) {
		kept = bpf_map_lookup_elem(&values, &kept_key);
		if (kept_for(kept, hit))
			return take_args(key, kept, &kept_key);
	}
	return read_args(hit, key->level, context_of(r));
}

/* What key the arguments have of a call that is put off, by the index of its hit. */
static __always_inline struct frame_key late_key(__u64 g, __u32 tgid, __u32 index)
{
	return (struct frame_key){.g = g, .tgid = tgid, .level = LEVEL_LATE + index};
}

/* Reads those. */
static __always_inline void put_off_args(struct hit *hit, __u32 index, struct registers *r)
{
	struct frame_key key = late_key(hit->g, hit->tgid, index);
	long size = enter_args(hit, &key, r);
	struct values *entry = bpf_map_lookup_elem(&values, &key);

	if (entry && size >= 0)
		entry->event.args = size;
	else
		bpf_map_delete_elem(&values, &key);
}

/* The arguments of a call that was put off; negative: there was no memory for them. */
static __always_inline long late_args(struct hit *hit, struct frame_key *key)
{
	struct frame_key late = late_key(hit->g, hit->tgid, hit->index);
	struct values *entry = bpf_map_lookup_elem(&values, &late);

	return entry ? take_args(key, entry, &late) : -1;
}

/* Forgets what was kept for a call that is not told. */
static __always_inline void drop_args(struct hit *hit)
{
	struct frame_key key = {.g = hit->g, .tgid = hit->tgid, .level = LEVEL_KEPT};

	if (has(hit, COOKIE_KEPT))
		bpf_map_delete_elem(&values, &key);
}

/* Reads the results at an exit, behind the arguments; their size in bytes. */
static __always_inline __u32 read_results(struct hit *hit, struct values *entry, __u32 used,
					  struct registers *r)
{
	return read_values(hit, r, entry, used, RESULTS) - used;
}
