/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel programs and uspan tell each other: the events in the ring
 * buffer, the cookies of the sites, and the tables that cookies point into.
 * The Go side of every type here is generated (go generate ./bpf).
 */
#pragma once

#include <linux/types.h>

/* What an event says. */
enum event_kind {
	EVENT_CALL = 1,	   /* a call has ended: the only event of most runs */
	EVENT_BEGIN = 2,   /* a call has begun: only with `live` */
	EVENT_PROCESS = 3, /* the first hit in a process */
};

/* Why a call has ended. */
enum end_reason {
	END_RETURN = 1,
	END_TAIL = 2,	 /* by jumping into another function: no results */
	END_UNWOUND = 3, /* its frame is gone without a return: panic, Goexit */
};

/*
 * One call. Times are nanoseconds of CLOCK_MONOTONIC. Ids are random and in
 * the processor's byte order. `args` and `results` are the sizes in bytes of
 * the captured values that follow: a sequence of struct value.
 */
struct event {
	__u32 function;
	__u32 level; /* open frames below this one on its goroutine */
	__u32 tgid;
	__u32 tid;
	__u64 goid;
	__u64 start;
	__u64 end;
	__u64 trace[2];
	__u64 span;
	__u64 parent;
	__u16 args;
	__u16 results;
	__u8 kind;
	__u8 reason;
	__u8 flags;
	__u8 pad;
};

enum event_flags {
	EVENT_VALUES_LOST = 1, /* there was no memory for captured values */
};

/* How the reading of a value went. */
enum value_status {
	VALUE_OK = 0,
	VALUE_FAULT = 1,   /* its memory could not be read without sleeping */
	VALUE_INVALID = 2, /* a length that no Go value has */
	VALUE_NO_ROOM = 3, /* the values before it filled the event */
};

/*
 * One captured value, followed by `size` bytes, padded to 8.
 *
 *   word    `word` is the scalar
 *   string  `word` is the length in the target, `addr` the address; the bytes
 *           are the first of the string
 *   error   `word` is the address of the dynamic type (0: nil), `addr` the
 *           data word; the bytes are what a string header at `addr` leads to,
 *           which is the message of some types and nothing of others: its
 *           length in the target (8 bytes), then the first of its bytes
 */
struct value {
	__u16 capture; /* index among the captures of the function */
	__u8 status;
	__u8 pad;
	__u32 size;
	__u64 word;
	__u64 addr;
};

enum capture_kind {
	CAPTURE_WORD = 1,
	CAPTURE_STRING = 2,
	CAPTURE_ERROR = 3,
};

/*
 * How to read one value of up to two words. A word is in integer argument
 * register `reg`, or, where that is negative, `offset` bytes from the address
 * of the return address.
 */
struct capture {
	__u8 kind;
	__u8 size; /* of a word, in bytes: 1, 2, 4, 8 */
	__s8 reg[2];
	__s32 offset[2];
};

/* The captures of a function: `args` from `first` on, then `results`. */
struct function {
	__u32 first;
	__u16 args;
	__u16 results;
};

/* What differs between executables. */
struct binary {
	__u32 goid_offset; /* of runtime.g.goid, in bytes */
	__s32 tls_offset;  /* of g from the thread pointer, in bytes */
	__u32 every;	   /* 1: every process of it is a target, also new ones */
};

/*
 * A cookie says everything about a site that does not need a look-up:
 *
 *   bits  0-23  function (index into `functions`, and of the plan)
 *   bits 24-35  binary (index into `binaries`)
 *   bits 36-43  flags
 *   bits 44-47  condition
 *   bits 48-63  offset of the return address from SP, in words of 8 bytes, signed
 */
#define COOKIE_FUNCTION(c) ((__u32)(c) & 0xffffff)
#define COOKIE_BINARY(c) ((__u32)((c) >> 24) & 0xfff)
#define COOKIE_CONDITION(c) ((__u32)((c) >> 44) & 0xf)
#define COOKIE_SP_OFFSET(c) (((__s64)(c) >> 48) * 8)

enum cookie_flags {
	COOKIE_ARGS = 1ULL << 36,     /* the function has arguments to capture */
	COOKIE_RESULTS = 1ULL << 37,  /* the function has results to capture */
	COOKIE_THREAD_G = 1ULL << 38, /* g is in thread-local storage only */
	COOKIE_BOTH = 1ULL << 39,     /* entry and exit are one site */
	COOKIE_TAIL = 1ULL << 40,     /* exit by jumping into another function */
	COOKIE_NO_ADOPT = 1ULL << 41, /* calls below it are roots */
	COOKIE_RESTART = 1ULL << 42,  /* the call of morestack before an entry */
	COOKIE_KEPT = 1ULL << 43,     /* an entry of a function with such sites */
};

enum condition {
	CONDITION_ALWAYS = 0,
	CONDITION_NOT_BELOW_OR_EQUAL = 1, /* a JBE that is not taken */
};

/* What was lost, and why; each counted where it happens. */
struct counters {
	__u64 unpaired;	       /* returns of calls that began before uspan */
	__u64 ring_full;       /* events for which the ring had no room */
	__u64 frames_full;     /* calls for which there was no frame */
	__u64 goroutines_full; /* calls of goroutines beyond the table */
	__u64 values_full;     /* calls without memory for their values */
	__u64 no_goroutine;    /* hits whose g could not be read */
	__u64 left_open;       /* frames left for the next event to end */
	__u64 processes_full;  /* hits in processes beyond the table */
};
