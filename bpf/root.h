/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where traces begin. A trace is a unit of work: a call that goes on for as long
 * as its goroutine, and takes up one piece of work after the other, does not
 * adopt these, and no trace grows without a bound. Such roots have a link to the
 * call that made them.
 */
#pragma once

/* Whether a call that is about to be made returns to a place whose calls are roots. */
static __always_inline bool is_root_call(struct context *context, __u64 returns_to)
{
	struct root_call call = {.function = context->function,
				 .distance = returns_to - context->origin};

	return bpf_map_lookup_elem(&root_calls, &call);
}

/* Whether the call that begins is, or is made on behalf of, a root call. */
static __always_inline bool begins_trace(struct hit *hit, struct context *context)
{
	__u64 returns_to = hit->returns_to;

	if (has(hit, COOKIE_ROOT) || context->calls == CALLS_ARE_ROOTS)
		return true;
	if (!context->calls)
		return false;
#if defined(__TARGET_ARCH_arm64)
	/* where the callee has put it is not known: only its own calls are seen */
#else
	/* a call from further out, whose stack is not there yet, is none of the loop's */
	if (hit->depth < context->calls)
		return false;
	if (hit->late) { /* of what it was called by, nothing is left but its own */
		if (hit->depth != context->calls)
			return false;
	} else if (bpf_probe_read_user(&returns_to, sizeof(returns_to),
				       (void *)(hit->hi - context->calls))) {
		return false;
	}
#endif
	return is_root_call(context, returns_to);
}

/*
 * A goroutine is about to begin: where its first function waits for work in a loop,
 * and is not traced itself, the calls of that loop are roots. What the goroutine calls
 * before it belongs to the call whose `go` statement this is.
 */
static __always_inline void begin_worker(struct hit *hit, struct binary *binary,
					 struct registers *r, struct context *context)
{
	struct worker_key key = {.binary = COOKIE_BINARY(hit->cookie)};
	struct worker *worker;
	__u64 entry;

	/* the argument of runtime.newproc is a function value */
	if (bpf_probe_read_user(&entry, sizeof(entry), (void *)ARGUMENT_0(r)))
		return;
	key.entry = entry - load_bias(binary);
	worker = bpf_map_lookup_elem(&workers, &key);
	if (!worker)
		return;
	context->calls = worker->calls;
	context->origin = entry;
	context->function = worker->function;
}

/*
 * A trace that is full goes on in another one, its next part, whose id is the next
 * number: one after the other, whichever goroutines they are of. Takes room for one
 * more span of a goroutine, and returns in which part that is.
 */
static __always_inline __u32 take_room(struct goroutine *goroutine)
{
	struct context *context = &goroutine->context;
	struct trace trace = {.id = {context->trace[0], context->trace[1] - context->part}};
	__u64 *used, first;

	if (!max_trace_spans)
		return context->part;
	if (!goroutine->budget) {
		used = bpf_map_lookup_elem(&traces, &trace);
		if (!used) {
			/* the chunk that the first span's goroutine began with */
			first = (__u64)context->part * max_trace_spans + trace_chunk;
			bpf_map_update_elem(&traces, &trace, &first, BPF_NOEXIST);
			used = bpf_map_lookup_elem(&traces, &trace);
			if (!used)
				return context->part;
		}
		goroutine->part = __sync_fetch_and_add(used, trace_chunk) / max_trace_spans;
		goroutine->budget = trace_chunk;
	}
	goroutine->budget--;
	return goroutine->part;
}

/* Gives back what a goroutine has taken and not needed of the trace that it was begun
 * in: most goroutines make few calls. */
static __always_inline void give_back(struct goroutine *goroutine)
{
	struct context *context = &goroutine->context;
	struct trace trace = {.id = {context->trace[0], context->trace[1] - context->part}};
	__u64 *used;

	if (!max_trace_spans || !goroutine->budget || !context->span)
		return;
	used = bpf_map_lookup_elem(&traces, &trace);
	if (used && *used > goroutine->budget)
		__sync_fetch_and_add(used, -(__u64)goroutine->budget);
}

/* Whether a call that is a root belongs to a further part of the trace of its caller. */
static __always_inline bool goes_on(struct frame *frame)
{
	return frame->event.trace[0] == frame->outer.trace[0];
}

/* runtime.main's goroutine is the first: what runs there goes on as the process does. */
#define MAIN_GOID 1

/* What the calls belong to that a call makes which has just begun. */
static __always_inline void adopt(struct hit *hit, struct frame *frame, struct context *context)
{
	__u32 index = COOKIE_FUNCTION(hit->cookie);
	struct function *function;

	context->trace[0] = frame->event.trace[0];
	context->trace[1] = frame->event.trace[1];
	context->span = has(hit, COOKIE_NO_ADOPT) ? 0 : frame->event.span;
	context->calls = 0;
	if (!has(hit, COOKIE_LOOPS))
		return;
	function = bpf_map_lookup_elem(&functions, &index);
	if (!function)
		return;
	if (hit->depth == function->start[0] || hit->depth == function->start[1] ||
	    hit->depth == function->start[2] || function->place == ROOTS_ANYWHERE ||
	    (function->place == ROOTS_OUTERMOST &&
	     (!frame->event.parent || hit->goid == MAIN_GOID))) {
		context->calls = hit->depth + function->calls;
		context->origin = hit->pc;
		context->function = index;
	}
}

/* Tells which call a root comes from, before the root itself is told. */
GLOBAL int tell_link(struct frame *frame)
{
	struct event *event;

	if (!frame || !(frame->event.flags & EVENT_LINKED))
		return 0;
	/* not on the stack, which has no room for it */
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count(&counted.links_lost);
		return 0;
	}
	*event = (struct event){
		.kind = EVENT_LINK,
		.tgid = frame->event.tgid,
		.span = frame->event.span,
		.trace = {frame->outer.trace[0], frame->outer.trace[1]},
		.parent = frame->outer.span,
	};
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}
