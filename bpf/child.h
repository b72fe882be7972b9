/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `go` statements. At the call of runtime.newproc the number of the new goroutine
 * can be told: it is the next one that the processor has in stock, or, where the
 * stock is used up, the next that the scheduler hands out. The goroutine may be
 * preempted between here and there, and somebody else get that number. So it is
 * compared at the new goroutine's first call with what that says of itself: the
 * return address of its `go` statement, and from Go 1.21 on the goroutine that
 * ran it. What is left is a number that was told wrong and that a later statement
 * of the same goroutine gets: see doubt_last.
 */
#pragma once

/* runtime._GoidCacheBatch: so many numbers a processor takes into stock at once. */
#define GOID_BATCH 16

/*
 * The number of the next goroutine that a goroutine makes, and in `child` whose
 * stock it is from; 0 if it cannot be told.
 */
static __always_inline __u64 next_goid(struct hit *hit, struct binary *binary, struct go_site *site,
				       __u64 pc, struct child *child)
{
	__u64 thread, stock[2], last;

	if (bpf_probe_read_user(&thread, sizeof(thread),
				(void *)(hit->g + binary->thread_offset)) ||
	    bpf_probe_read_user(&child->processor, sizeof(child->processor),
				(void *)(thread + binary->processor_offset)) ||
	    bpf_probe_read_user(stock, sizeof(stock),
				(void *)(child->processor + binary->goidcache_offset)))
		return 0;
	if (stock[0] != stock[1])
		return stock[0];
	if (!site->goidgen ||
	    bpf_probe_read_user(&last, sizeof(last), (void *)(pc + site->goidgen)))
		return 0;
	child->refills = 1;
	return last + 1;
}

/* Whether the number that was told for a child has been given to a goroutine since. */
static __always_inline bool given(struct binary *binary, struct child *child, __u64 number)
{
	__u64 next;

	if (bpf_probe_read_user(&next, sizeof(next),
				(void *)(child->processor + binary->goidcache_offset)))
		return false;
	/* a new stock is this processor's if it begins with the number */
	return child->refills ? next - number - 1 < GOID_BATCH : next != number;
}

/*
 * Where the last child of a goroutine has not got the number that was told for it,
 * and nobody has, a later child could: what was told is forgotten before that is
 * made. Before Go 1.21 any goroutine's child by the same statement could, and which
 * of two that run it at once is wrong cannot be said. True: neither is believed.
 */
static __always_inline bool doubt_last(struct hit *hit, struct binary *binary, struct child *child,
				       __u64 number)
{
	struct child_key key = {.tgid = hit->tgid};
	struct child *other;
	__u64 *last, before;

	key.number = binary->parent_goid_offset ? hit->goid : child->gopc;
	last = bpf_map_lookup_elem(&last_children, &key);
	if (!last) {
		bpf_map_update_elem(&last_children, &key, &number, BPF_ANY);
		return false;
	}
	before = __sync_lock_test_and_set(last, number);
	if (before == number)
		return false;
	key.number = before;
	other = bpf_map_lookup_elem(&children, &key);
	if (!other || other->process != hit->process || given(binary, other, before))
		return false;
	bpf_map_delete_elem(&children, &key);
	return !binary->parent_goid_offset;
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

/* runtime.g.stackguard0, and its value where the goroutine is about to be preempted. */
#define STACKGUARD0_OFFSET 16
#define STACK_PREEMPT ((__u64) - 1314)

static __always_inline bool is_preempted(struct hit *hit)
{
	__u64 guard;

	return bpf_probe_read_user(&guard, sizeof(guard), (void *)(hit->g + STACKGUARD0_OFFSET)) ||
	       guard == STACK_PREEMPT;
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
	key.number = next_goid(hit, binary, site, pc, &child);
	if (!key.number) {
		count(&counted.children_lost);
		return;
	}
	if (doubt_last(hit, binary, &child, key.number))
		child.ambiguous = 1;
	if (!binary->parent_goid_offset) {
		/* one of the two is wrong, and nothing tells which */
		other = bpf_map_lookup_elem(&children, &key);
		if ((other && other->parent != child.parent) || is_preempted(hit))
			child.ambiguous = 1;
	}
	if (bpf_map_update_elem(&children, &key, &child, BPF_ANY))
		count(&counted.children_lost);
}
