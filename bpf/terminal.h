/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which signals of uspan's own came from its terminal. The terminal gives them
 * to the whole foreground process group, so that the traced command has them
 * already; a Go program cannot see who sent a signal, the kernel can.
 */
#pragma once

#define SIGNALS 65
#define FROM_KERNEL 1 /* SEND_SIG_PRIV of include/linux/sched/signal.h */

/* How often the kernel itself sent each signal to uspan. */
__u32 kernel_signals[SIGNALS] = {};

SEC("raw_tp/signal_generate")
int see_signal(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[2];
	__u64 signal = ctx->args[0];
	int tgid;

	if (ctx->args[1] != FROM_KERNEL || signal >= SIGNALS)
		return 0;
	if (bpf_probe_read_kernel(&tgid, sizeof(tgid), &task->tgid) || (__u32)tgid != self_tgid)
		return 0;
	__sync_fetch_and_add(&kernel_signals[signal], 1);
	return 0;
}
