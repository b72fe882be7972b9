/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps. Sizes given here as 1 are set by uspan before it loads the
 * programs, from the plan.
 */
#pragma once

/* Where new calls of a goroutine belong. */
struct context {
	__u64 trace[2];
	__u64 span;   /* 0: the next call is a root */
	__u64 origin; /* the entry site of a call with root calls, in the process */
	__u32 function;
	/*
	 * Depth of the return addresses of the calls that this call makes, some of
	 * which are roots: see root_calls. 0: none is. CALLS_ARE_ROOTS: all are.
	 */
	__u32 calls;
	__u32 part; /* which of a long trace: see take_room */
	__u32 pad;
};

#define CALLS_ARE_ROOTS 1

struct goroutine_key {
	__u64 g;
	__u32 tgid;
	__u32 pad;
};

/* A target. Its number tells it from another with the same id, before or after. */
struct process {
	__u32 binary;
	__u32 number;
};

struct frame_key {
	__u64 g;
	__u32 tgid;
	__u32 level;
};

/* An open frame: the event that will tell of it, and how to get back to the
 * one below. */
struct frame {
	struct event event;
	__u64 depth;
	__u64 outer_depth;
	struct context outer;
	__u32 outer_budget; /* of the first span of a trace */
	__u32 outer_part;
};

/*
 * A goroutine with open frames. The outermost ones lie in here: an entry of a hash
 * table that is made, found and deleted costs as much as the rest of a call. With one
 * of them or with two the kernel takes 512 bytes for the entry.
 */
#define OUTER_FRAMES 2

struct goroutine {
	__u64 goid;
	__u64 hi;    /* the top of its stack at its last event; 0: a call was lost since */
	__u64 depth; /* of the innermost open frame, in bytes below stack.hi */
	struct context context;
	__u32 level;   /* number of open frames */
	__u32 panics;  /* number of panics under way */
	__u32 budget;  /* spans that it may still put into its trace without asking */
	__u32 part;    /* into which part of that */
	__u32 process; /* number of the process */
	__u32 pad;
	struct frame outer[OUTER_FRAMES];
};

/* with the key, struct htab_elem and a pointer: see memoryOf in instrument/attach */
_Static_assert(sizeof(struct goroutine) + sizeof(struct goroutine_key) + 48 + 8 <= 512,
	       "twice the memory for a goroutine");

/* Elements that are being read, and the steps by which. */
struct level {
	__u64 address;	/* of the element, in the target */
	__u32 position; /* of the element, in values.bytes */
	__u32 size;	/* of an element in bytes */
	__u32 first;	/* of the steps */
	__u16 count;
	__u16 next;
	__u16 left;  /* elements, this one among them */
	__u16 gap;   /* between two of them in the target, in bytes */
	__u16 chunk; /* position of the chunk's head */
	__u16 hops;  /* elements that lead to it */
};

#define LEVELS 8 /* of which some elements are still to come, or some steps of one */
#define HOPS_MAX 9

/* How far a reading of values has come. What changes lies in the entry: the verifier
 * need not follow it. */
struct progress {
	__u64 cookie;  /* of the hit */
	__u32 used;    /* bytes of values.bytes */
	__u32 limit;   /* bytes of them that may be used */
	__u32 depth;   /* index of the current level */
	__u32 key;     /* index of the level whose key is being read; 0: none is */
	__u16 secret;  /* the last STEP_KEY looks like one, or could not be seen to its end */
	__u16 full;    /* a chunk had no room: none is made any more */
	__u16 stopped; /* nothing is read any more */
	__u16 why;     /* as the root chunk's status says it */
	__u32 text;    /* position of text of a key that is to be judged next */
	__u32 length;  /* of it; 0: there is none */
};

/* Captured values on their way into an event. */
struct values {
	struct progress progress; /* of the hit that is being looked at */
	struct level levels[LEVELS];
	struct event event;
	__u8 bytes[];
};

/* A call of a function: where it returns to, in bytes from the entry site. */
struct root_call {
	__u32 function;
	__s32 distance;
};

/* root_call -> 1: such calls begin traces. Written by uspan before attaching. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct root_call);
	__type(value, __u32);
	__uint(max_entries, 1);
} root_calls SEC(".maps");

/* The first function of a goroutine, by its entry at link time. */
struct worker_key {
	__u64 entry;
	__u32 binary;
	__u32 pad;
};

/* A goroutine that waits for work in a loop: in place of the function's index in
 * root_calls, and the depth of the return addresses of the calls of the loop. */
struct worker {
	__u32 function;
	__u32 calls;
};

/*
 * worker_key -> worker, of goroutines whose loop is in a function that is not
 * traced. Written by uspan before attaching.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct worker_key);
	__type(value, struct worker);
	__uint(max_entries, 1);
} workers SEC(".maps");

/* A trace by its id, or that of its first part. */
struct trace {
	__u64 id[2];
};

/*
 * trace -> spans in it and in all its parts, for those that have more than one
 * goroutine's first chunk. The least recently used go: a trace that is forgotten may become longer.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct trace);
	__type(value, __u64);
	__uint(max_entries, 16384);
} traces SEC(".maps");

#define PANIC_RAW 40   /* bytes: the largest type of the runtime's own values */
#define PANIC_TEXT 256 /* bytes of a message at most */
#define PANICS_MAX 8   /* panics of one goroutine that are told apart */

/* A panic, or Goexit, that is under way. */
struct panic {
	__u64 depth;  /* of the call of runtime.gopanic or runtime.Goexit */
	__u64 passed; /* it has unwound only frames at this depth or deeper */
	__u64 told;   /* when it was told last */
	struct event event;
	struct panic_value value;
	__u8 bytes[PANIC_RAW + PANIC_TEXT];
};

enum panic_layout {
	PANIC_RAW_BYTES = PANIC_RAW,
};

/* Where uspan finds the parts of a struct values. */
enum values_layout {
	VALUES_EVENT = __builtin_offsetof(struct values, event),
	VALUES_BYTES = __builtin_offsetof(struct values, bytes),
};

/*
 * goroutine_key -> goroutine, for goroutines with open frames. Full: the call
 * has no frame and is counted in goroutines_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct goroutine_key);
	__type(value, struct goroutine);
	__uint(max_entries, 1);
} goroutines SEC(".maps");

/*
 * frame_key -> frame, but for the outermost of each goroutine, which lie in its own
 * entry. Full: the call has no frame, counted in frames_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct frame_key);
	__type(value, struct frame);
	__uint(max_entries, 1);
} frames SEC(".maps");

/* In place of a level: the arguments of a call that has not been entered yet. */
#define LEVEL_KEPT (~0U)

enum late_layout {
	LATE_HITS = 16, /* of one goroutine that are put off at most: see late.h */
};

/* In place of a level: the arguments of a call whose entry is such a hit, by its index. */
#define LEVEL_LATE (LEVEL_KEPT - (__u32)LATE_HITS)

/* A hit of `enter` or `leave` that is put off. */
struct late_hit {
	__u64 cookie;
	__u64 now;
	__u64 return_address; /* where it lay */
	__u64 returns_to;     /* it itself, at an entry; 0: it could not be read */
	__u64 pc;	      /* of the site */
	__u64 stack;	      /* the number of its stack, at an entry */
	__u32 tid;
	__u8 index;
	__u8 leaving;
	__u8 failed; /* the call returned an error, where calls are counted by duration */
	__u8 pad;
};

/* Those of one goroutine, in order. */
struct late {
	__u64 goid, lo, hi; /* as the hit has them at which they are told */
	__u64 owner;	    /* goid, where it had open calls when the first was put off */
	__u32 process;	    /* its number */
	__u32 next;	    /* the program that goes on then: enum program */
	__u32 count;	    /* more than LATE_HITS: there were too many, none is told */
	__u32 open;	    /* calls that have begun among them, and not ended */
	__u32 closed;	    /* before that many, all that have begun have ended */
	__u32 pad;
	struct late_hit hits[LATE_HITS];
};

/* goroutine_key -> late, for goroutines that could not be read. Full: see late.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct goroutine_key);
	__type(value, struct late);
	__uint(max_entries, 256);
} lates SEC(".maps");

/*
 * frame_key -> values, for frames of functions with captures. Full, or no
 * memory at this moment: the span goes without values, counted in values_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct frame_key));
	__uint(value_size, sizeof(struct values));
	__uint(max_entries, 1);
} values SEC(".maps");

/*
 * frame_key, whose level counts the panics of the goroutine -> panic. Full: the
 * calls that it unwinds are told without its value, counted in panics_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct frame_key);
	__type(value, struct panic);
	__uint(max_entries, 4096);
} panics SEC(".maps");

/* A goroutine that a `go` statement that carries a probe has begun, or is about
 * to: what its first calls belong to. */
struct child {
	__u64 parent;	 /* number of the goroutine that the statement ran on */
	__u64 gopc;	 /* return address of the statement */
	__u64 processor; /* the runtime's, whose number it is to have */
	struct context context;
	__u32 tgid;
	__u16 refills; /* the first one of a new stock */
	__u16 ambiguous;
};

/* Two children whose numbers lead to the same place. What has to be looked at first
 * lies together. */
struct pair {
	__u64 number[2];  /* 0: there is none */
	__u32 process[2]; /* its number */
	__u32 version[2]; /* odd: somebody writes it just now */
	__u32 recent;	  /* which of the two was used last */
	__u32 pad;
	struct child child[2];
};

/*
 * index, by the number of a goroutine -> pair. Most goroutines never call anything
 * that is traced, and nobody sees their end: a new one takes the place of that of
 * two which was used less recently. A goroutine whose entry is gone has no parent,
 * and its calls say so. An array, as every `go` statement comes here: a new entry of
 * a hash table that is full, and forgets another for it, costs as much as a probe.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct pair);
	__uint(max_entries, 1);
} children SEC(".maps");

#define LAST_CHILDREN_BITS 14

/*
 * index -> number of the last child, of a goroutine; before Go 1.21, which does not
 * say which goroutine a child is of, of a statement: of whichever led here last.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1 << LAST_CHILDREN_BITS);
} last_children SEC(".maps");

/* A `go` statement by its return address. */
struct statement_key {
	__u64 gopc;
	__u32 tgid;
	__u32 pad;
};

/*
 * statement_key -> 1, for the `go` statements that have run with a probe: a
 * goroutine that comes from one and is no child that is known was missed. Full: that
 * it was is not said.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct statement_key);
	__type(value, __u32);
	__uint(max_entries, 1);
} statements SEC(".maps");

/* index of the cookie -> go_site. Written by uspan before attaching, but for `noted`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct go_site);
	__uint(max_entries, 1);
} go_sites SEC(".maps");

/* 0 -> what a new entry of `panics` is made from; never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct panic);
	__uint(max_entries, 1);
} empty_panic SEC(".maps");

/* 0 -> what a new entry of `values` is made from; never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct values));
	__uint(max_entries, 1);
} empty_values SEC(".maps");

/*
 * tgid -> process. Processes of an executable that is traced in every process, and
 * relatives of targets, add themselves; those that end, or execute something, are
 * removed. Full: counted in processes_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct process);
	__uint(max_entries, 1);
} processes SEC(".maps");

/*
 * tgid -> 1, with `follow`: processes that a target has started, or that were one
 * until they executed something. They are targets again where they run what is
 * traced; those that end are removed. Full: counted in relatives_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} relatives SEC(".maps");

/* binary of the cookie -> binary. Written by uspan before attaching. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct binary);
	__uint(max_entries, 1);
} binaries SEC(".maps");

/* function of the cookie -> what is read. Written by uspan before attaching. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct function);
	__uint(max_entries, 1);
} functions SEC(".maps");

/* function of the cookie -> losses: counted there and in `counted`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct losses);
	__uint(max_entries, 1);
} lost SEC(".maps");

/*
 * bucket_key -> calls. Full, or no memory at this moment: the call is in no bucket,
 * counted in `durations`. What is written at every call by all processors is spread
 * over the buckets, so that they need not be kept for each processor.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct bucket_key);
	__type(value, __u64);
	__uint(max_entries, 1);
} buckets SEC(".maps");

/* function of the cookie -> durations, for each processor. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct durations);
	__uint(max_entries, 1);
} durations SEC(".maps");

/* function.first + n, and as steps say -> step. Written by uspan before attaching. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct step);
	__uint(max_entries, 1);
} steps SEC(".maps");

/* dynamic_key -> dynamic. Written by uspan before attaching. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct dynamic_key);
	__type(value, struct dynamic);
	__uint(max_entries, 1);
} dynamics SEC(".maps");

/* state -> secret_state, 0 the first. Written by uspan before attaching. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct secret_state);
	__uint(max_entries, 1);
} secrets SEC(".maps");

/*
 * number of a stack -> stack. It is made of the stack's words, so that one stands
 * for all calls that have it. Full: the call has no stack, counted in stacks_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct stack);
	__uint(max_entries, 1);
} stacks SEC(".maps");

/* 0 -> what a new entry of `stacks` is made from; never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct stack);
	__uint(max_entries, 1);
} empty_stack SEC(".maps");

/* Events. Full: the event is gone, counted in ring_full. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");
