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
	EVENT_PROCESS = 3, /* the first hit in a process: a struct origin follows */
	EVENT_PANIC = 4,   /* a panic that has unwound the calls that follow */
	EVENT_LINK = 5,	   /* `trace` and `parent` of the call that a root, `span`, comes from */
	EVENT_EXEC = 6,	   /* a process executes something: its calls have ended */
};

/* Why a call has ended. */
enum end_reason {
	END_RETURN = 1,
	END_TAIL = 2,	 /* by jumping into another function: no results */
	END_UNWOUND = 3, /* its frame is gone without a return, for whatever reason */
	END_PANIC = 4,
	END_GOEXIT = 5,
	END_EXEC = 6, /* its process executes something */
};

/*
 * One call. Times are nanoseconds of CLOCK_MONOTONIC. Ids are random and in
 * the processor's byte order. `args` and `results` are the sizes in bytes of
 * the captured values that follow: see struct step. Behind EVENT_PANIC, `args` is
 * the size of the struct panic_value that follows; it precedes the calls that the
 * panic has unwound, which have the same goroutine, `end` and `panic`.
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
	__u64 stack; /* at the entry: its key in `stacks`; 0: there is none */
	__u16 args;
	__u16 results;
	__u8 kind;
	__u8 reason;
	__u8 flags;
	__u8 panic; /* which panic of the goroutine has unwound it, from 1; 0: not known */
};

/* What EVENT_PROCESS says of the process, behind the event. */
#define ENVIRONMENT_BYTES 8192
#define HOST_BYTES 72

struct origin {
	__u64 started;	       /* ns since the boot */
	__u64 bias;	       /* what its addresses are above those of its executable */
	__u32 pid;	       /* in the PID namespace that it is in itself; 0: not known */
	__u32 pid_namespace;   /* the inode of that */
	__u32 size;	       /* of its environment, in bytes */
	__u32 good;	       /* of them are told */
	__u8 host[HOST_BYTES]; /* the name in its UTS namespace */
	__u8 environment[ENVIRONMENT_BYTES];
};

struct introduction {
	struct event event;
	struct origin origin;
};

enum event_flags {
	EVENT_VALUES_LOST = 1,	  /* there was no memory for captured values */
	EVENT_PARENT_UNKNOWN = 2, /* which call's `go` statement began the goroutine */
	EVENT_LINKED = 4,	  /* a root by a rule: an EVENT_LINK precedes */
	EVENT_RESULTS_LOST = 8,	  /* its goroutine could not be read when it returned */
};

/*
 * How values are read and told.
 *
 * A value is bytes in the target's memory, and some of those bytes point to
 * others. So the captured values of a call are a sequence of chunks, each a
 * copy of a piece of memory. The first chunk, the root, is what the call itself
 * holds: integer registers, then the captured part of the stack from its first
 * argument on. Where to go on from a chunk is data: steps, each of which says
 * that at some offset there is a pointer, a string, an interface, and what is
 * read there and by which steps in turn. User space wrote the steps, and finds
 * its way through the chunks, which carry no names, by the same data: they come
 * in the order of the steps, depth first, and a chunk that the steps do not lead
 * to (nil, an empty string) is not there.
 */
enum step_op {
	STEP_RANGE = 1,	    /* `size` bytes at `offset`, into the current chunk */
	STEP_POINTER = 2,   /* one element, which the word at `offset` leads to */
	STEP_DATA = 3,	    /* elements; address at `offset`, number by `length` */
	STEP_INTERFACE = 4, /* the words at `offset`; go on by the dynamic type */
	STEP_ARRAY = 5,	    /* `limit` elements at `offset`: no chunk of their own */
	STEP_SHAPE = 6, /* the value at `offset`, by the dictionary at `guard` of the arguments */
	STEP_PART = 7,	/* one element, at `offset` of the current one, into a chunk of its own */
};

enum step_flags {
	STEP_WHOLE = 1,	  /* elements are read at once, not by ranges among their steps */
	STEP_EMPTY = 2,	  /* an interface without methods: its first word is the type */
	STEP_KEY = 4,	  /* a key that may hold text: with what it leads to it is judged */
	STEP_INDEX = 8,	  /* the word behind a pointer has to be above `limit` */
	STEP_PUBLIC = 16, /* read only where the last STEP_KEY does not look like a secret */
	STEP_TEXT = 32,	  /* of a key: its own bytes are text, too */
	STEP_SECRET = 64, /* of a dynamic type: as a key, it cannot be judged */
};

/* When a step is taken: what it needs to find at `guard` of the element. */
enum step_guard {
	GUARD_NONE = 0,
	GUARD_ZERO = 1,	    /* a word that is zero */
	GUARD_NOT_ZERO = 2, /* a word that is not */
	GUARD_TOP_HASH = 3, /* a byte of a bucket's top hashes: the slot is in use */
	GUARD_CONTROL = 4,  /* a byte of a group's control word: the slot is in use */
};

/* Where a STEP_DATA has the number of elements. */
enum step_length {
	LENGTH_WORD = 0, /* in the word behind the address */
	LENGTH_MASK = 1, /* the same, which has one less than that */
	LENGTH_LOG2 = 2, /* the power of two that the byte at `guard` says */
	LENGTH_HALF = 3, /* half of that */
};

struct step {
	__u8 op;
	__u8 flags;
	__u8 guarded; /* by enum step_guard */
	__u8 length;  /* enum step_length */
	__u32 offset; /* in the element, in bytes */
	__u32 size;   /* of an element of what is followed, in bytes */
	__u32 limit;  /* elements at most; STEP_INTERFACE, STEP_SHAPE: of dynamic.of */
	__u32 first;  /* of the steps for each element of what is followed */
	__u16 count;
	__u16 guard; /* offset in the element */
	/*
	 * STEP_POINTER: what is read lies that far behind the address, in bytes.
	 * STEP_DATA: so many bytes of each element are not in the chunk.
	 */
	__u32 skip;
};

/* How the reading of a chunk went. */
enum chunk_status {
	CHUNK_OK = 0,
	CHUNK_FAULT = 1,   /* memory could not be read without sleeping */
	CHUNK_INVALID = 2, /* a length that no Go value has */
	CHUNK_TYPE = 3,	   /* a dynamic type without steps */
	CHUNK_DEEP = 4,	   /* too many chunks lead to it */
	CHUNK_SECRET = 5,  /* not read: its key looks like a secret, or could not be judged */
	CHUNK_STEPS = 6,   /* of a root: the reading ended at the bound of steps */
};

/*
 * Heads `size` bytes, padded to 8, of which the first `good` were read: where a
 * part of an element is not wanted (a secret), that part counts as read if what is
 * behind it was. The chunk of an interface begins with the address of the dynamic
 * type. Of a root, the status says why the reading ended before it was done, if
 * not for want of room: nothing is said of that.
 */
struct chunk {
	__u16 size;
	__u16 good;
	__u8 status;
	__u8 pad[3];
};

/* A dynamic type of an executable, or a dictionary of a generic function, where it is met with that much to be shown. */
struct dynamic_key {
	__u64 type; /* its address, at link time */
	__u32 binary;
	__u32 of; /* a number that plans choose */
};

/* What is read of a dynamic type. */
struct dynamic {
	__u32 first;
	__u16 count;
	__u8 flags;  /* STEP_WHOLE, STEP_SECRET */
	__u8 direct; /* the interface's data is the value, not its address */
	__u32 size;  /* of the value in bytes, where it is not */
};

/*
 * The root chunk of a function's arguments or results: integer argument
 * registers in their order, those that `registers` has a bit for, then a part of
 * the stack, which STEP_RANGE reads.
 */
struct root {
	__u32 first; /* of the steps */
	__u16 count;
	__u16 registers; /* a bit for each that is read */
	__u16 size;	 /* in bytes, a multiple of 8 */
	__s16 stack;	 /* what is at offset 0, from the return address on */
	__u16 held;	 /* bytes of it that registers hold */
	__u16 reserve;	 /* of arguments: bytes of the event that are kept for results */
};

enum part {
	ARGS = 0,
	RESULTS = 1,
};

/*
 * Of which calls of a function its root calls are: of those alone that are what their
 * goroutine is for; those without a parent and on the process's first goroutine, too;
 * or all.
 */
enum root_place {
	ROOTS_AT_START = 0,
	ROOTS_OUTERMOST = 1,
	ROOTS_ANYWHERE = 2,
};

/*
 * What is read at the entry and at the exits of a function. Where it has root
 * calls: how much deeper than its own return address those of its calls lie, and
 * the depths, from the top of a goroutine's stack, that say that the call is what
 * its goroutine is for; in bytes, 0 for none. `place` is a root_place.
 */
struct function {
	struct root roots[2];
	__u32 calls;
	__u32 start[3];
	__u32 place;
	/*
	 * With `histograms`: where the last result is, if that is an error, on the
	 * stack in bytes from the return address on; in registers from -1 - `error`
	 * on; or 0: it is none.
	 */
	__s32 error;
};

/*
 * A state of the automaton that looks for the names of secrets in keys: which
 * state is next by the class of a character, and whether a name has ended.
 */
enum class {
	CLASS_BOUNDARY = 26, /* between words; 0 to 25 are letters of either case */
	CLASS_OTHER = 27,    /* a letter that no name has */
	CLASSES = 32,	     /* with a power of two the verifier sees the bound */
};

struct secret_state {
	__u16 next[CLASSES];
	__u16 found;
	__u16 pad;
};

/*
 * A stack at the entry of a function: the return address of the call, then those of
 * its callers, at link time. What else a word can say is in callers.h.
 */
#define STACK_WORDS 128
#define STACK_SPARE 4 /* of them for what comes of the last address */

struct stack {
	__u64 calls; /* that had it, where these are counted: see tally */
	__u32 function;
	__u16 length; /* in words */
	__u8 cut;     /* 1: there is more, which is too much or could not be read */
	__u8 whole;
	__u64 words[STACK_WORDS];
};

enum stack_word {
	STACK_EXACT_BIT = 63,
	STACK_AT_FRAME_BIT = 62,
	STACK_CREATOR_BIT = 61,
	STACK_ADDRESS_BITS = 56,
};

/* Functions of the runtime where the chain of frame pointers is not all. */
enum turn_kind {
	/* it was called from where a signal, or a trap, interrupted the code */
	TURN_INJECTED = 1,
	/* the kernel called it on the signal stack: `delta` bytes above its stack
	 * pointer is what was interrupted */
	TURN_SIGNAL = 2,
	/* it switched to the thread's own stack */
	TURN_SWITCH = 3,
	/* what called it is not known */
	TURN_END = 4,
};

struct turn {
	__u64 start; /* of its code, at link time */
	__u32 size;
	__u16 kind;
	__s16 delta;
};

#define TURNS 5

/* What differs between executables. */
struct binary {
	__u32 goid_offset;	  /* of runtime.g.goid, in bytes */
	__s32 tls_offset;	  /* of g from the thread pointer, in bytes */
	__u32 every;		  /* 1: every process of it is a target, also new ones */
	__u32 moves;		  /* 1: it is loaded at an address of the kernel's choice */
	__u64 code_start;	  /* of its first executable segment, at link time */
	__u32 panic_offset;	  /* of runtime.g._panic */
	__u32 panic_sp_offset;	  /* of runtime._panic.sp; 0: before Go 1.22 */
	__u32 thread_offset;	  /* of runtime.g.m; 0: `go` statements are not followed */
	__u32 processor_offset;	  /* of runtime.m.p */
	__u32 goidcache_offset;	  /* of runtime.p.goidcache, which goidcacheend follows */
	__u32 gopc_offset;	  /* of runtime.g.gopc */
	__u32 parent_goid_offset; /* of runtime.g.parentGoid; 0: before Go 1.21 */
	__u32 sigcode_offset;	  /* of runtime.g.sigcode0, where a panic returns to before */
	__u32 machine_offset;	  /* of runtime.g.m */
	__u32 curg_offset;	  /* of runtime.m.curg */
	__u32 sched_bp;		  /* of runtime.gobuf.bp */
	__u32 settled;	    /* 1: every call is seen to begin, and every panic: see remember */
	__u64 error_string; /* address of *errors.errorString's type, at link time; 0: unknown */
	__u64 turns_start;  /* all of them are between these */
	__u64 turns_size;
	struct turn turns[TURNS];
};

/* A `go` statement: the call of runtime.newproc. */
struct go_site {
	__s64 goidgen;	/* from here to runtime.sched.goidgen; 0: not known */
	__u32 function; /* any of the plan */
	__u32 length;	/* of the instruction, in bytes */
	__u32 noted;	/* number of the process that it was noted for last, in `statements` */
	__u32 workers;	/* 1: what it begins may be in `workers` */
};

/*
 * A cookie says everything about a site that does not need a look-up:
 *
 *   bits  0-23  function (index into `functions`, and of the plan)
 *   bits 24-35  binary (index into `binaries`)
 *   bits 36-43  flags
 *   bits 44-46  condition
 *   bit  47     one more flag
 *   bits 48-63  offset of the return address from SP, in words of 8 bytes, signed
 */
#define COOKIE_FUNCTION(c) ((__u32)(c) & 0xffffff)
#define COOKIE_BINARY(c) ((__u32)((c) >> 24) & 0xfff)
#define COOKIE_CONDITION(c) ((__u32)((c) >> 44) & 0x7)
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
	COOKIE_ROOT = 1ULL << 40,     /* at an entry: the call begins a trace */
	COOKIE_LOOPS = 1ULL << 47,    /* an entry of a function with root calls */
};

/*
 * In the cookie of a site in the runtime, in place of cookie_flags: what
 * happens there.
 */
enum cookie_role {
	ROLE_PANIC = 1ULL << 36,      /* runtime.gopanic begins; its argument is the value */
	ROLE_RECOVERY = 1ULL << 37,   /* runtime.recovery begins, on g0; its argument is g */
	ROLE_FATAL = 1ULL << 38,      /* runtime.fatalpanic begins: nobody has recovered */
	ROLE_GOEXIT = 1ULL << 39,     /* runtime.Goexit begins */
	ROLE_GOEXIT_END = 1ULL << 40, /* its deferred functions have run */
};

enum condition {
	CONDITION_ALWAYS = 0,
	CONDITION_NOT_BELOW_OR_EQUAL = 1, /* a JBE that is not taken */
};

/*
 * The value of a panic, and `size` bytes: the first PANIC_RAW of what its data
 * word points to, and up to PANIC_TEXT of what these lead to if they begin with a
 * string header.
 */
struct panic_value {
	__u64 type; /* the address of its type, 0: nil */
	__u64 data;
	__u32 size;
	__u32 fault; /* 1: its memory could not be read without sleeping */
};

/* The calls of one function that gave no event, by cause. */
struct losses {
	__u64 ring_full;
	__u64 frames_full;
	__u64 goroutines_full;
	__u64 no_goroutine;
	__u64 processes_full;
};

/* What is kept of the calls of a function with `histograms`, beside their buckets. */
struct durations {
	__u64 sum;	  /* of durations, in ns */
	__u64 max;	  /* the longest */
	__u64 errors;	  /* calls that returned an error, or that a panic unwound */
	__u64 panics;	  /* the latter */
	__u64 unbucketed; /* calls that are in no bucket */
};

/* Calls of a function with durations that are about the same: see hist.h. */
struct bucket_key {
	__u32 function;
	__u32 bucket;
};

enum bucket_layout {
	BUCKET_BITS = 5, /* of a duration, behind its first, tell buckets apart */
};

/* What was lost, and why; each counted where it happens. */
struct counters {
	__u64 unpaired;		/* returns of calls that began before uspan */
	__u64 ring_full;	/* calls whose event had no room in the ring */
	__u64 begins_lost;	/* begins of calls that had none; their ends are told */
	__u64 frames_full;	/* calls for which there was no frame */
	__u64 goroutines_full;	/* calls of goroutines beyond the table */
	__u64 values_full;	/* calls without memory for their values */
	__u64 unreadable;	/* reads of values that would have had to sleep */
	__u64 no_goroutine;	/* calls whose g could not be read, not even later */
	__u64 left_open;	/* frames left for the next event to end */
	__u64 processes_full;	/* calls of processes beyond the table */
	__u64 relatives_full;	/* processes beyond it that are not followed */
	__u64 processes_untold; /* first hits and executions of targets that could not be told */
	__u64 links_lost;	/* links of roots that could not be told */
	__u64 children_lost;	/* `go` statements whose goroutine could not be told or kept */
	__u64 panics_full;	/* panics whose value could not be kept or told */
	__u64 stacks_full;	/* calls for whose stack there was no memory */
};
