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

/* The numbers that the processor of a goroutine has in stock. */
struct stock {
	__u64 processor;
	__u64 next;
	__u64 end;    /* the same as `next`: there is none left */
	__u64 number; /* of the next goroutine that is made; 0: it cannot be told */
};

/* Fills in the stock at a `go` statement. False: it cannot be read. */
static __always_inline bool read_stock(struct hit *hit, struct binary *binary, struct go_site *site,
				       struct stock *stock)
{
	__u64 last;

	if ((binary->thread_offset != G_THREAD_OFFSET &&
	     bpf_probe_read_user(&hit->thread, sizeof(hit->thread),
				 (void *)(hit->g + binary->thread_offset))) ||
	    bpf_probe_read_user(&stock->processor, sizeof(stock->processor),
				(void *)(hit->thread + binary->processor_offset)) ||
	    bpf_probe_read_user(&stock->next, 2 * sizeof(stock->next),
				(void *)(stock->processor + binary->goidcache_offset)))
		return false;
	stock->number = stock->next;
	if (stock->next != stock->end)
		return true;
	stock->number = 0;
	if (!site->goidgen)
		return true;
	if (bpf_probe_read_user(&last, sizeof(last), (void *)(hit->pc + site->goidgen)))
		return false;
	stock->number = last + 1;
	return true;
}

struct restock {
	struct look look;
	struct hit *hit;
	struct binary *binary;
	struct go_site *site;
	struct stock *stock;
};

static long restock_once(__u32 n, void *context)
{
	struct restock *restock = context;

	return looked(&restock->look,
		      read_stock(restock->hit, restock->binary, restock->site, restock->stock));
}

/* read_stock once more, where it was in vain. */
static __always_inline bool restock(struct hit *hit, struct binary *binary, struct go_site *site,
				    struct stock *stock)
{
	struct restock restock = {.hit = hit, .binary = binary, .site = site, .stock = stock};

	return look_again(restock_once, &restock.look);
}

/*
 * Where a goroutine is kept as a child. Numbers are given one after the other: so are
 * these places, and none is needed again before all the others were.
 */
static __always_inline struct pair *pair_of(struct hit *hit, __u64 number)
{
	__u32 index = (number + hit->process * 0x9e3779b1ULL) & children_mask;

	return bpf_map_lookup_elem(&children, &index);
}

/* Whether one of a pair is the goroutine of the process of a hit with a number. */
static __always_inline bool is_child(struct pair *pair, __u32 n, struct hit *hit, __u64 number)
{
	return pair->number[n] == number && pair->process[n] == hit->process &&
	       pair->child[n].tgid == hit->tgid;
}

/*
 * Begins to write one of a pair, as nobody else does then; who reads it meanwhile
 * sees from the version that it was written. False: somebody else writes it.
 */
static __always_inline bool begin_write(__u32 *version)
{
	__u32 was = *(volatile __u32 *)version;

	return !(was & 1) && __sync_val_compare_and_swap(version, was, was + 1) == was;
}

static __always_inline void end_write(__u32 *version)
{
#if defined(__TARGET_ARCH_x86)
	/* whose stores are seen in their order: a plain one waits for none of them */
	asm volatile("" ::: "memory");
	*(volatile __u32 *)version += 1;
#else
	__sync_lock_test_and_set(version, *version + 1);
#endif
}

/* A version, behind what was read before, and before what is read next. */
static __always_inline __u32 read_version(__u32 *version)
{
	return __sync_fetch_and_add(version, 0);
}

/* Whether the number that was told for a child has been given to a goroutine since. */
static __always_inline bool given(struct binary *binary, struct child *child, __u64 number,
				  struct stock *stock)
{
	__u64 next = stock->next;

	if (child->processor != stock->processor &&
	    bpf_probe_read_user(&next, sizeof(next),
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
 * Two goroutines that lead to one entry are taken for one: the child of the other
 * may be forgotten that is only just being made, but none stays that is wrong.
 */
static __always_inline bool doubt_last(struct hit *hit, struct binary *binary, struct stock *stock,
				       __u64 gopc, __u64 number)
{
	__u64 whose = binary->parent_goid_offset ? hit->goid : gopc;
	__u32 index = (whose + hit->process) * 0x9e3779b97f4a7c15ULL >> (64 - LAST_CHILDREN_BITS);
	__u64 *last = bpf_map_lookup_elem(&last_children, &index), before;
	struct pair *pair;

	if (!last)
		return false;
	before = __sync_lock_test_and_set(last, number);
	if (!before || before == number)
		return false;
	pair = pair_of(hit, before);
	if (!pair)
		return false;
	for (int n = 0; n < 2; n++) {
		if (!is_child(pair, n, hit, before))
			continue;
		if (given(binary, &pair->child[n], before, stock))
			return false;
		/* who writes it now takes its place */
		if (begin_write(&pair->version[n])) {
			if (pair->number[n] == before)
				pair->number[n] = 0;
			end_write(&pair->version[n]);
		}
		return !binary->parent_goid_offset;
	}
	return false;
}

/*
 * Fills in what the calls of a goroutine belong to by the `go` statement that
 * began it: nothing where that carries no probe, or was in no call. Returns the
 * event flags that say of an unknown parent.
 */
static __always_inline __u8 inherit(struct hit *hit, struct binary *binary, struct context *context)
{
	struct statement_key key = {.tgid = hit->tgid};
	struct pair *pair;
	__u64 parent = 0;

	if (!binary->thread_offset)
		return 0;
	if (!hit->goid)
		return hit->late ? EVENT_PARENT_UNKNOWN : 0;
	if (bpf_probe_read_user(&key.gopc, sizeof(key.gopc),
				(void *)(hit->g + binary->gopc_offset)))
		return 0;
	pair = pair_of(hit, hit->goid);
	if (binary->parent_goid_offset &&
	    bpf_probe_read_user(&parent, sizeof(parent),
				(void *)(hit->g + binary->parent_goid_offset)))
		pair = NULL;
	for (int n = 0; pair && n < 2; n++) {
		__u32 version = read_version(&pair->version[n]);
		struct child *child = &pair->child[n];
		bool ambiguous = child->ambiguous;

		if (!is_child(pair, n, hit, hit->goid) || child->gopc != key.gopc ||
		    (binary->parent_goid_offset && child->parent != parent))
			continue;
		*context = child->context;
		if (!(version & 1) && read_version(&pair->version[n]) == version && !ambiguous) {
			pair->recent = n;
			return 0;
		}
		*context = (struct context){};
		return EVENT_PARENT_UNKNOWN;
	}
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

/* Notes that a `go` statement has run. */
static __always_inline void note_statement(struct hit *hit, struct go_site *site, __u64 gopc)
{
	struct statement_key key = {.gopc = gopc, .tgid = hit->tgid};
	__u32 one = 1;

	if (site->noted == hit->process)
		return;
	if (!bpf_map_lookup_elem(&statements, &key))
		bpf_map_update_elem(&statements, &key, &one, BPF_ANY);
	site->noted = hit->process;
}

/* Notes which goroutine a `go` statement is about to begin, and what it belongs to. */
GLOBAL int note_child(struct hit *hit, struct binary *binary, struct go_site *site,
		      struct context *context, bool unknown)
{
	struct stock stock = {};
	__u64 gopc, number;
	struct child *child;
	struct pair *pair;
	__u32 n;

	if (!hit || !binary || !site || !context)
		return 0;
	gopc = hit->pc + site->length;
	note_statement(hit, site, gopc);
	if (!read_stock(hit, binary, site, &stock) && !restock(hit, binary, site, &stock))
		goto lost;
	number = stock.number;
	if (!number)
		goto lost;
	unknown |= doubt_last(hit, binary, &stock, gopc, number);
	pair = pair_of(hit, number);
	if (!pair)
		goto lost;
	n = is_child(pair, 0, hit, number) ? 0 : is_child(pair, 1, hit, number) ? 1 : !pair->recent;
	if (!begin_write(&pair->version[n & 1])) {
		/* the kernel has taken the processor away from who writes it */
		n = !n;
		if (!begin_write(&pair->version[n & 1]))
			goto lost;
	}
	pair->recent = n;
	child = n ? &pair->child[1] : &pair->child[0];
	/* one of the two is wrong, and nothing tells which before Go 1.21 */
	if (!binary->parent_goid_offset &&
	    (is_preempted(hit) ||
	     (is_child(pair, n & 1, hit, number) && child->parent != hit->goid)))
		unknown = true;
	pair->number[n & 1] = number;
	pair->process[n & 1] = hit->process;
	child->parent = hit->goid;
	child->gopc = gopc;
	child->processor = stock.processor;
	child->context = *context;
	child->tgid = hit->tgid;
	child->refills = stock.next == stock.end;
	child->ambiguous = unknown;
	end_write(&pair->version[n & 1]);
	return 0;
lost:
	count(&counted.children_lost);
	return 0;
}
