/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose call it is, and how deep: the goroutine comes from Go's own g, and the
 * depth is the distance of the stack pointer from the top of the goroutine's
 * stack, which stays the same when the runtime copies the stack.
 */
#pragma once

enum unknown {
	UNKNOWN_GOROUTINE = 1,	  /* its g could not be read */
	UNKNOWN_PROCESS = 2,	  /* there was no room for its process */
	UNREADABLE_GOROUTINE = 3, /* its g, which is known, could not be read */
};

/* What one hit of a probe knows. */
struct hit {
	__u64 cookie;
	__u64 now;
	__u64 g;
	__u64 goid;
	__u64 lo, hi;	      /* its stack */
	__u64 return_address; /* where the return address lies */
	__u64 depth;
	__u64 pc;	  /* of the site, at an entry */
	__u64 fp;	  /* the frame pointer, at an entry: the caller's */
	__u64 returns_to; /* at an entry: what lay there, where that is not to be read */
	__u64 stack;	  /* the number of its stack, at an entry */
	__u32 tgid;
	__u32 tid;
	__u32 process; /* its number */
	__u32 unknown; /* a target's, but why nothing is known of it: enum unknown */
	__u64 thread;  /* runtime.g.m, at a `go` statement */
	__u8 late;     /* 1: it was put off: see late.h; then, as late_hit has it: */
	__u8 index;
	__u8 failed;
	__u8 pad[5];
};

/* Whether the cookie of a hit has one of some flags; false to the verifier where no
 * site of the plans has. */
static __always_inline bool has(struct hit *hit, __u64 flags)
{
	return hit->cookie & cookie_bits & flags;
}

#define SCHED_OFFSET 56	       /* of runtime.g.sched, which begins with sp and pc */
#define STACK_MAX (1ULL << 32) /* the runtime's own limit is 1 GB */

/* A process's or thread's id in uspan's PID namespace; 0: it is not in it. */
static __always_inline __u32 id_of(struct pid *pid)
{
	struct upid *name = name_at(pid, pid_level);
	struct pid_namespace *ns;
	int id;

	if (pid->level < pid_level || bpf_probe_read_kernel(&ns, sizeof(ns), &name->ns) ||
	    (__u64)ns != pid_namespace || bpf_probe_read_kernel(&id, sizeof(id), &name->nr))
		return 0;
	return id;
}

/* A process's id in uspan's PID namespace by any of its threads; 0: it is not in it. */
static __always_inline __u32 process_of(struct task_struct *task)
{
	return pid_namespace ? id_of(task->signal->pids[PIDTYPE_TGID]) : (__u32)task->tgid;
}

/*
 * Fills in the ids of the process and the thread. False: uspan cannot see them.
 * bpf_get_ns_current_pid_tgid would do for processes of this very namespace, but
 * not for those of the namespaces below it.
 */
static __always_inline bool identify(struct hit *hit)
{
	struct task_struct *task;
	__u64 pid_tgid;

	if (!pid_namespace) {
		pid_tgid = bpf_get_current_pid_tgid();
		hit->tgid = pid_tgid >> 32;
		hit->tid = (__u32)pid_tgid;
		return true;
	}
	task = bpf_get_current_task_btf();
	hit->tgid = process_of(task);
	hit->tid = id_of(task->thread_pid);
	return hit->tgid && hit->tid;
}

/*
 * Whether the process is a target: one that uspan has named, any of an executable
 * that is traced in every process, or a relative of a target.
 */
static __always_inline bool is_target(struct hit *hit, __u32 index, struct binary *binary)
{
	struct process *known = bpf_map_lookup_elem(&processes, &hit->tgid);
	struct process fresh = {.binary = index};

	if (!known) {
		if (!binary->every && !(follow && bpf_map_lookup_elem(&relatives, &hit->tgid)))
			return false;
		fresh.number = bpf_get_prandom_u32();
		switch (bpf_map_update_elem(&processes, &hit->tgid, &fresh, BPF_NOEXIST)) {
		case 0:
			hit->process = fresh.number;
			tell_origin(hit->tgid, COOKIE_FUNCTION(hit->cookie), binary);
			return true;
		case -17: /* EEXIST: another thread was faster */
			known = bpf_map_lookup_elem(&processes, &hit->tgid);
			break;
		default:
			hit->unknown = UNKNOWN_PROCESS;
		}
		if (!known)
			return false;
	}
	hit->process = known->number;
	return known->binary == index;
}

/*
 * What is read of a runtime.g at once, where the stack of a program has room for it:
 * to read twice as much costs little, to read twice costs twice. In all versions of Go
 * up to now, the stack comes first, and the number is at one of two places.
 */
struct g_words {
	__u64 lo, hi; /* stack.lo, stack.hi */
	__u64 others[4];
	__u64 thread; /* m, where binary->thread_offset is G_THREAD_OFFSET */
	__u64 more[12];
	__u64 goid_at_152, goid_at_160;
};

#define G_THREAD_OFFSET 48

static __always_inline bool read_g(struct g_words *words, __u64 g, __u32 goid_offset, __u64 *goid)
{
	if (bpf_probe_read_user(words, sizeof(*words), (void *)g))
		return false;
	if (goid_offset == 152)
		*goid = words->goid_at_152;
	else if (goid_offset == 160)
		*goid = words->goid_at_160;
	else
		return !bpf_probe_read_user(goid, sizeof(*goid), (void *)(g + goid_offset));
	return true;
}

/*
 * How long a goroutine is looked at that cannot be read, and how often at most.
 * The program has just touched it, but the kernel may be moving its page: a huge
 * page is made or split, memory is compacted. The program's own access would
 * sleep; what is read here fails instead, for some microseconds mostly. It is longer
 * where what moves the page waits for this very processor: see late.h.
 */
#define PEEK_AGAIN_NS 2000000
#define PEEK_AGAIN_HITS 64 /* so many can be that unlucky */

/* Fills in what g says of the goroutine. `slot` is where the address of g is read, or
 * 0. False: it cannot be read. */
GLOBAL int read_goroutine(struct hit *hit, __u64 slot, __u32 goid_offset)
{
	struct g_words words;

	if (!hit || (slot && bpf_probe_read_user(&hit->g, sizeof(hit->g), (void *)slot)) ||
	    !read_g(&words, hit->g, goid_offset, &hit->goid))
		return false;
	hit->lo = words.lo;
	hit->hi = words.hi;
	hit->thread = words.thread;
	return true;
}

/* Looking at what could not be read. What is looked at follows it. */
struct look {
	__u64 until; /* 0: it was read */
};

/* Notes whether it was read now. 1: that is the end of it. */
static __always_inline long looked(struct look *look, bool done)
{
	if (done)
		look->until = 0;
	return done || bpf_ktime_get_ns() > look->until;
}

/* Calls `once`, which has to call looked, until that ends it. False: it was in vain. */
static __always_inline bool look_again(long (*once)(__u32, void *), struct look *look)
{
	if (unread >= PEEK_AGAIN_HITS)
		return false;
	look->until = bpf_ktime_get_ns() + PEEK_AGAIN_NS;
	bpf_loop(1 << 20, once, look, 0);
	if (look->until)
		count(&unread);
	return !look->until;
}

struct peek {
	struct look look;
	struct hit *hit;
	__u64 slot;
	__u64 goid_offset;
};

static long peek_once(__u32 n, void *context)
{
	struct peek *peek = context;

	return looked(&peek->look, read_goroutine(peek->hit, peek->slot, peek->goid_offset));
}

/* read_goroutine once more, where it was in vain. */
static __always_inline bool peek_again(struct hit *hit, __u64 slot, __u32 goid_offset)
{
	struct peek peek = {.hit = hit, .slot = slot, .goid_offset = goid_offset};

	return look_again(peek_once, &peek.look);
}

/*
 * A return needs no look at the goroutine, which costs as much as all look-ups, where
 * its innermost open call is known and the stack has not moved since, which shows in
 * the depth coming out the same. That holds where each call is seen to begin: whose the
 * g is by now is told there, and no other call can be the innermost one. Where some are
 * not (while probes are placed and removed, where a table is full, or where panics are
 * not seen) a stack that has moved twice could come to lie so that the depth comes out
 * the same for another call.
 */
static __always_inline struct goroutine *remember(struct hit *hit)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct goroutine *goroutine = bpf_map_lookup_elem(&goroutines, &key);

	if (!goroutine || !goroutine->level ||
	    goroutine->hi - hit->return_address != goroutine->depth)
		return NULL;
	hit->hi = goroutine->hi;
	hit->goid = goroutine->goid;
	return goroutine;
}

/* See late.h. */
static __always_inline struct late *late_of(__u64 g, __u32 tgid);
static __always_inline void tell_late(struct hit *hit, struct registers *r, struct binary *binary,
				      __u32 next);

/* Fills in the process, and finds what its executable has. NULL: not a target. */
static __always_inline struct binary *look_process(struct hit *hit, __u64 cookie)
{
	__u32 index = COOKIE_BINARY(cookie);
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);

	hit->cookie = cookie;
	if (!binary || !identify(hit) || !is_target(hit, index, binary))
		return NULL;
	return binary;
}

/* Fills in what g says of the goroutine, and the depth of a return address. */
static __always_inline bool look_goroutine(struct hit *hit, struct binary *binary)
{
	if (!read_goroutine(hit, 0, binary->goid_offset) &&
	    !peek_again(hit, 0, binary->goid_offset))
		return false;
	hit->depth = hit->hi - hit->return_address;
	return hit->depth < STACK_MAX;
}

/*
 * Fills in the goroutine and the depth. False: not a target, or nothing to be
 * known about it, which is the caller's to count. At a return, finds the goroutine
 * where that has to be looked up for it.
 */
static __always_inline bool look(struct hit *hit, struct registers *r, __u64 cookie,
				 struct goroutine **leaving)
{
	struct binary *binary = look_process(hit, cookie);
	struct goroutine *found = NULL;
	__u64 slot = 0;
	bool known = false;

	if (!binary)
		return false;
	hit->g = REGISTER_G(r);
	hit->return_address = REGISTER_SP(r) + COOKIE_SP_OFFSET(cookie);
	if (cookie & COOKIE_THREAD_G) {
		struct task_struct *task = bpf_get_current_task_btf();

		slot = THREAD_POINTER(task) + binary->tls_offset;
	}
	if (leaving && !slot && binary->settled && !counted.no_goroutine && !waiting)
		found = remember(hit);
	known = found || read_goroutine(hit, slot, binary->goid_offset);
	if (!known && !late_of(hit->g, hit->tgid)) {
		if (leaving)
			found = remember(hit);
		known = found || peek_again(hit, slot, binary->goid_offset);
	}
	hit->depth = hit->hi - hit->return_address;
	if (!known || hit->depth >= STACK_MAX) {
		hit->unknown = known || slot ? UNKNOWN_GOROUTINE : UNREADABLE_GOROUTINE;
		return false;
	}
	if (leaving)
		*leaving = found;
	tell_late(hit, r, binary, leaving ? PROGRAM_LEAVE : PROGRAM_ENTER);
	return true;
}

/* What addresses of the process are above those of its executable. */
static __always_inline __u64 load_bias(struct binary *binary)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mm_struct *mm = task->mm;

	return binary->moves && mm ? mm->start_code - binary->code_start : 0;
}
