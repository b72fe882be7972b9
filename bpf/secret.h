/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whether a key of a map looks like the name of a secret: its words, as plan's
 * secretName parts them, go through an automaton that user space has made.
 */
#pragma once

/*
 * Where a position lies, if there are `room` bytes from it on; else NULL. The
 * number that is checked has to be the one that is used: older verifiers do not
 * see that a copy of it is the same.
 */
static __always_inline void *place(struct values *values, __u32 position, __u32 room)
{
	__u64 at = position;

	barrier_var(at);
	if (at > values_bytes - room)
		return NULL;
	barrier_var(at); /* nor may the address be computed before */
	return values->bytes + at;
}

struct naming {
	struct values *values;
	__u32 position; /* of the key in values->bytes */
	__u32 length;
	__u32 state;
	__u16 found;
	__u16 between; /* the last class was a boundary: several are like one */
};

static __always_inline bool is_upper(__u8 c)
{
	return c >= 'A' && c <= 'Z';
}

static __always_inline bool is_lower(__u8 c)
{
	return c >= 'a' && c <= 'z';
}

/* The character at an index of the key; 0 beyond its ends. */
static __always_inline __u8 character(struct naming *naming, __u32 n)
{
	__u8 *at = place(naming->values, naming->position + n, 1);

	return n < naming->length && at ? *at : 0;
}

static __always_inline void advance(struct naming *naming, __u32 class)
{
	struct secret_state *state;

	if (class == CLASS_BOUNDARY && naming->between)
		return;
	naming->between = class == CLASS_BOUNDARY;
	state = bpf_map_lookup_elem(&secrets, &naming->state);
	if (!state)
		return;
	asm volatile("%0 &= 31" : "+r"(class)); /* what the compiler knows, the verifier does not */
	naming->state = state->next[class];
	state = bpf_map_lookup_elem(&secrets, &naming->state);
	if (state && state->found)
		naming->found = 1;
}

/*
 * A word begins at an upper case letter behind a lower case one, and at the last
 * of several where a lower case one follows, unless that is a plural's `s`.
 */
static __always_inline bool begins_word(struct naming *naming, __u32 n)
{
	__u8 before = character(naming, n - 1), after = character(naming, n + 1);

	if (is_lower(before))
		return true;
	if (!is_upper(before) || !is_lower(after))
		return false;
	return after != 's' || is_lower(character(naming, n + 2));
}

static long next_character(__u32 n, void *context)
{
	struct naming *naming = context;
	__u8 c = character(naming, n);

	if (is_upper(c)) {
		if (n && begins_word(naming, n))
			advance(naming, CLASS_BOUNDARY);
		advance(naming, c - 'A');
	} else if (is_lower(c)) {
		advance(naming, c - 'a');
	} else {
		advance(naming, c < 0x80 ? CLASS_BOUNDARY : CLASS_OTHER);
	}
	return naming->found ? 1 : 0;
}

/* Whether the key of `length` bytes at a position looks like a secret. */
static __always_inline bool looks_secret(struct values *values, __u32 position, __u32 length)
{
	struct naming naming = {.values = values, .position = position, .length = length};

	advance(&naming, CLASS_BOUNDARY);
	naming.between |= unknown_zero;
	naming.found |= unknown_zero;
	bpf_loop(length, next_character, &naming, 0);
	advance(&naming, CLASS_BOUNDARY);
	return naming.found;
}
