/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Open frames of goroutines. Two rules keep them right, whatever the target
 * does:
 *
 *   an entry at depth d ends every open frame at depth d or deeper;
 *   a return at depth d ends every open frame deeper than d.
 *
 * Frames that are ended so were unwound by a panic or by Goexit, or their
 * return was lost: where the probes of panic.h are, they have ended such frames
 * at the right time already. Only the thread that runs a goroutine touches its
 * frames.
 */
#pragma once

#define UNWIND_MAX 16384 /* frames that one event ends at most */

/* Random and never 0, which OpenTelemetry has for "none". */
static __always_inline __u64 new_id(void)
{
	__u64 id = (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32();

	return id ? id : 1;
}

/* What entries are made from: the stack of a program has no room for them. */
static const struct goroutine no_goroutine;
static const struct frame no_frame;

/* The frame at a level of a goroutine; NULL: it is not there. */
static __always_inline struct frame *find_frame(struct goroutine *goroutine, struct frame_key *key)
{
	__u64 level = key->level;

	barrier_var(level); /* older verifiers know the bound of this very register only */
	if (level < OUTER_FRAMES)
		return &goroutine->outer[level];
	return bpf_map_lookup_elem(&frames, key);
}

/* A new frame at a level of a goroutine; NULL: there is no room for it. */
static __always_inline struct frame *make_frame(struct goroutine *goroutine, struct frame_key *key)
{
	struct frame *frame;

	if (key->level >= OUTER_FRAMES && bpf_map_update_elem(&frames, key, &no_frame, BPF_ANY))
		return NULL;
	frame = find_frame(goroutine, key);
	if (frame && key->level < OUTER_FRAMES)
		*frame = no_frame;
	return frame;
}

static __always_inline void delete_frame(struct frame_key *key)
{
	if (key->level >= OUTER_FRAMES)
		bpf_map_delete_elem(&frames, key);
}

/* Forgets a goroutine without open frames. */
GLOBAL int forget_goroutine(struct goroutine *goroutine, __u64 g, __u32 tgid)
{
	struct goroutine_key key = {.g = g, .tgid = tgid};

	if (!goroutine)
		return 0;
	give_back(goroutine);
	forget_panics(goroutine, g, tgid, 0);
	bpf_map_delete_elem(&goroutines, &key);
	return 0;
}

/* Where the goroutine is once a frame is gone. */
GLOBAL int step_out(struct goroutine *goroutine, struct frame *frame)
{
	if (!goroutine || !frame)
		return 0;
	goroutine->depth = frame->outer_depth;
	goroutine->level--;
	if (histograms)
		return 0;
	goroutine->context = frame->outer;
	if (!frame->event.parent && !goes_on(frame)) {
		goroutine->budget = frame->outer_budget;
		goroutine->part = frame->outer_part;
	}
	return 0;
}

/* What becomes of a call that has ended. */
static __always_inline void end_call(struct frame *frame, struct values *entry, bool failed)
{
	if (histograms) {
		count_call(&frame->event, failed);
		return;
	}
	tell_link(frame);
	send(&frame->event, entry);
}

struct unwinding {
	struct goroutine *goroutine;
	__u64 now;
	__u64 depth; /* frames at this depth or deeper go */
	struct frame_key key;
	__u8 reason; /* END_UNWOUND, or what the panics that are kept specify */
	__u8 pad[7];
};

static long unwind_one(__u32 n, void *context)
{
	struct unwinding *unwinding = context;
	struct goroutine *goroutine = unwinding->goroutine;
	struct frame *frame;

	if (!goroutine->level || goroutine->depth < unwinding->depth)
		return 1;
	unwinding->key.level = goroutine->level - 1;
	frame = find_frame(goroutine, &unwinding->key);
	if (!frame) { /* cannot be: only this thread deletes them */
		goroutine->level = 0;
		return 1;
	}
	frame->event.end = unwinding->now;
	frame->event.kind = EVENT_CALL;
	frame->event.reason = unwinding->reason;
	if (unwinding->reason != END_UNWOUND)
		blame(goroutine, frame, &unwinding->key, unwinding->now);
	end_call(frame, histograms ? NULL : bpf_map_lookup_elem(&values, &unwinding->key), false);
	step_out(goroutine, frame);
	delete_frame(&unwinding->key);
	if (!histograms)
		bpf_map_delete_elem(&values, &unwinding->key);
	return 0;
}

/*
 * Ends the frames at `depth` or deeper. False: too many, some are still open.
 */
GLOBAL int unwind_for(struct goroutine *goroutine, __u64 g, __u32 tgid, __u64 depth, __u8 reason)
{
	struct unwinding unwinding = {
		.goroutine = goroutine,
		.now = bpf_ktime_get_ns(),
		.depth = depth,
		.key = {.g = g, .tgid = tgid},
		.reason = reason,
	};

	if (!goroutine)
		return true;
	bpf_loop(UNWIND_MAX, unwind_one, &unwinding, 0);
	if (!goroutine->level || goroutine->depth < depth)
		return true;
	count(&counted.left_open);
	return false;
}

static __always_inline bool unwind(struct goroutine *goroutine, struct hit *hit, __u64 depth)
{
	return unwind_for(goroutine, hit->g, hit->tgid, depth, END_UNWOUND);
}

/*
 * A panic was recovered, or ends the goroutine: the frames at `depth` or deeper are
 * gone. Where that is how deep the stack pointer of the function is that goes on, its
 * own frame is not there, and those that it called are: on arm64, where a call pushes
 * nothing, right there.
 */
static __always_inline void end_panic(struct hit *hit, __u64 depth, __u8 reason)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct goroutine *goroutine = bpf_map_lookup_elem(&goroutines, &key);

	if (!goroutine || !is_of(goroutine, hit))
		return;
	unwind_for(goroutine, hit->g, hit->tgid, depth, reason);
	if (!goroutine->level)
		forget_goroutine(goroutine, hit->g, hit->tgid);
	else
		forget_panics(goroutine, hit->g, hit->tgid, depth);
}

/* Which span a call is that begins, and where it belongs. */
static __always_inline void begin_span(struct hit *hit, struct goroutine *goroutine,
				       struct frame *frame)
{
	struct context *context = &goroutine->context;
	__u32 part;

	frame->event.span = new_id();
	frame->outer_budget = goroutine->budget;
	frame->outer_part = goroutine->part;
	frame->outer = *context;
	if (context->span && !begins_trace(hit, context)) {
		part = take_room(goroutine);
		frame->event.trace[0] = context->trace[0];
		frame->event.trace[1] = context->trace[1] - context->part + part;
		if (part == context->part)
			frame->event.parent = context->span;
		context->part = part;
	} else {
		frame->event.trace[0] = new_id();
		frame->event.trace[1] = new_id();
		context->part = 0;
		goroutine->part = 0;
		goroutine->budget = trace_chunk - 1;
	}
	if (context->span && !frame->event.parent)
		frame->event.flags |= EVENT_LINKED;
}

/* What is known of a call that begins, but its values. */
GLOBAL int begin_call(struct hit *hit, struct goroutine *goroutine, struct frame *frame)
{
	if (!hit || !goroutine || !frame)
		return 0;
	frame->event.function = COOKIE_FUNCTION(hit->cookie);
	frame->event.level = goroutine->level;
	frame->event.tgid = hit->tgid;
	frame->event.tid = hit->tid;
	frame->event.goid = hit->goid;
	frame->event.stack = hit->stack;
	frame->depth = hit->depth;
	frame->outer_depth = goroutine->depth;
	if (!histograms)
		begin_span(hit, goroutine, frame);
	return 0;
}

/* The goroutine is in a call that has begun. */
GLOBAL int step_in(struct hit *hit, struct goroutine *goroutine, struct frame *frame)
{
	if (!hit || !goroutine || !frame)
		return 0;
	goroutine->level++;
	goroutine->hi = hit->hi;
	goroutine->depth = hit->depth;
	if (!histograms)
		adopt(hit, frame, &goroutine->context);
	return 0;
}

/* A call begins. Without registers the hit was put off. */
static __always_inline void push_frame(struct hit *hit, struct registers *r)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct goroutine *goroutine = bpf_map_lookup_elem(&goroutines, &key);
	struct frame_key frame_key = {.g = hit->g, .tgid = hit->tgid};
	__u32 index = COOKIE_BINARY(hit->cookie);
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct values *entry = NULL;
	struct frame *frame;
	__u8 flags = 0;

	if (goroutine && !is_of(goroutine, hit)) {
		/* the g belongs to another goroutine by now */
		if (!unwind(goroutine, hit, 0)) {
			LOSE(COOKIE_FUNCTION(hit->cookie), frames_full);
			goroutine->hi = 0;
			return;
		}
		forget_goroutine(goroutine, hit->g, hit->tgid);
		goroutine = NULL;
	}
	if (goroutine) {
		if (goroutine->depth >= hit->depth && !unwind(goroutine, hit, hit->depth))
			goroutine->context.span = 0; /* a parent that is not known is none */
	} else {
		if (bpf_map_update_elem(&goroutines, &key, &no_goroutine, BPF_ANY)) {
			LOSE(COOKIE_FUNCTION(hit->cookie), goroutines_full);
			return;
		}
		goroutine = bpf_map_lookup_elem(&goroutines, &key);
		if (!goroutine)
			return;
		goroutine->goid = hit->goid;
		goroutine->process = hit->process;
		if (binary && !histograms)
			flags = inherit(hit, binary, &goroutine->context);
	}

	frame_key.level = goroutine->level;
	frame = make_frame(goroutine, &frame_key);
	if (!frame) {
		LOSE(COOKIE_FUNCTION(hit->cookie), frames_full);
		goroutine->hi = 0; /* see remember: its innermost call is not known now */
		return;
	}
	frame->event.flags = flags;
	begin_call(hit, goroutine, frame);
	if (!histograms && has(hit, COOKIE_ARGS | COOKIE_RESULTS)) {
		long size = r ? enter_args(hit, &frame_key, r) : late_args(hit, &frame_key);

		if (size < 0) {
			count(&counted.values_full);
			frame->event.flags |= EVENT_VALUES_LOST;
		} else {
			frame->event.args = size;
			if (live)
				entry = bpf_map_lookup_elem(&values, &frame_key);
		}
	}
	frame->event.start = r ? bpf_ktime_get_ns() : hit->now;
	if (live) {
		frame->event.kind = EVENT_BEGIN;
		tell_link(frame);
		send(&frame->event, entry);
	}
	step_in(hit, goroutine, frame);
}

/* The innermost call of a goroutine has ended. Without registers the hit was put off. */
static __always_inline int finish_frame(struct hit *hit, struct goroutine *goroutine,
					struct frame *frame, struct registers *r)
{
	struct frame_key frame_key;
	struct values *entry = NULL;
	bool failed = false, tail;

	if (!hit || !goroutine || !frame)
		return 0;
	frame_key =
		(struct frame_key){.g = hit->g, .tgid = hit->tgid, .level = goroutine->level - 1};
	tail = is_tail(hit);
	frame->event.end = hit->now;
	frame->event.kind = EVENT_CALL;
	frame->event.reason = tail ? END_TAIL : END_RETURN;
	if (histograms) {
		failed = r ? returns_error(hit, r) : hit->failed;
	} else if (has(hit, COOKIE_ARGS | COOKIE_RESULTS)) {
		entry = bpf_map_lookup_elem(&values, &frame_key);
		if (entry && has(hit, COOKIE_RESULTS) && !tail) {
			if (r) {
				frame->event.results =
					read_results(hit, entry, frame->event.args, r);
			} else {
				count(&counted.unreadable);
				frame->event.flags |= EVENT_RESULTS_LOST;
			}
		}
	}
	end_call(frame, entry, failed);
	step_out(goroutine, frame);
	goroutine->hi = hit->hi;
	delete_frame(&frame_key);
	if (entry)
		bpf_map_delete_elem(&values, &frame_key);
	if (!goroutine->level)
		forget_goroutine(goroutine, hit->g, hit->tgid);
	return 0;
}

GLOBAL int end_frame(struct hit *hit, struct goroutine *goroutine, struct frame *frame,
		     struct bpf_user_pt_regs_t *context)
{
	return finish_frame(hit, goroutine, frame, &context->registers);
}

GLOBAL int end_late_frame(struct hit *hit, struct goroutine *goroutine, struct frame *frame)
{
	return finish_frame(hit, goroutine, frame, NULL);
}

/*
 * A call ends: by its return, or by jumping away. The goroutine is NULL if it has not
 * been found yet; without registers the hit was put off.
 */
static __always_inline void pop_frame(struct hit *hit, struct goroutine *goroutine,
				      struct registers *r)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct frame_key frame_key = {.g = hit->g, .tgid = hit->tgid};
	struct frame *frame;

	if (!goroutine)
		goroutine = bpf_map_lookup_elem(&goroutines, &key);
	if (!goroutine) {
		count(&counted.unpaired);
		return;
	}
	if (!is_of(goroutine, hit)) {
		unwind(goroutine, hit, 0);
		goto unpaired;
	}
	if (goroutine->depth > hit->depth)
		unwind(goroutine, hit, hit->depth + 1);
	if (!goroutine->level || goroutine->depth != hit->depth)
		goto unpaired;
	frame_key.level = goroutine->level - 1;
	frame = find_frame(goroutine, &frame_key);
	if (!frame || frame->event.function != COOKIE_FUNCTION(hit->cookie)) {
		/* the frame at this depth is another function's */
		unwind(goroutine, hit, hit->depth);
		goto unpaired;
	}

	if (r)
		end_frame(hit, goroutine, frame, context_of(r));
	else
		end_late_frame(hit, goroutine, frame);
	return;

unpaired:
	count(&counted.unpaired);
	if (!goroutine->level)
		forget_goroutine(goroutine, hit->g, hit->tgid);
}

/* A `go` statement is about to begin a goroutine. */
static __always_inline void spawn(struct hit *hit, struct binary *binary, struct go_site *site,
				  struct registers *r)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct goroutine *goroutine = bpf_map_lookup_elem(&goroutines, &key);
	struct context context = {};
	__u8 unknown = 0;

	if (goroutine && is_of(goroutine, hit)) {
		/* what is called from here is at SP or deeper: such frames are gone */
		if (goroutine->depth >= hit->depth)
			unwind(goroutine, hit, hit->depth);
		context = goroutine->context;
		if (!goroutine->level)
			forget_goroutine(goroutine, hit->g, hit->tgid);
	} else {
		unknown = inherit(hit, binary, &context);
	}
	if (context.calls > CALLS_ARE_ROOTS)
		context.calls = is_root_call(&context, hit->pc + site->length);
	if (site->workers && context.span && !context.calls)
		begin_worker(hit, binary, r, &context);
	note_child(hit, binary, site, &context, unknown);
}
