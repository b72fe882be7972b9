/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ends of processes. The kernel may give a process id to another at once,
 * long before uspan has noticed.
 */
#pragma once

SEC("raw_tp/sched_process_exit")
int see_exit(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct hit hit = {};

	if (!task->signal->live.counter && identify(&hit))
		bpf_map_delete_elem(&processes, &hit.tgid);
	return 0;
}
