/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the programs of probes have their stack. Linux 6.13 and later take
 * memory of the processor for it, one piece for each program, as with kprobes
 * (bpf_enable_priv_stack in kernel/bpf/verifier.c). But the kernel can take the
 * processor away from a thread in the middle of a uprobe, and the next one that
 * hits the same probe would write over what the first one has there: calls get
 * lost or mixed up, and pointers are garbage that the kernel follows. No program
 * with a tail call is given such a stack; so ours have one, which nothing
 * reaches and which is not in the code that runs.
 */
#pragma once

int enter(struct registers *r);
int leave(struct registers *r);
int unwound(struct registers *r);
int spawned(struct registers *r);
int catch_up(struct registers *r);

enum program {
	PROGRAM_NONE,
	PROGRAM_ENTER,
	PROGRAM_LEAVE,
	PROGRAM_UNWOUND,
	PROGRAM_SPAWNED,
	PROGRAM_CATCH_UP,
	PROGRAMS,
};

/* Programs that others jump to: see late.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(max_entries, PROGRAMS);
	__array(values, int(struct registers *));
} programs SEC(".maps") = {
	.values =
		{
			[PROGRAM_ENTER] = (void *)&enter,
			[PROGRAM_LEAVE] = (void *)&leave,
			[PROGRAM_UNWOUND] = (void *)&unwound,
			[PROGRAM_SPAWNED] = (void *)&spawned,
			[PROGRAM_CATCH_UP] = (void *)&catch_up,
		},
};

const volatile bool never = false;

static __always_inline void stay_on_stack_of_thread(struct registers *r)
{
	if (never)
		bpf_tail_call(r, &programs, 0);
}
