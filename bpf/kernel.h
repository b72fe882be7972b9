/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * As much of the kernel as the programs need: the registers of a user thread
 * (fixed by the kernel's user ABI), and fields that CO-RE relocates.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define CORE __attribute__((preserve_access_index))

/*
 * A global function: the verifier looks at it once, by itself, and not on each of the
 * paths that lead to its calls, which go on as one. Its pointers lead to memory of some
 * kind, or are NULL, for all that it knows, and what a caller has there is unknown
 * afterwards. Linux 6.1 has them return a number, and wants the keys of maps on their
 * own stack.
 */
#define GLOBAL __attribute__((noinline))

struct mm_struct {
	unsigned long start_code;
	unsigned long env_start, env_end;
} CORE;

#define COPY_REGISTER(to, set, n, reg)   \
	do {                             \
		if ((set) & (1 << (n)))  \
			(to)[n] = (reg); \
	} while (0)

/*
 * Returns a register where n is `of`. The verifier wants constant offsets from the
 * context, which the compiler would compute from n.
 */
#define ARGUMENT_CASE(of, r, field)                                                       \
	case of: {                                                                        \
		__u64 value_;                                                             \
		asm volatile("%0 = *(u64 *)(%1 + %2)"                                     \
			     : "=r"(value_)                                               \
			     : "r"(r), "i"(__builtin_offsetof(struct registers, field))); \
		return value_;                                                            \
	}

#if defined(__TARGET_ARCH_x86)

/* struct pt_regs of arch/x86/include/uapi/asm/ptrace.h */
struct registers {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	__u64 ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

struct thread_struct {
	unsigned long fsbase;
} CORE;

#define REGISTER_G(r) ((r)->r14)
#define REGISTER_SP(r) ((r)->sp)
#define REGISTER_PC(r) ((r)->ip)
#define REGISTER_FP(r) ((r)->bp)
#define FIRST_CALLER(r) 0 /* it is on the stack */
#define FIRST_CALLER_IN_REGISTER 0
#define ARGUMENT_0(r) ((r)->ax)
#define ARGUMENT_1(r) ((r)->bx)
#define THREAD_POINTER(task) ((task)->thread.fsbase)

/*
 * Registers in what the kernel puts on the stack for a signal handler, from the
 * handler's return address on: struct rt_sigframe of arch/x86/include/asm/sigframe.h,
 * whose ucontext has struct sigcontext_64 at 40.
 */
#define SIGNAL_FRAME_BP (8 + 40 + 10 * 8)
#define SIGNAL_FRAME_SP (8 + 40 + 15 * 8)
#define SIGNAL_FRAME_PC (8 + 40 + 16 * 8)

#define FLAG_CARRY (1 << 0)
#define FLAG_ZERO (1 << 6)

/* Whether the hit of a probe on a conditional jump counts. */
static __always_inline bool condition_holds(struct registers *r, __u32 condition)
{
	if (condition == CONDITION_NOT_BELOW_OR_EQUAL)
		return !(r->flags & (FLAG_CARRY | FLAG_ZERO));
	return true;
}

/* The integer argument registers of ABIInternal that `set` has, each at its place. */
static __always_inline void copy_arguments(__u64 *to, struct registers *r, __u32 set)
{
	COPY_REGISTER(to, set, 0, r->ax);
	COPY_REGISTER(to, set, 1, r->bx);
	COPY_REGISTER(to, set, 2, r->cx);
	COPY_REGISTER(to, set, 3, r->di);
	COPY_REGISTER(to, set, 4, r->si);
	COPY_REGISTER(to, set, 5, r->r8);
	COPY_REGISTER(to, set, 6, r->r9);
	COPY_REGISTER(to, set, 7, r->r10);
	COPY_REGISTER(to, set, 8, r->r11);
}

/* One of them; 0 where there is none. */
static __always_inline __u64 argument(struct registers *r, __u32 n)
{
	switch (n) {
		ARGUMENT_CASE(0, r, ax);
		ARGUMENT_CASE(1, r, bx);
		ARGUMENT_CASE(2, r, cx);
		ARGUMENT_CASE(3, r, di);
		ARGUMENT_CASE(4, r, si);
		ARGUMENT_CASE(5, r, r8);
		ARGUMENT_CASE(6, r, r9);
		ARGUMENT_CASE(7, r, r10);
		ARGUMENT_CASE(8, r, r11);
	}
	return 0;
}

#elif defined(__TARGET_ARCH_arm64)

/* struct user_pt_regs of arch/arm64/include/uapi/asm/ptrace.h */
struct registers {
	__u64 x[31];
	__u64 sp, pc, pstate;
};

struct thread_uw {
	unsigned long tp_value;
} CORE;

struct thread_struct {
	struct thread_uw uw;
} CORE;

#define REGISTER_G(r) ((r)->x[28])
#define REGISTER_SP(r) ((r)->sp)
#define REGISTER_PC(r) ((r)->pc)
#define REGISTER_FP(r) ((r)->x[29])
#define FIRST_CALLER(r) ((r)->x[30])
#define FIRST_CALLER_IN_REGISTER 1
#define ARGUMENT_0(r) ((r)->x[0])
#define ARGUMENT_1(r) ((r)->x[1])
#define THREAD_POINTER(task) ((task)->thread.uw.tp_value)

#define FLAG_CARRY (1U << 29)
#define FLAG_ZERO (1U << 30)

/* Whether the hit of a probe on a conditional jump counts. */
static __always_inline bool condition_holds(struct registers *r, __u32 condition)
{
	if (condition == CONDITION_NOT_BELOW_OR_EQUAL)
		return (r->pstate & (FLAG_CARRY | FLAG_ZERO)) == FLAG_CARRY;
	return true;
}

/* The integer argument registers of ABIInternal that `set` has, each at its place. */
static __always_inline void copy_arguments(__u64 *to, struct registers *r, __u32 set)
{
#pragma unroll
	for (int i = 0; i < 16; i++)
		COPY_REGISTER(to, set, i, r->x[i]);
}

/* One of them; 0 where there is none. */
static __always_inline __u64 argument(struct registers *r, __u32 n)
{
	switch (n) {
		ARGUMENT_CASE(0, r, x[0]);
		ARGUMENT_CASE(1, r, x[1]);
		ARGUMENT_CASE(2, r, x[2]);
		ARGUMENT_CASE(3, r, x[3]);
		ARGUMENT_CASE(4, r, x[4]);
		ARGUMENT_CASE(5, r, x[5]);
		ARGUMENT_CASE(6, r, x[6]);
		ARGUMENT_CASE(7, r, x[7]);
		ARGUMENT_CASE(8, r, x[8]);
		ARGUMENT_CASE(9, r, x[9]);
		ARGUMENT_CASE(10, r, x[10]);
		ARGUMENT_CASE(11, r, x[11]);
		ARGUMENT_CASE(12, r, x[12]);
		ARGUMENT_CASE(13, r, x[13]);
		ARGUMENT_CASE(14, r, x[14]);
		ARGUMENT_CASE(15, r, x[15]);
	}
	return 0;
}

#else
#error "unknown architecture: see kernel.h"
#endif

/* The context of a program, by the name that the kernel wants of a global function. */
struct bpf_user_pt_regs_t {
	struct registers registers;
};

static __always_inline struct bpf_user_pt_regs_t *context_of(struct registers *r)
{
	return (void *)r;
}

struct task_struct {
	struct thread_struct thread;
	struct mm_struct *mm;
	int pid, tgid; /* in the initial PID namespace */
	struct pid *thread_pid;
	struct signal_struct *signal;
	struct task_struct *group_leader;
	struct nsproxy *nsproxy;
	__u64 start_boottime;
} CORE;

/* enum pid_type of include/linux/pid_types.h */
#define PIDTYPE_TGID 1

typedef struct {
	int counter;
} atomic_t;

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded" /* where fields really lie, CO-RE knows */
struct signal_struct {
	atomic_t live; /* threads that have not ended */
	struct pid *pids[PIDTYPE_TGID + 1];
} CORE;

struct upid {
	int nr;
	struct pid_namespace *ns;
} CORE;

/* What a thread or process is called in the PID namespaces that it is in. */
struct pid {
	unsigned int level;    /* of the innermost, 0 being the initial one */
	struct upid numbers[]; /* of levels 0 to `level` */
} CORE;
#pragma clang diagnostic pop

/* A name in the namespace of some level, which has to be at most pid->level. */
static __always_inline struct upid *name_at(struct pid *pid, __u32 level)
{
	return (void *)pid + bpf_core_field_offset(struct pid, numbers) +
	       level * bpf_core_type_size(struct upid);
}
