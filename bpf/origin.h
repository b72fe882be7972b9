/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is told of a process with its first hit. It may have ended before uspan looks,
 * and nothing else is left then of its environment and its names.
 */
#pragma once

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded" /* where fields really lie, CO-RE knows */
struct new_utsname {
	char nodename[65];
} CORE;

struct uts_namespace {
	struct new_utsname name;
} CORE;

struct nsproxy {
	struct uts_namespace *uts_ns;
} CORE;

struct ns_common {
	unsigned int inum;
} CORE;

struct pid_namespace {
	struct ns_common ns;
} CORE;
#pragma clang diagnostic pop

/* Its id in the PID namespace that it is in itself, and the inode of that. */
static __always_inline void tell_inner(struct origin *origin, struct task_struct *task)
{
	/* a number to the verifier, unlike what is followed without being read */
	struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]);
	struct upid *name = name_at(pid, BPF_CORE_READ(pid, level));
	struct pid_namespace *ns;

	if (bpf_probe_read_kernel(&origin->pid, sizeof(origin->pid), &name->nr) ||
	    bpf_probe_read_kernel(&ns, sizeof(ns), &name->ns))
		origin->pid = 0;
	else
		origin->pid_namespace = BPF_CORE_READ(ns, ns.inum);
}

/* The environment that it was started with, as far as there is room. */
static __always_inline void tell_environment(struct origin *origin, struct mm_struct *mm)
{
	__u64 size = mm->env_end - mm->env_start, good = size;

	if (good > sizeof(origin->environment))
		good = sizeof(origin->environment);
	if (!bpf_probe_read_user(origin->environment, good, (void *)mm->env_start))
		origin->good = good;
	origin->size = size;
}

GLOBAL int tell_origin(__u32 tgid, __u32 function, struct binary *binary)
{
	struct introduction *told = bpf_ringbuf_reserve(&events, sizeof(*told), 0);
	struct task_struct *task = bpf_get_current_task_btf();
	struct mm_struct *mm = task->mm;

	if (!told) {
		count(&counted.processes_untold);
		return 0;
	}
	told->event = (struct event){
		.kind = EVENT_PROCESS,
		.tgid = tgid,
		.function = function,
		.start = bpf_ktime_get_ns(),
		.args = sizeof(told->origin),
	};
	told->origin.started = BPF_CORE_READ(task, group_leader, start_boottime);
	told->origin.bias = 0;
	told->origin.pid = 0;
	told->origin.pid_namespace = 0;
	told->origin.size = 0;
	told->origin.good = 0;
	__builtin_memset(told->origin.host, 0, sizeof(told->origin.host));
	BPF_CORE_READ_INTO(&told->origin.host, task, nsproxy, uts_ns, name.nodename);
	tell_inner(&told->origin, task);
	if (mm) {
		if (binary && binary->moves)
			told->origin.bias = mm->start_code - binary->code_start;
		tell_environment(&told->origin, mm);
	}
	bpf_ringbuf_submit(told, BPF_RB_FORCE_WAKEUP);
	return 0;
}
