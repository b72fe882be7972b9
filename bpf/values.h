/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading arguments and results. What to read is data (struct capture); what
 * was read goes into the entry that `values` has for the frame, behind the
 * event, and from there into the ring in one piece.
 */
#pragma once

#define PADDED(n) (((n) + 7) & ~7U)
#define LENGTH_MAX (1ULL << 47) /* no Go value is longer than the address space */

/* The state of one reading. */
struct reading {
	struct values *values;
	__u64 return_address;
	__u32 first; /* index of the first capture */
	__u32 base;  /* its index among the captures of the function */
	__u32 used;  /* bytes of values->bytes in use */
	__u32 pad;
};

static __always_inline int read_word(struct reading *reading, struct capture *capture, int n,
				     __u64 *word)
{
	__s8 reg = capture->reg[n];

	if (reg >= 0) {
		*word = reading->values->registers[reg & 15];
		return 0;
	}
	return bpf_probe_read_user(word, sizeof(*word),
				   (void *)(reading->return_address + capture->offset[n]));
}

/* Up to string_bytes bytes of memory at `from`; how many, or negative. */
static __always_inline long read_bytes(__u8 *to, __u64 from, __u64 length)
{
	__u32 n = length > string_bytes ? string_bytes : length;

	if (n == 0)
		return 0;
	if (bpf_probe_read_user(to, n, (void *)from))
		return -1;
	return n;
}

static __always_inline void read_string(struct value *value, __u8 *to)
{
	long n;

	if (value->word > LENGTH_MAX) {
		value->status = VALUE_INVALID;
		return;
	}
	n = read_bytes(to, value->addr, value->word);
	if (n < 0)
		value->status = VALUE_FAULT;
	else
		value->size = n;
}

/*
 * The dynamic type of an error, and what a string header in its data says:
 * errors.errorString, fmt.wrapError and others begin with their message. uspan
 * uses it only for the types of which that is known.
 */
static __always_inline void read_error(struct value *value, __u8 *to)
{
	__u64 header[2];
	long n;

	if (!value->word)
		return;
	if (bpf_probe_read_user(&value->word, sizeof(value->word), (void *)(value->word + 8))) {
		value->status = VALUE_FAULT;
		return;
	}
	if (bpf_probe_read_user(header, sizeof(header), (void *)value->addr) ||
	    header[1] > LENGTH_MAX)
		return;
	n = read_bytes(to + 8, header[0], header[1]);
	if (n < 0)
		return;
	*(__u64 *)to = header[1];
	value->size = n + 8;
}

static long read_value(__u32 n, void *context)
{
	struct reading *reading = context;
	__u32 index = reading->first + n;
	struct capture *capture = bpf_map_lookup_elem(&captures, &index);
	struct value *value;
	__u32 used = reading->used;

	if (!capture || used > values_bytes - sizeof(*value))
		return 1;
	value = (struct value *)(reading->values->bytes + used);
	*value = (struct value){.capture = reading->base + n};
	used += sizeof(*value);
	if (used > values_bytes - 8 - PADDED(string_bytes)) {
		value->status = VALUE_NO_ROOM;
		goto out;
	}
	if (read_word(reading, capture, 0, &value->word)) {
		value->status = VALUE_FAULT;
		goto out;
	}
	if (capture->kind == CAPTURE_WORD)
		goto out;
	if (read_word(reading, capture, 1, &value->addr)) {
		value->status = VALUE_FAULT;
		goto out;
	}
	if (capture->kind == CAPTURE_STRING) {
		__u64 address = value->word;

		value->word = value->addr;
		value->addr = address;
		read_string(value, reading->values->bytes + used);
	} else {
		read_error(value, reading->values->bytes + used);
	}
	used += PADDED(value->size);
out:
	reading->used = used;
	return 0;
}

/* Reads `count` captures from `first` on; how many bytes are in use then. */
static __always_inline __u32 read_values(struct values *values, struct hit *hit, __u32 first,
					 __u32 base, __u32 count, __u32 used)
{
	struct reading reading = {
		.values = values,
		.return_address = hit->return_address,
		.first = first,
		.base = base,
		.used = used,
	};

	bpf_loop(count, read_value, &reading, 0);
	return reading.used;
}

/* Reads the arguments of a call into a new entry; their size in bytes, or negative. */
static __always_inline long read_args(struct hit *hit, struct frame_key *key, struct registers *r)
{
	__u32 zero = 0, index = COOKIE_FUNCTION(hit->cookie);
	struct function *function = bpf_map_lookup_elem(&functions, &index);
	struct values *entry = bpf_map_lookup_elem(&empty_values, &zero);

	if (!function || !entry || bpf_map_update_elem(&values, key, entry, BPF_ANY))
		return -1;
	entry = bpf_map_lookup_elem(&values, key);
	if (!entry)
		return -1;
	copy_arguments(entry->registers, r);
	return read_values(entry, hit, function->first, 0, function->args, 0);
}

/* Whether arguments were kept for this very call. */
static __always_inline bool kept_for(struct values *kept, struct hit *hit)
{
	return kept && kept->event.goid == hit->goid && kept->event.start == hit->depth &&
	       kept->event.function == COOKIE_FUNCTION(hit->cookie);
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
	size = read_args(hit, &key, r);
	kept = bpf_map_lookup_elem(&values, &key);
	if (size < 0 || !kept) {
		count(&counted.values_full);
		return;
	}
	kept->event.goid = hit->goid;
	kept->event.start = hit->depth;
	kept->event.function = COOKIE_FUNCTION(hit->cookie);
	kept->event.args = size;
}

/* The arguments of a call: those that were kept for it, else read now. */
static __always_inline long enter_args(struct hit *hit, struct frame_key *key, struct registers *r)
{
	struct frame_key kept_key = {.g = hit->g, .tgid = hit->tgid, .level = LEVEL_KEPT};
	struct values *kept;
	long size;

	if (!(hit->cookie & COOKIE_KEPT))
		return read_args(hit, key, r);
	kept = bpf_map_lookup_elem(&values, &kept_key);
	if (!kept_for(kept, hit))
		return read_args(hit, key, r);
	size = kept->event.args;
	if (bpf_map_update_elem(&values, key, kept, BPF_ANY))
		size = -1;
	bpf_map_delete_elem(&values, &kept_key);
	return size;
}

/* Reads the results at an exit, behind the arguments; their size in bytes. */
static __always_inline __u32 read_results(struct hit *hit, struct values *entry, __u32 used,
					  struct registers *r)
{
	__u32 index = COOKIE_FUNCTION(hit->cookie);
	struct function *function = bpf_map_lookup_elem(&functions, &index);

	if (!function)
		return 0;
	copy_arguments(entry->registers, r);
	return read_values(entry, hit, function->first + function->args, function->args,
			   function->results, used) -
	       used;
}
