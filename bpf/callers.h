/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who called: the stack of a call at its entry, by the frame pointers that Go keeps
 * on amd64 and arm64. At an entry the frame pointer is the caller's still, and where
 * the call itself returns to is known, so that no caller is passed over.
 *
 * A stack is told by a number made of what is in it, and is kept once: it is walked
 * for the number, and walked again only where nobody has had that number yet. In
 * between it cannot change: it is that of the thread that runs the program.
 */
#pragma once

/* What a word of a stack says. Without any of these it is a return address. */
#define CALLER_EXACT (1ULL << 63)    /* where code was interrupted: two words follow */
#define CALLER_AT_FRAME (1ULL << 62) /* besides: its frame pointer was its stack pointer */
#define CALLER_CREATOR (1ULL << 61)  /* return address of the goroutine's `go` statement */
#define CALLER_ADDRESS ((1ULL << 56) - 1)

struct walk {
	struct binary *binary;
	struct stack *stack; /* where the words go, or NULL */
	__u64 g;
	__u64 bias;
	__u64 fp;	/* the frame pointer that comes next */
	__u64 slot;	/* of the call's own return address, until that has come */
	__u64 number;	/* of what came so far */
	__u64 next[4];	/* words that come next */
	__u32 left;	/* of these */
	__u32 words;	/* that came */
	__u32 injected; /* the next return address is where code was interrupted */
	__u32 cut;
};

static __always_inline void add_word(struct walk *walk, __u64 word)
{
	__u32 at = walk->words++;

	walk->number = (walk->number ^ word) * 0x9e3779b97f4a7c15ULL;
	walk->number ^= walk->number >> 29;
	if (walk->stack && at < STACK_WORDS)
		walk->stack->words[at] = word;
}

static __always_inline __u64 link_address(struct walk *walk, __u64 address)
{
	return (address - walk->bias) & CALLER_ADDRESS;
}

/*
 * What comes next is code that was interrupted at `pc`, with what is on top of its
 * stack: user space knows whether the return address is there, as it is where
 * there is no frame.
 */
static __always_inline void go_on_at(struct walk *walk, __u64 *next, __u64 pc, __u64 sp, __u64 fp)
{
	__u64 top[2] = {};

	bpf_probe_read_user(top, sizeof(top), (void *)sp);
	next[0] = link_address(walk, pc) | CALLER_EXACT;
	next[0] |= (__u64)(sp == fp) << STACK_AT_FRAME_BIT;
	next[1] = link_address(walk, top[0]);
	next[2] = link_address(walk, top[1]);
	walk->fp = fp;
	walk->left += 3;
}

/* Which of the places of the runtime where a stack goes on otherwise has an address. */
static __always_inline struct turn *turn_at(struct binary *binary, __u64 address)
{
	if (address - binary->turns_start >= binary->turns_size)
		return NULL;
	for (int n = 0; n < TURNS; n++)
		if (address - binary->turns[n].start < binary->turns[n].size)
			return &binary->turns[n];
	return NULL;
}

/* What comes next is the return address that lies at `slot`. */
static __always_inline void go_on_behind(struct walk *walk, __u64 address, __u64 slot)
{
	__u64 at, frame[2];
	struct turn *turn;

	walk->next[0] = link_address(walk, address);
	walk->left = 1;
	turn = turn_at(walk->binary, address - walk->bias);
	if (!turn)
		return;
	switch (turn->kind) {
	case TURN_INJECTED:
		walk->injected = 1;
		return;
#ifdef SIGNAL_FRAME_PC
	case TURN_SIGNAL:
		/* the kernel's frame lies where the stack pointer was when it called */
		at = slot + 8 + turn->delta;
		if (bpf_probe_read_user(&frame[0], 8, (void *)(at + SIGNAL_FRAME_BP)) ||
		    bpf_probe_read_user(frame + 1, 8, (void *)(at + SIGNAL_FRAME_SP)) ||
		    bpf_probe_read_user(&at, 8, (void *)(at + SIGNAL_FRAME_PC)))
			break;
		go_on_at(walk, walk->next + 1, at, frame[1], frame[0]);
		return;
#endif
	case TURN_SWITCH:
		/* the goroutine's own stack, as its g.sched has it */
		if (bpf_probe_read_user(&at, 8, (void *)(walk->g + walk->binary->machine_offset)) ||
		    bpf_probe_read_user(&at, 8, (void *)(at + walk->binary->curg_offset)) || !at ||
		    bpf_probe_read_user(frame, 16, (void *)(at + SCHED_OFFSET)) ||
		    bpf_probe_read_user(&at, 8,
					(void *)(at + SCHED_OFFSET + walk->binary->sched_bp)))
			break;
		go_on_at(walk, walk->next + 1, frame[1], frame[0], at);
		return;
	}
	walk->cut = 1;
	walk->fp = 0;
}

static long climb(__u32 n, void *context)
{
	struct walk *walk = context;
	__u64 at = walk->fp;
	__u64 frame[2]; /* the frame pointer of the caller, and where the function returns to */

	if (walk->left) {
		add_word(walk, walk->next[0]);
		walk->next[0] = walk->next[1];
		walk->next[1] = walk->next[2];
		walk->next[2] = walk->next[3];
		walk->left--;
		return 0;
	}
	if (walk->slot) {
		at = walk->slot;
		walk->slot = 0;
		go_on_behind(walk, walk->next[0], at);
		return 0;
	}
	if (!at)
		return 1;
	if (walk->words >= STACK_WORDS - STACK_SPARE ||
	    bpf_probe_read_user(frame, sizeof(frame), (void *)at)) {
		walk->cut = 1;
		return 1;
	}
	walk->fp = frame[0];
	if (walk->injected) {
		walk->injected = 0;
		go_on_at(walk, walk->next, frame[1], at + 16, frame[0]);
	} else {
		go_on_behind(walk, frame[1], at + 8);
	}
	return 0;
}

/* Walks the stack of a call that begins, and returns to `address`. */
static __always_inline void walk_stack(struct walk *walk, struct hit *hit, __u64 address)
{
	__u64 gopc;

	walk->number = hit->cookie & 0xfffffffffULL; /* this function, of this executable */
	walk->left = unknown_zero;
	walk->words = unknown_zero;
	walk->injected = unknown_zero;
	walk->cut = unknown_zero;
	walk->fp = hit->fp;
	walk->next[0] = address;
	walk->slot = hit->return_address;
	bpf_loop(2 * STACK_WORDS, climb, walk, 0);
	if (hit->goid && walk->binary->gopc_offset &&
	    !bpf_probe_read_user(&gopc, sizeof(gopc),
				 (void *)(hit->g + walk->binary->gopc_offset)) &&
	    gopc)
		add_word(walk, link_address(walk, gopc) | CALLER_CREATOR);
}

/* Fills in the number of the stack of a call that begins, and keeps it; 0: there is no
 * room for it. */
GLOBAL int keep_stack(struct hit *hit)
{
	struct walk walk = {};
	struct stack *stack;
	__u64 address;
	__u32 index;

	if (!hit)
		return 0;
	address = hit->returns_to;
	if (!FIRST_CALLER_IN_REGISTER &&
	    bpf_probe_read_user(&address, sizeof(address), (void *)hit->return_address)) {
		count(&counted.stacks_full);
		return 0;
	}
	index = COOKIE_BINARY(hit->cookie);
	walk.binary = bpf_map_lookup_elem(&binaries, &index);
	if (!walk.binary)
		return 0;
	walk.g = hit->g;
	walk.bias = load_bias(walk.binary);
	walk_stack(&walk, hit, address);
	stack = bpf_map_lookup_elem(&stacks, &walk.number);
	if (!stack) {
		index = 0;
		stack = bpf_map_lookup_elem(&empty_stack, &index);
		if (!stack)
			return 0;
		bpf_map_update_elem(&stacks, &walk.number, stack, BPF_NOEXIST);
		stack = bpf_map_lookup_elem(&stacks, &walk.number);
		if (!stack) {
			count(&counted.stacks_full);
			return 0;
		}
	}
	hit->stack = walk.number;
	if (!stack->whole) {
		/* two threads at once write the same */
		walk.stack = stack;
		walk_stack(&walk, hit, address);
		stack->function = COOKIE_FUNCTION(hit->cookie);
		stack->cut = walk.cut;
		stack->length = walk.words;
		stack->whole = 1;
	}
	return 0;
}
