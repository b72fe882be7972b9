//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What uspan asks the kernel about itself. These programs are attached to
 * nothing: uspan runs each when it has a question, in its own process.
 */
#include "event.h"
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct inode;

struct file {
	struct inode *f_inode;
} CORE;

struct vm_area_struct {
	struct file *vm_file;
} CORE;

/* uspan's PID namespace, its level, and uspan's id in the initial one. */
__u64 pid_namespace = 0;
__u32 pid_level = 0;
__u32 tgid = 0;

SEC("raw_tp")
int see_namespace(void *ctx)
{
	/* A number to the verifier, not a pointer that it follows: to those it adds no level. */
	struct pid *pid = BPF_CORE_READ(bpf_get_current_task_btf(), thread_pid);
	struct pid_namespace *ns;

	tgid = bpf_get_current_pid_tgid() >> 32;
	pid_level = BPF_CORE_READ(pid, level);
	if (bpf_probe_read_kernel(&ns, sizeof(ns), &name_at(pid, pid_level)->ns))
		return 0;
	pid_namespace = (__u64)ns;
	return 0;
}

/*
 * The inode behind a mapping of uspan's at `address`: the one that uprobes go by
 * (valid_vma and uprobe_mmap in kernel/events/uprobes.c). On a file system that
 * lies upon others, such as overlayfs, it belongs to one of those, and several
 * files have it. 0: there is none, or it could not be looked at.
 */
__u64 address = 0;
__u64 inode = 0;

static long see_mapping(struct task_struct *task, struct vm_area_struct *area, void *context)
{
	struct file *file = area->vm_file;

	if (file)
		inode = (__u64)file->f_inode;
	return 0;
}

SEC("raw_tp")
int see_inode(void *ctx)
{
	int nothing = 0;

	inode = 0;
	return bpf_find_vma(bpf_get_current_task_btf(), address, see_mapping, &nothing, 0);
}
