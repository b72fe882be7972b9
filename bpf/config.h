/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Settings, constant from the moment of loading: the verifier sees them as
 * numbers and drops what they switch off.
 */
#pragma once

/* Whether the begin of a call is an event, too. */
const volatile bool live = false;

/* Whether processes that targets start are targets, too, where they run the same. */
const volatile bool follow = false;

/* Whether calls are counted by their durations, and are no events: see hist.h. */
const volatile bool histograms = false;

/*
 * The bits that the cookies of calls can have: what no site of the plans asks for
 * is not in the programs, nor does the verifier spend time on it.
 */
const volatile __u64 cookie_bits = ~0ULL;

/* Whether a call's stack at its entry is told. */
const volatile bool stacked = false;

/* Bytes of a chunk at most; those of registers are fewer. */
const volatile __u32 chunk_bytes = 128;

/* The size of values.bytes: what has no room there is not in the event. */
const volatile __u32 values_bytes = 0;

/* Bytes in the ring that wake its reader up. */
const volatile __u32 wakeup_bytes = 0;

/* Spans of a trace at most, about; 0: any number. */
const volatile __u32 max_trace_spans = 0;

/* How many of them a goroutine takes at once, so that it need not count each. */
const volatile __u32 trace_chunk = 1;

/* The last index of `children`, whose size is a power of two. */
const volatile __u32 children_mask = 0;

/*
 * The PID namespace that uspan is in, by its kernel address and its level; 0: the
 * initial one. Process and thread ids are those of this namespace.
 */
const volatile __u64 pid_namespace = 0;
const volatile __u32 pid_level = 0;

/* The process whose signals are looked at: uspan itself, in the initial namespace. */
const volatile __u32 self_tgid = 0;

struct counters counted = {};

/* Goroutines whose hits wait to be told: see late.h. */
__u64 waiting = 0;

/* Hits whose goroutine could not be read for as long as one is looked at. */
__u64 unread = 0;

/*
 * 0, which the verifier does not know. Before Linux 6.7 it looks at what a loop calls
 * once, with what it knows before the first round, and takes out what that cannot
 * reach: where a loop begins, what it changes must not be known.
 */
volatile __u32 unknown_zero = 0;

static __always_inline void count(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}
