/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hits whose goroutine cannot be read: the kernel moves its page, and cannot go on
 * while this program looks, as it was interrupted on this very processor. They are
 * put off, in order, and told before the next hit of the goroutine that can be read:
 * a program of its own does that, which the others jump to and which jumps back.
 *
 * Whose they are is known where the goroutine had open calls when the first was put
 * off: then its number has to be the same. Else calls that are still open are its
 * own, as it cannot have ended, and those that have ended are told without a number
 * and a parent: its g may belong to another goroutine by now.
 *
 * Given up, and counted as lost, are hits of a goroutine that is not seen again; of
 * an executable whose ends of calls are not all seen; too many at once; and those on
 * a stack that was moved meanwhile: how deep they were is not known then.
 */
#pragma once

static const struct late no_late;

/* The hits of a goroutine that wait; NULL: there are none. */
static __always_inline struct late *late_of(__u64 g, __u32 tgid)
{
	struct goroutine_key key = {.g = g, .tgid = tgid};

	return waiting ? bpf_map_lookup_elem(&lates, &key) : NULL;
}

static __always_inline void forget_late(__u64 g, __u32 tgid)
{
	struct goroutine_key key = {.g = g, .tgid = tgid};

	if (!bpf_map_delete_elem(&lates, &key))
		__sync_fetch_and_add(&waiting, -1);
}

struct telling {
	struct late *late;
	__u64 g;
	__u32 tgid;
	__u32 count;
};

static __always_inline void give_up_hit(struct telling *telling, struct late_hit *kept)
{
	struct frame_key args = late_key(telling->g, telling->tgid, kept->index);

	if (kept->leaving) {
		count(&counted.unpaired);
		return;
	}
	LOSE(COOKIE_FUNCTION(kept->cookie), no_goroutine);
	bpf_map_delete_elem(&values, &args);
}

static long give_up_one(__u32 n, void *context)
{
	struct telling *telling = context;

	if (n >= telling->count || n >= LATE_HITS)
		return 1;
	give_up_hit(telling, &telling->late->hits[n]);
	return 0;
}

/* Gives up the hits of a goroutine, and takes no more where there were too many. */
GLOBAL int give_up(struct late *late, __u64 g, __u32 tgid)
{
	struct telling telling = {.late = late, .g = g, .tgid = tgid};

	if (!late || late->count > LATE_HITS) /* done */
		return 0;
	telling.count = late->count;
	late->count = LATE_HITS + 1;
	bpf_loop(LATE_HITS, give_up_one, &telling, 0);
	return 0;
}

/* Notes whose the hits are that are put off. */
static __always_inline void own(struct late *late, struct goroutine_key *key)
{
	struct goroutine *goroutine = bpf_map_lookup_elem(&goroutines, key);

	if (goroutine && goroutine->level && goroutine->process == late->process)
		late->owner = goroutine->goid;
}

/* Where a call returns to that begins; 0: it cannot be read. */
static __always_inline __u64 returns_to(struct hit *hit)
{
	__u64 address = hit->returns_to;

	if (!FIRST_CALLER_IN_REGISTER &&
	    bpf_probe_read_user(&address, sizeof(address), (void *)hit->return_address))
		return 0;
	return address;
}

/* Puts off a hit whose goroutine cannot be read. False: it is given up. */
static __always_inline bool put_off(struct hit *hit, struct registers *r, bool leaving)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct late *late = late_of(hit->g, hit->tgid);
	struct late_hit *kept;
	__u32 n;

	if (late && late->process != hit->process) {
		give_up(late, hit->g, hit->tgid);
		forget_late(hit->g, hit->tgid);
		late = NULL;
	}
	if (!late) {
		if (bpf_map_update_elem(&lates, &key, &no_late, BPF_NOEXIST))
			return false;
		count(&waiting);
		late = bpf_map_lookup_elem(&lates, &key);
		if (!late)
			return false;
		late->process = hit->process;
		own(late, &key);
	}
	n = late->count;
	if (n >= LATE_HITS) {
		give_up(late, hit->g, hit->tgid);
		return false;
	}
	kept = &late->hits[n];
	kept->cookie = hit->cookie;
	kept->now = leaving ? hit->now : bpf_ktime_get_ns();
	kept->return_address = hit->return_address;
	kept->pc = hit->pc;
	kept->stack = hit->stack;
	kept->tid = hit->tid;
	kept->index = n;
	kept->leaving = leaving;
	if (leaving) {
		kept->failed = histograms && returns_error(hit, r);
		if (late->open)
			late->open--;
	} else {
		kept->returns_to = returns_to(hit);
		late->open++;
		if (!histograms && has(hit, COOKIE_ARGS | COOKIE_RESULTS))
			put_off_args(hit, n, r);
	}
	late->count = n + 1;
	if (!late->open)
		late->closed = n + 1;
	return true;
}

/* Puts off the begin of a call, or counts it as lost. */
static __always_inline void put_off_entry(struct hit *hit, struct registers *r)
{
	if (stacked)
		keep_stack(hit);
	if (!put_off(hit, r, false)) {
		LOSE(COOKIE_FUNCTION(hit->cookie), no_goroutine);
		drop_args(hit);
		return;
	}
	if (!has(hit, COOKIE_BOTH))
		return;
	hit->now = bpf_ktime_get_ns();
	put_off(hit, r, true);
}

/*
 * Has the hits told that wait, before one that can be read, and the program `next` go
 * on with that one afterwards. Returns where there are none, or they are given up.
 */
static __always_inline void tell_late(struct hit *hit, struct registers *r, struct binary *binary,
				      __u32 next)
{
	struct late *late = late_of(hit->g, hit->tgid);

	if (!late)
		return;
	if (!binary->settled || late->process != hit->process ||
	    (late->owner && late->owner != hit->goid)) {
		give_up(late, hit->g, hit->tgid);
		forget_late(hit->g, hit->tgid);
		return;
	}
	late->goid = hit->goid;
	late->lo = hit->lo;
	late->hi = hit->hi;
	late->next = next;
	bpf_tail_call(r, &programs, PROGRAM_CATCH_UP);
}

static long tell_one(__u32 n, void *context)
{
	struct telling *telling = context;
	struct late *late = telling->late;
	struct hit hit = {.g = telling->g, .tgid = telling->tgid};
	struct late_hit *kept;

	if (n >= telling->count || n >= LATE_HITS)
		return 1;
	kept = &late->hits[n];
	if (kept->return_address < late->lo || kept->return_address >= late->hi) {
		give_up_hit(telling, kept);
		return 0;
	}
	hit.cookie = kept->cookie;
	hit.now = kept->now;
	hit.goid = late->owner || n >= late->closed ? late->goid : 0;
	hit.hi = late->hi;
	hit.return_address = kept->return_address;
	hit.depth = late->hi - kept->return_address;
	hit.stack = kept->stack;
	hit.tid = kept->tid;
	hit.process = late->process;
	hit.pc = kept->pc;
	hit.returns_to = kept->returns_to;
	hit.late = true;
	hit.index = kept->index;
	hit.failed = kept->failed;
	if (kept->leaving)
		pop_frame(&hit, NULL, NULL);
	else
		push_frame(&hit, NULL);
	return 0;
}

/* The goroutine that tell_late was called for, if it is g. */
static __always_inline struct late *late_told(struct goroutine_key *key, __u64 g)
{
	struct late *late;

	key->g = g;
	late = bpf_map_lookup_elem(&lates, key);
	return late && late->next != PROGRAM_NONE ? late : NULL;
}

/* Finds it as the program did that called tell_late: in the register, as the argument
 * of a recovery, or in thread-local storage. */
static __always_inline struct late *find_told(struct goroutine_key *key, struct registers *r)
{
	__u32 index = COOKIE_BINARY(bpf_get_attach_cookie(r));
	struct task_struct *task = bpf_get_current_task_btf();
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct late *late = late_told(key, REGISTER_G(r));
	__u64 g;

	if (!late)
		late = late_told(key, ARGUMENT_0(r));
	if (!late && binary &&
	    !bpf_probe_read_user(&g, sizeof(g),
				 (void *)(THREAD_POINTER(task) + binary->tls_offset)))
		late = late_told(key, g);
	return late;
}

/* Tells the hits of a goroutine that wait: see tell_late. */
SEC("uprobe.multi")
int catch_up(struct registers *r)
{
	struct telling telling = {};
	struct goroutine_key key = {};
	struct hit hit = {};
	__u32 next;

	stay_on_stack_of_thread(r);
	if (!identify(&hit))
		return 0;
	key.tgid = telling.tgid = hit.tgid;
	telling.late = find_told(&key, r);
	if (!telling.late)
		return 0;
	telling.g = key.g;
	next = telling.late->next;
	telling.count = telling.late->count;
	telling.late->count = 0;
	if (telling.count <= LATE_HITS)
		bpf_loop(LATE_HITS, tell_one, &telling, 0);
	forget_late(telling.g, telling.tgid);
	bpf_tail_call(r, &programs, next);
	return 0;
}
