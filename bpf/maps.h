/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps. Sizes given here as 1 are set by uspan before it loads the
 * programs, from the plan.
 */
#pragma once

/* Where new calls of a goroutine belong. */
struct context {
	__u64 trace[2];
	__u64 span; /* 0: the next call is a root */
};

struct goroutine_key {
	__u64 g;
	__u32 tgid;
	__u32 pad;
};

struct goroutine {
	__u64 goid;
	__u64 hi;    /* the top of its stack at its last event */
	__u64 depth; /* of the innermost open frame, in bytes below stack.hi */
	struct context context;
	__u32 level;   /* number of open frames */
	__u32 process; /* number of the process */
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
};

/* Elements that are being read, and the steps by which. */
struct level {
	__u64 address;	/* of the element, in the target */
	__u32 position; /* of the element, in values.bytes */
	__u32 size;	/* of an element in bytes */
	__u32 first;	/* of the steps */
	__u16 count;
	__u16 next;
	__u32 left;  /* elements, this one among them */
	__u32 chunk; /* position of the chunk's head */
};

#define LEVELS 8 /* chunks that lead to each other */

/* Captured values on their way into an event. */
struct values {
	struct level levels[LEVELS]; /* of the hit that is being looked at */
	struct event event;
	__u8 bytes[];
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

/* frame_key -> frame. Full: the call has no frame, counted in frames_full. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct frame_key);
	__type(value, struct frame);
	__uint(max_entries, 1);
} frames SEC(".maps");

/* In place of a level: the arguments of a call that has not been entered yet. */
#define LEVEL_KEPT (~0U)

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

/* 0 -> what a new entry of `values` is made from; never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct values));
	__uint(max_entries, 1);
} empty_values SEC(".maps");

/*
 * tgid -> process. Processes of an executable that is traced in every process
 * add themselves; those that end are removed. Full: counted in processes_full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct process);
	__uint(max_entries, 1);
} processes SEC(".maps");

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

/* Events. Full: the event is gone, counted in ring_full. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");
