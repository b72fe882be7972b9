/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of processes. They end: the kernel may give a process id to another
 * at once, long before uspan has noticed. They execute something: nothing is left of
 * what they did before, and their id stays. They start others: see `relatives`.
 */
#pragma once

/*
 * How many processes that uspan can see have executed something, and have ended: when
 * it is worth looking again at who runs what.
 */
__u64 executions = 0;
__u64 exits = 0;

struct bpf_map;

/* A process whose calls end. */
struct ending {
	__u64 now;
	__u32 tgid;
	__u32 pad;
};

static long give_up_late(struct bpf_map *map, struct goroutine_key *key, struct late *late,
			 struct ending *ending)
{
	struct goroutine_key at = *key;

	if (at.tgid == ending->tgid) {
		give_up(late, at.g, at.tgid);
		forget_late(at.g, at.tgid);
	}
	return 0;
}

SEC("raw_tp/sched_process_exit")
int see_exit(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct ending ending = {};
	struct hit hit = {};

	if (!task->signal->live.counter && identify(&hit)) {
		count(&exits);
		ending.tgid = hit.tgid;
		if (waiting)
			bpf_for_each_map_elem(&lates, give_up_late, &ending, 0);
		bpf_map_delete_elem(&processes, &hit.tgid);
		bpf_map_delete_elem(&relatives, &hit.tgid);
	}
	return 0;
}

static __always_inline void end_at_exec(struct frame *frame, struct frame_key *key,
					struct ending *ending)
{
	frame->event.end = ending->now;
	frame->event.kind = EVENT_CALL;
	frame->event.reason = END_EXEC;
	tell_link(frame);
	/* with `histograms`, too: it is no call that has come to its end */
	send(&frame->event, histograms ? NULL : bpf_map_lookup_elem(&values, key));
}

static long end_one(struct bpf_map *map, struct frame_key *key, struct frame *frame,
		    struct ending *ending)
{
	struct frame_key at = *key;

	if (at.tgid == ending->tgid)
		end_at_exec(frame, &at, ending);
	return 0;
}

static long end_outer(struct bpf_map *map, struct goroutine_key *key, struct goroutine *goroutine,
		      struct ending *ending)
{
	struct frame_key at = {.g = key->g, .tgid = key->tgid};

	if (at.tgid != ending->tgid)
		return 0;
#pragma unroll
	for (__u32 level = 0; level < OUTER_FRAMES; level++) {
		if (level >= goroutine->level)
			break;
		at.level = level;
		end_at_exec(&goroutine->outer[level], &at, ending);
	}
	return 0;
}

/* What the keys of all maps are that have entries of a process. */
struct key_of_process {
	__u64 what;
	__u32 tgid;
	__u32 rest;
};

static long drop_one(struct bpf_map *map, struct key_of_process *key, void *value,
		     struct ending *ending)
{
	struct key_of_process at = *key;

	if (at.tgid == ending->tgid)
		bpf_map_delete_elem(map, &at);
	return 0;
}

/* Tells uspan that a process executes something. */
static __always_inline void tell_exec(__u32 tgid)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(&counted.processes_untold);
		return;
	}
	*event = (struct event){.kind = EVENT_EXEC, .tgid = tgid, .start = bpf_ktime_get_ns()};
	bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
}

/*
 * A target executes something, be it the same executable. No other thread of it is
 * left, and the one that is has not begun with the new program.
 */
SEC("raw_tp/sched_process_exec")
int see_exec(void *ctx)
{
	struct ending ending = {.now = bpf_ktime_get_ns()};
	struct hit hit = {};
	__u32 one = 1;

	if (!identify(&hit))
		return 0;
	count(&executions);
	if (!bpf_map_lookup_elem(&processes, &hit.tgid))
		return 0;
	ending.tgid = hit.tgid;
	bpf_for_each_map_elem(&goroutines, end_outer, &ending, 0);
	bpf_for_each_map_elem(&frames, end_one, &ending, 0);
	bpf_for_each_map_elem(&frames, drop_one, &ending, 0);
	bpf_for_each_map_elem(&values, drop_one, &ending, 0);
	bpf_for_each_map_elem(&goroutines, drop_one, &ending, 0);
	bpf_for_each_map_elem(&panics, drop_one, &ending, 0);
	bpf_for_each_map_elem(&statements, drop_one, &ending, 0);
	if (waiting)
		bpf_for_each_map_elem(&lates, give_up_late, &ending, 0);
	bpf_map_delete_elem(&processes, &hit.tgid);
	if (follow && bpf_map_update_elem(&relatives, &hit.tgid, &one, BPF_ANY))
		count(&counted.relatives_full);
	tell_exec(hit.tgid);
	return 0;
}

/* A target, or a relative of one, starts a process or a thread. */
SEC("tp_btf/sched_process_fork")
int see_fork(__u64 *ctx)
{
	struct task_struct *child = (void *)ctx[1];
	struct hit hit = {};
	__u32 one = 1, id;

	if (child->pid != child->tgid || !identify(&hit))
		return 0;
	if (!bpf_map_lookup_elem(&processes, &hit.tgid) &&
	    !bpf_map_lookup_elem(&relatives, &hit.tgid))
		return 0;
	id = process_of(child);
	if (id && bpf_map_update_elem(&relatives, &id, &one, BPF_ANY))
		count(&counted.relatives_full);
	return 0;
}
