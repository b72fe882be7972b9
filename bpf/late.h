/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hits whose goroutine cannot be read: the kernel moves its page, and cannot go on
 * while this program looks, as it was interrupted on this very processor. They are
 * kept, in order, and told before the next hit of the goroutine that can be read: a
 * program of its own does that, which the others jump to and which jumps back.
 *
 * Until then their calls are counted as lost. They stay so where the goroutine is not
 * seen again, where there are too many such hits, or where its stack was moved
 * meanwhile: how deep they were is not known then.
 */
#pragma once

static const struct late no_late;

/* Keeps a hit of a goroutine that cannot be read. False: there is no room. */
static __always_inline bool put_off(struct hit *hit, struct registers *r, bool leaving)
{
	struct goroutine_key key = {.g = hit->g, .tgid = hit->tgid};
	struct frame_key args = {.g = hit->g, .tgid = hit->tgid};
	struct late *late = bpf_map_lookup_elem(&lates, &key);
	struct late_hit *kept;
	__u32 n;

	if (!late) {
		bpf_map_update_elem(&lates, &key, &no_late, BPF_NOEXIST);
		late = bpf_map_lookup_elem(&lates, &key);
		if (!late)
			return false;
	}
	if (late->process != hit->process) /* also where it is new */
		late->count = 0;
	late->process = hit->process;
	n = late->count++;
	if (n >= LATE_HITS) {
		late->count = LATE_HITS + 1;
		return false;
	}
	kept = &late->hits[n];
	kept->cookie = hit->cookie;
	kept->now = leaving ? hit->now : bpf_ktime_get_ns();
	kept->return_address = hit->return_address;
	kept->pc = REGISTER_PC(r);
	kept->stack = hit->stack;
	kept->tid = hit->tid;
	kept->leaving = leaving;
	kept->failed = leaving && histograms && returns_error(hit, r);
	if (!leaving && !histograms && hit->cookie & (COOKIE_ARGS | COOKIE_RESULTS)) {
		args.level = LEVEL_LATE + n;
		put_off_args(hit, &args, r);
	}
	return true;
}

static __always_inline void put_off_entry(struct hit *hit, struct registers *r)
{
	if (stacked)
		hit->stack = stack_of(hit, r);
	if (!put_off(hit, r, false) || !(hit->cookie & COOKIE_BOTH))
		return;
	hit->now = bpf_ktime_get_ns();
	put_off(hit, r, true);
}

struct telling {
	struct registers *r;
	struct late *late;
	__u64 g;
	__u32 tgid;
	__u32 pad;
};

static long tell_one(__u32 n, void *context)
{
	struct telling *telling = context;
	struct late *late = telling->late;
	struct hit hit = {.g = telling->g, .tgid = telling->tgid};
	struct late_hit *kept;

	if (n >= late->count || n >= LATE_HITS)
		return 1;
	kept = &late->hits[n];
	if (kept->return_address < late->lo || kept->return_address >= late->hi)
		return 0; /* the stack was moved */
	hit.cookie = kept->cookie & cookie_bits;
	hit.now = kept->now;
	hit.goid = late->goid;
	hit.hi = late->hi;
	hit.return_address = kept->return_address;
	hit.depth = late->hi - kept->return_address;
	hit.stack = kept->stack;
	hit.tid = kept->tid;
	hit.process = late->process;
	hit.late = n + 1;
	hit.failed = kept->failed;
	if (kept->leaving) {
		pop_frame(&hit, telling->r);
		return 0;
	}
	FIND(COOKIE_FUNCTION(hit.cookie), no_goroutine);
	push_frame(&hit, telling->r, kept->pc);
	return 0;
}

/* Tells the hits of a goroutine that wait. */
SEC("uprobe.multi")
int catch_up(struct registers *r)
{
	__u32 index = COOKIE_BINARY(bpf_get_attach_cookie(r)), next;
	struct binary *binary = bpf_map_lookup_elem(&binaries, &index);
	struct telling telling = {.r = r, .g = REGISTER_G(r)};
	struct goroutine_key key = {.g = telling.g};
	struct process *process;
	struct hit hit = {};

	stay_on_stack_of_thread(r);
	if (!identify(&hit))
		return 0;
	key.tgid = telling.tgid = hit.tgid;
	process = bpf_map_lookup_elem(&processes, &hit.tgid);
	telling.late = bpf_map_lookup_elem(&lates, &key);
	if (!telling.late)
		return 0;
	next = telling.late->next;
	/* where ends are not seen, the hits could be those of another goroutine */
	if (binary && binary->settled && process && process->number == telling.late->process &&
	    telling.late->count <= LATE_HITS)
		bpf_loop(LATE_HITS, tell_one, &telling, 0);
	bpf_map_delete_elem(&lates, &key);
	bpf_tail_call(r, &programs, next);
	return 0;
}
