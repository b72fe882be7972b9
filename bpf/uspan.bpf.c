//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One program for every entry and one for every exit: what differs between
 * functions is in the cookie of the site and in the tables that it points
 * into. Calls are paired here, by goroutine and depth; see frame.h.
 */
#include "event.h"
#include "kernel.h"
#include "maps.h"
#include "config.h"
#include "goroutine.h"
#include "secret.h"
#include "values.h"
#include "frame.h"
#include "process.h"
#include "terminal.h"

/* The dual license of this file, as the kernel has to be told of it. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Types that only the Go side names: what nothing refers to is not in the BTF. */
const struct event *type_event __attribute__((unused));
const struct chunk *type_chunk __attribute__((unused));
const struct root *type_root __attribute__((unused));
const struct secret_state *type_secret_state __attribute__((unused));
const enum event_kind *type_event_kind __attribute__((unused));
const enum event_flags *type_event_flags __attribute__((unused));
const enum end_reason *type_end_reason __attribute__((unused));
const enum step_op *type_step_op __attribute__((unused));
const enum step_flags *type_step_flags __attribute__((unused));
const enum step_guard *type_step_guard __attribute__((unused));
const enum step_length *type_step_length __attribute__((unused));
const enum chunk_status *type_chunk_status __attribute__((unused));
const enum class *type_class __attribute__((unused));
const enum cookie_flags *type_cookie_flags __attribute__((unused));
const enum values_layout *type_values_layout __attribute__((unused));
const enum condition *type_condition __attribute__((unused));

SEC("uprobe.multi")
int enter(struct registers *r)
{
	__u64 cookie = bpf_get_attach_cookie(r);
	struct hit hit = {};

	if (!condition_holds(r, COOKIE_CONDITION(cookie)) || !look(&hit, r, cookie, false))
		return 0;
	if (cookie & COOKIE_RESTART) {
		keep_args(&hit, r);
		return 0;
	}
	push_frame(&hit, r);
	if (cookie & COOKIE_BOTH) {
		hit.now = bpf_ktime_get_ns();
		pop_frame(&hit, r);
	}
	return 0;
}

SEC("uprobe.multi")
int leave(struct registers *r)
{
	struct hit hit = {.now = bpf_ktime_get_ns()};

	if (look(&hit, r, bpf_get_attach_cookie(r), true))
		pop_frame(&hit, r);
	return 0;
}
