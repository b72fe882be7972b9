/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose call it is, and how deep: the goroutine comes from Go's own g, and the
 * depth is the distance of the stack pointer from the top of the goroutine's
 * stack, which stays the same when the runtime copies the stack.
 */
#pragma once

/* What one hit of a probe knows. */
struct hit {
	__u64 cookie;
	__u64 now;
	__u64 g;
	__u64 goid;
	__u64 return_address; /* where the return address lies */
	__u64 depth;
	__u32 tgid;
	__u32 tid;
};

#define STACK_HI_OFFSET 8      /* of runtime.g.stack.hi, in every Go version */
#define STACK_MAX (1ULL << 32) /* the runtime's own limit is 1 GB */

/* Tells uspan of a process that it may not know. */
static __always_inline void tell_process(struct hit *hit)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(&counted.ring_full);
		return;
	}
	*event = (struct event){
		.kind = EVENT_PROCESS,
		.tgid = hit->tgid,
		.function = COOKIE_FUNCTION(hit->cookie),
		.start = bpf_ktime_get_ns(),
	};
	bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
}

/* Whether the process is a target. */
static __always_inline bool is_target(struct hit *hit, struct binary *binary)
{
	__u32 one = 1;

	if (bpf_map_lookup_elem(&processes, &hit->tgid))
		return true;
	if (!binary->every)
		return false;
	switch (bpf_map_update_elem(&processes, &hit->tgid, &one, BPF_NOEXIST)) {
	case 0:
		tell_process(hit);
		return true;
	case -17: /* EEXIST: another thread was faster */
		return true;
	default:
		count(&counted.processes_full);
		return false;
	}
}

/*
 * Fills in the goroutine and the depth. False: not a target, or nothing to be
 * known about it.
 */
static __always_inline bool look(struct hit *hit, struct registers *r, __u64 cookie)
{
	__u32 index = COOKIE_BINARY(cookie);
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 hi;

	if (!binary)
		return false;
	hit->cookie = cookie;
	hit->tgid = pid_tgid >> 32;
	hit->tid = (__u32)pid_tgid;
	if (!is_target(hit, binary))
		return false;

	hit->g = REGISTER_G(r);
	if (cookie & COOKIE_THREAD_G) {
		struct task_struct *task = bpf_get_current_task_btf();
		__u64 slot = THREAD_POINTER(task) + binary->tls_offset;

		if (bpf_probe_read_user(&hit->g, sizeof(hit->g), (void *)slot))
			goto unknown;
	}
	if (bpf_probe_read_user(&hi, sizeof(hi), (void *)(hit->g + STACK_HI_OFFSET)) ||
	    bpf_probe_read_user(&hit->goid, sizeof(hit->goid),
				(void *)(hit->g + binary->goid_offset)))
		goto unknown;
	hit->return_address = REGISTER_SP(r) + COOKIE_SP_OFFSET(cookie);
	hit->depth = hi - hit->return_address;
	if (hit->depth < STACK_MAX)
		return true;
unknown:
	count(&counted.no_goroutine);
	return false;
}
