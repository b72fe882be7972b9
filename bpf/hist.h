/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * With `histograms`, what is kept of a call that has ended: it is counted, by its
 * function and its duration, and is no event.
 *
 * Durations below 64 ns have a bucket each. Above, the buckets between two powers
 * of two are 32 of the same width: from one bound to the next it is 3.1 % at most.
 */
#pragma once

/* Its number, below 1,920: see bounds in instrument/hist. */
static __always_inline __u32 bucket_of(__u64 duration)
{
	__u32 log = 0;
	__u64 rest = duration;

#pragma unroll
	for (__u32 bits = 32; bits; bits /= 2) {
		if (rest >> bits) {
			rest >>= bits;
			log += bits;
		}
	}
	if (log <= BUCKET_BITS)
		return duration;
	log -= BUCKET_BITS;
	return (log << BUCKET_BITS) + (duration >> log);
}

/* Makes a number at least n. Only a program that preempts this one interferes. */
static __always_inline void raise_to(__u64 *number, __u64 n)
{
	__u64 seen = *number;

	for (int tries = 0; tries < 8 && seen < n; tries++) {
		__u64 was = __sync_val_compare_and_swap(number, seen, n);

		if (was == seen)
			return;
		seen = was;
	}
}

/* Counts a call into its bucket. False: there is no room for one more. */
static __always_inline bool count_duration(__u32 function, __u64 duration)
{
	struct bucket_key key = {.function = function, .bucket = bucket_of(duration)};
	__u64 *calls = bpf_map_lookup_elem(&buckets, &key);
	__u64 none = 0;

	if (!calls) {
		bpf_map_update_elem(&buckets, &key, &none, BPF_NOEXIST);
		calls = bpf_map_lookup_elem(&buckets, &key);
		if (!calls)
			return false;
	}
	count(calls);
	return true;
}

/* Counts a call that has ended. */
static __always_inline void count_call(struct event *event, bool failed)
{
	__u32 function = event->function;
	__u64 duration = event->end - event->start;
	struct durations *kept = bpf_map_lookup_elem(&durations, &function);

	if (!kept)
		return;
	if (!count_duration(function, duration))
		count(&kept->unbucketed);
	__sync_fetch_and_add(&kept->sum, duration);
	raise_to(&kept->max, duration);
	if (event->reason == END_PANIC) {
		count(&kept->panics);
		failed = true;
	}
	if (failed)
		count(&kept->errors);
}

/* Whether an error is io.EOF, or another errors.New("EOF"), which is no failure. */
static __always_inline bool is_eof(struct binary *binary, __u64 itab, __u64 data)
{
	__u64 type, text[2];
	char bytes[3];

	if (!binary->error_string ||
	    bpf_probe_read_user(&type, sizeof(type), (void *)(itab + WORD)) ||
	    type - load_bias(binary) != binary->error_string ||
	    bpf_probe_read_user(text, sizeof(text), (void *)data) || text[1] != sizeof(bytes) ||
	    bpf_probe_read_user(bytes, sizeof(bytes), (void *)text[0]))
		return false;
	return bytes[0] == 'E' && bytes[1] == 'O' && bytes[2] == 'F';
}

/* Whether a call that returns has an error as its last result that is not nil. */
GLOBAL int has_failed(struct hit *hit, struct bpf_user_pt_regs_t *context)
{
	struct registers *r = &context->registers;
	struct function *function;
	struct binary *binary;
	__u64 error[2] = {};
	__u32 index, of;

	if (!hit)
		return false;
	index = COOKIE_FUNCTION(hit->cookie);
	of = COOKIE_BINARY(hit->cookie);
	function = bpf_map_lookup_elem(&functions, &index);
	binary = bpf_map_lookup_elem(&binaries, &of);
	if (!function || !binary || !function->error)
		return false;
	if (function->error < 0) {
		error[0] = argument(r, -1 - function->error);
		error[1] = argument(r, -function->error);
	} else if (bpf_probe_read_user(error, sizeof(error),
				       (void *)(hit->return_address + function->error))) {
		count(&counted.unreadable);
	}
	return error[0] && !is_eof(binary, error[0], error[1]);
}

/* Whether a call ends by jumping into another function. */
static __always_inline bool is_tail(struct hit *hit)
{
	return has(hit, COOKIE_TAIL) && !has(hit, COOKIE_BOTH);
}

static __always_inline bool returns_error(struct hit *hit, struct registers *r)
{
	return has(hit, COOKIE_RESULTS) && !is_tail(hit) && has_failed(hit, context_of(r));
}
