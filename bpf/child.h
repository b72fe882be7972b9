/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `go` statements. At the call of runtime.newproc the number of the new goroutine
 * can be told: it is the next one that the processor has in stock, or, where the
 * stock is used up, the next that the scheduler hands out. The goroutine may be
 * preempted between here and there, and somebody else get that number. So it is
 * compared at the goroutine's first call with what it says of itself: the return
 * address of its `go` statement, and from Go 1.21 on the goroutine that ran it.
 */
#pragma once

/* The number of the next goroutine that a goroutine makes; 0 if it cannot be told. */
static __always_inline __u64 next_goid(struct hit *hit, struct binary *binary, struct go_site *site,
				       __u64 pc)
{
	__u64 thread, processor, stock[2], last;

	if (bpf_probe_read_user(&thread, sizeof(thread),
				(void *)(hit->g + binary->thread_offset)) ||
	    bpf_probe_read_user(&processor, sizeof(processor),
				(void *)(thread + binary->processor_offset)) ||
	    bpf_probe_read_user(stock, sizeof(stock),
				(void *)(processor + binary->goidcache_offset)))
		return 0;
	if (stock[0] != stock[1])
		return stock[0];
	if (!site->goidgen ||
	    bpf_probe_read_user(&last, sizeof(last), (void *)(pc + site->goidgen)))
		return 0;
	return last + 1;
}

/*
 * Fills in what the calls of a goroutine belong to by the `go` statement that
 * began it: nothing where that carries no probe, or was in no call. Returns the
 * event flags that say of an unknown parent.
 */
static __always_inline __u8 inherit(struct hit *hit, struct binary *binary, struct context *context)
{
	struct child_key key = {.number = hit->goid, .tgid = hit->tgid};
	struct child *child;
	__u64 gopc, parent;

	if (!binary->thread_offset || !hit->goid ||
	    bpf_probe_read_user(&gopc, sizeof(gopc), (void *)(hit->g + binary->gopc_offset)))
		return 0;
	child = bpf_map_lookup_elem(&children, &key);
	if (child && child->gopc == gopc && child->process == hit->process) {
		parent = child->parent;
		if (binary->parent_goid_offset)
			bpf_probe_read_user(&parent, sizeof(parent),
					    (void *)(hit->g + binary->parent_goid_offset));
		if (parent == child->parent) {
			if (child->ambiguous)
				return EVENT_PARENT_UNKNOWN;
			*context = child->context;
			return 0;
		}
	}
	key.number = gopc;
	return bpf_map_lookup_elem(&statements, &key) ? EVENT_PARENT_UNKNOWN : 0;
}

/* Notes which goroutine a `go` statement is about to begin, and what it belongs to. */
static __always_inline void note_child(struct hit *hit, struct binary *binary, struct go_site *site,
				       __u64 pc, struct context *context, bool unknown)
{
	struct child child = {.context = *context,
			      .parent = hit->goid,
			      .gopc = pc + site->length,
			      .ambiguous = unknown,
			      .process = hit->process};
	struct child_key key = {.number = child.gopc, .tgid = hit->tgid};
	struct child *other;
	__u32 one = 1;

	if (!bpf_map_lookup_elem(&statements, &key))
		bpf_map_update_elem(&statements, &key, &one, BPF_ANY);
	key.number = next_goid(hit, binary, site, pc);
	if (!key.number) {
		count(&counted.children_lost);
		return;
	}
	other = bpf_map_lookup_elem(&children, &key);
	/* one of the two is wrong, and nothing tells which before Go 1.21 */
	if (other && !binary->parent_goid_offset && other->parent != child.parent)
		child.ambiguous = 1;
	if (bpf_map_update_elem(&children, &key, &child, BPF_ANY))
		count(&counted.children_lost);
}
