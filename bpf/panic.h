/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Panics, and runtime.Goexit, which unwinds the stack as a panic does. One that
 * begins is kept with its value until it is recovered, or the goroutine ends.
 * Several can be under way on one goroutine: a deferred function may panic.
 *
 * Seen from the top of the stack a panic lies deeper than the frames that it
 * unwinds, and the deferred functions that it calls lie deeper than it:
 *
 *   caller < F < G < gopanic(1) < function that F deferred < gopanic(2)
 *
 * G was unwound by the first panic, F and its callers by the second: `passed`
 * of the first is how deep F's own stack pointer is: G is there, or deeper.
 */
#pragma once

/* Whether a goroutine is the one of a hit: a g serves others when one has ended. */
static __always_inline bool is_of(struct goroutine *goroutine, struct hit *hit)
{
	return goroutine->goid == hit->goid && goroutine->process == hit->process;
}

/* The panics of a goroutine: level counts them. */
static __always_inline struct frame_key panic_key(__u64 g, __u32 tgid, __u32 index)
{
	return (struct frame_key){.g = g, .tgid = tgid, .level = index};
}

#define PAGE_MIN 4096 /* bytes: the smallest there are */

/* Reads what the value of a panic points to, and what a string header there leads to. */
static __always_inline void read_panic(struct panic *panic, __u64 type, __u64 data)
{
	__u64 *raw = (__u64 *)panic->bytes;
	__u64 length;

	panic->value = (struct panic_value){.type = type, .data = data};
	panic->event.args = sizeof(panic->value);
	if (!type)
		return;
	/* the page behind a smaller value may not be there */
	length = -data & (PAGE_MIN - 1);
	if (bpf_probe_read_user(raw, PANIC_RAW, (void *)data) &&
	    (!length || length > PANIC_RAW ||
	     bpf_probe_read_user(raw, length & 63, (void *)data))) {
		panic->value.fault = 1;
		return;
	}
	panic->value.size = PANIC_RAW;
	length = raw[1];
	if (length && length < LENGTH_MAX) {
		if (length > PANIC_TEXT)
			length = PANIC_TEXT;
		if (!bpf_probe_read_user(panic->bytes + PANIC_RAW, length, (void *)raw[0]))
			panic->value.size += length;
	}
	panic->event.args += PADDED(panic->value.size);
}

/* The stack pointer of the frame whose deferred functions a goroutine's innermost
 * panic calls, from Go 1.22 on; 0 where that is not known. */
static __always_inline __u64 panicking_sp(__u64 g, struct binary *binary)
{
	__u64 panic, sp;

	if (!binary->panic_sp_offset ||
	    bpf_probe_read_user(&panic, sizeof(panic), (void *)(g + binary->panic_offset)) ||
	    bpf_probe_read_user(&sp, sizeof(sp), (void *)(panic + binary->panic_sp_offset)))
		return 0;
	return sp;
}

/* The stack pointer of the frame that a recovered panic goes on in; 0 where that
 * is not known. */
static __always_inline __u64 recovered_sp(__u64 g, struct binary *binary)
{
	__u64 sp;

	if (binary->panic_sp_offset)
		return panicking_sp(g, binary);
	if (bpf_probe_read_user(&sp, sizeof(sp), (void *)(g + binary->sigcode_offset)))
		return 0;
	return sp;
}

/* A panic or Goexit begins. It matters only where calls are open. */
static __always_inline void begin_panic(struct hit *hit, struct registers *r, struct binary *binary,
					__u8 reason)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct goroutine *goroutine = bpf_map_lookup_elem(&goroutines, &key);
	struct frame_key panic_at;
	struct panic *panic;
	__u32 zero = 0;

	if (!goroutine || !is_of(goroutine, hit))
		return;
	if (goroutine->panics) {
		panic_at = panic_key(hit->g, hit->tgid, goroutine->panics - 1);
		panic = bpf_map_lookup_elem(&panics, &panic_at);
		/* without a stack pointer it has passed nothing but what is deeper than all */
		if (panic && binary->panic_sp_offset)
			panic->passed = hit->hi - panicking_sp(hit->g, binary);
		if (goroutine->panics == PANICS_MAX) /* the last one stands for all that follow */
			goroutine->panics--;
	}
	panic_at = panic_key(hit->g, hit->tgid, goroutine->panics);
	panic = bpf_map_lookup_elem(&empty_panic, &zero);
	if (!panic || bpf_map_update_elem(&panics, &panic_at, panic, BPF_ANY))
		goto full;
	panic = bpf_map_lookup_elem(&panics, &panic_at);
	if (!panic)
		goto full;
	goroutine->panics++;
	panic->depth = hit->depth;
	panic->event.kind = EVENT_PANIC;
	panic->event.reason = reason;
	panic->event.panic = goroutine->panics;
	panic->event.function = COOKIE_FUNCTION(hit->cookie);
	panic->event.tgid = hit->tgid;
	panic->event.tid = hit->tid;
	panic->event.goid = hit->goid;
	panic->event.start = bpf_ktime_get_ns();
	if (reason == END_PANIC && !histograms)
		read_panic(panic, ARGUMENT_0(r), ARGUMENT_1(r));
	return;
full:
	count(&counted.panics_full);
}

/*
 * Says which panic unwound a frame, in its event, and tells of that panic once
 * in each unwinding, before the first of its frames.
 */
static __always_inline void blame(struct goroutine *goroutine, struct frame *frame,
				  struct frame_key *key, __u64 now)
{
	for (__u32 n = 0; n < PANICS_MAX; n++) {
		struct frame_key panic_at = panic_key(key->g, key->tgid, n);
		struct panic *panic;
		__u32 size;

		if (n >= goroutine->panics)
			return;
		panic = bpf_map_lookup_elem(&panics, &panic_at);
		if (!panic)
			return;
		if (frame->depth >= panic->depth || frame->depth < panic->passed)
			continue;
		frame->event.reason = panic->event.reason;
		frame->event.panic = panic->event.panic;
		if (histograms || panic->told == now || panic->event.reason != END_PANIC)
			return;
		panic->told = now;
		panic->event.end = now;
		size = panic->event.args;
		if (size > sizeof(panic->value) + sizeof(panic->bytes))
			size = sizeof(panic->value) + sizeof(panic->bytes);
		if (bpf_ringbuf_output(&events, &panic->event, sizeof(panic->event) + size,
				       wakeup()))
			count(&counted.panics_full);
		return;
	}
}

/* Forgets the panics whose calls are at `depth` or deeper: they are over, and the
 * one before them goes on. */
static __always_inline void forget_panics(struct goroutine *goroutine, __u64 g, __u32 tgid,
					  __u64 depth)
{
	for (__u32 n = 0; n < PANICS_MAX && goroutine->panics; n++) {
		struct frame_key panic_at = panic_key(g, tgid, goroutine->panics - 1);
		struct panic *panic = bpf_map_lookup_elem(&panics, &panic_at);

		if (panic && panic->depth < depth) {
			panic->passed = 0;
			return;
		}
		bpf_map_delete_elem(&panics, &panic_at);
		goroutine->panics--;
	}
}
