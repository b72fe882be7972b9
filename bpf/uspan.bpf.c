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
#include "stack.h"
#include "origin.h"
#include "goroutine.h"
#include "ring.h"
#include "secret.h"
#include "values.h"
#include "capture.h"
#include "hist.h"
#include "panic.h"
#include "child.h"
#include "root.h"
#include "callers.h"
#include "frame.h"
#include "late.h"
#include "process.h"
#include "terminal.h"

/* The dual license of this file, as the kernel has to be told of it. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Types that only the Go side names: what nothing refers to is not in the BTF. */
const struct event *type_event __attribute__((unused));
const struct origin *type_origin __attribute__((unused));
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
const enum cookie_role *type_cookie_role __attribute__((unused));
const struct panic_value *type_panic_value __attribute__((unused));
const enum panic_layout *type_panic_layout __attribute__((unused));
const enum condition *type_condition __attribute__((unused));
const enum stack_word *type_stack_word __attribute__((unused));
const enum turn_kind *type_turn_kind __attribute__((unused));
const enum bucket_layout *type_bucket_layout __attribute__((unused));
const enum root_place *type_root_place __attribute__((unused));
const enum late_layout *type_late_layout __attribute__((unused));

SEC("uprobe.multi")
int enter(struct registers *r)
{
	__u64 cookie = bpf_get_attach_cookie(r) & cookie_bits;
	struct hit hit = {
		.pc = REGISTER_PC(r),
		.fp = REGISTER_FP(r),
		.returns_to = FIRST_CALLER(r),
	};
	bool known;

	stay_on_stack_of_thread(r);
	if (!condition_holds(r, COOKIE_CONDITION(cookie)))
		return 0;
	known = look(&hit, r, cookie, NULL);
	if (cookie & COOKIE_RESTART) {
		if (known || hit.unknown == UNREADABLE_GOROUTINE)
			keep_args(&hit, r);
		return 0;
	}
	if (!known) {
		if (hit.unknown == UNKNOWN_PROCESS)
			LOSE(COOKIE_FUNCTION(cookie), processes_full);
		else if (hit.unknown == UNREADABLE_GOROUTINE)
			put_off_entry(&hit, r);
		else if (hit.unknown)
			LOSE(COOKIE_FUNCTION(cookie), no_goroutine);
		return 0;
	}
	if (stacked)
		keep_stack(&hit);
	push_frame(&hit, r);
	if (cookie & COOKIE_BOTH) {
		hit.now = bpf_ktime_get_ns();
		pop_frame(&hit, NULL, r);
	}
	return 0;
}

SEC("uprobe.multi")
int leave(struct registers *r)
{
	struct hit hit = {.now = bpf_ktime_get_ns()};
	struct goroutine *goroutine = NULL;

	stay_on_stack_of_thread(r);
	if (look(&hit, r, bpf_get_attach_cookie(r) & cookie_bits, &goroutine))
		pop_frame(&hit, goroutine, r);
	else if (hit.unknown == UNKNOWN_GOROUTINE ||
		 (hit.unknown == UNREADABLE_GOROUTINE && !put_off(&hit, r, true)))
		count(&counted.unpaired);
	return 0;
}

/*
 * The sites in the runtime that only a panic, or Goexit, comes to. The goroutine
 * is the one that runs, but at recovery, which runs on g0 and is told which.
 */
SEC("uprobe.multi")
int unwound(struct registers *r)
{
	__u64 cookie = bpf_get_attach_cookie(r);
	struct binary *binary;
	struct hit hit = {};

	stay_on_stack_of_thread(r);
	if (!condition_holds(r, COOKIE_CONDITION(cookie)))
		return 0;
	binary = look_process(&hit, cookie);
	if (!binary)
		return 0;
	hit.g = REGISTER_G(r);
	hit.return_address = REGISTER_SP(r);
	if (cookie & ROLE_RECOVERY) {
		hit.g = ARGUMENT_0(r);
		hit.return_address = recovered_sp(hit.g, binary);
	}
	if (!look_goroutine(&hit, binary)) {
		count(&counted.panics_full);
		return 0;
	}
	tell_late(&hit, r, binary, PROGRAM_UNWOUND);
	if (cookie & ROLE_PANIC)
		begin_panic(&hit, r, binary, END_PANIC);
	else if (cookie & ROLE_GOEXIT)
		begin_panic(&hit, r, binary, END_GOEXIT);
	else if (cookie & ROLE_RECOVERY)
		end_panic(&hit, hit.depth, END_PANIC);
	else
		end_panic(&hit, 0, cookie & ROLE_FATAL ? END_PANIC : END_GOEXIT);
	return 0;
}

/* The calls of runtime.newproc in functions that are traced, or belong to them. */
SEC("uprobe.multi")
int spawned(struct registers *r)
{
	__u64 cookie = bpf_get_attach_cookie(r);
	__u32 index = COOKIE_FUNCTION(cookie);
	struct go_site *site = bpf_map_lookup_elem(&go_sites, &index);
	struct binary *binary;
	struct hit hit = {.pc = REGISTER_PC(r)};

	stay_on_stack_of_thread(r);
	if (!site)
		return 0;
	binary = look_process(&hit, (cookie & ~0xffffffULL) | (site->function & 0xffffff));
	if (!binary)
		return 0;
	hit.g = REGISTER_G(r);
	hit.return_address = REGISTER_SP(r);
	if (!look_goroutine(&hit, binary)) {
		count(&counted.children_lost);
		return 0;
	}
	tell_late(&hit, r, binary, PROGRAM_SPAWNED);
	spawn(&hit, binary, site, r);
	return 0;
}

/* The entries of functions whose calls are counted by stack, in place of `enter`. */
SEC("uprobe.multi")
int tally(struct registers *r)
{
	__u64 cookie = bpf_get_attach_cookie(r) & cookie_bits;
	struct hit hit = {.fp = REGISTER_FP(r), .returns_to = FIRST_CALLER(r)};
	struct stack *stack;

	stay_on_stack_of_thread(r);
	if (!stacked || cookie & COOKIE_RESTART || !condition_holds(r, COOKIE_CONDITION(cookie)))
		return 0;
	if (!look_process(&hit, cookie)) {
		if (hit.unknown)
			LOSE(COOKIE_FUNCTION(cookie), processes_full);
		return 0;
	}
	hit.g = REGISTER_G(r);
	hit.return_address = REGISTER_SP(r) + COOKIE_SP_OFFSET(cookie);
	keep_stack(&hit);
	stack = bpf_map_lookup_elem(&stacks, &hit.stack);
	if (stack)
		count(&stack->calls);
	return 0;
}
