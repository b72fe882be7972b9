//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What uspan is measured against: programs that do nothing, and the way in
 * which function latencies are usually measured: a probe on the first
 * instruction and on every return, start times kept by thread, or by process.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Start times are kept by process, as the recipe is often written down. */
const volatile bool by_process = false;

/* Thread or process id -> when its call began, in ns. Full: the call is not counted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 10240);
} starts SEC(".maps");

#define SLOTS 64

/* Calls by the logarithm to base 2 of their nanoseconds. */
__u64 histogram[SLOTS] = {};

/* Returns of calls without a start. */
__u64 unpaired = 0;

static __always_inline __u32 log2_of(__u64 n)
{
	__u32 log = 0;

#pragma unroll
	for (__u32 bits = 32; bits; bits /= 2) {
		bool high = n >> bits;

		if (high) {
			n >>= bits;
			log += bits;
		}
	}
	return log;
}

static __always_inline __u32 key_of_call(void)
{
	__u64 ids = bpf_get_current_pid_tgid();

	return by_process ? ids >> 32 : ids;
}

SEC("uprobe.multi")
int nothing(void *ctx)
{
	return 0;
}

/* Where in the runtime's structs the numbers of the next goroutines are, in bytes. */
__u32 thread_offset = 0, processor_offset = 0, stock_offset = 0;

/* Goroutines of which that could not be read. */
__u64 unread = 0;

/*
 * At a `go` statement, what has to be read at least to tell which goroutine it begins,
 * and on which: the runtime's g, whose address is in R14, then g.m.p and its stock.
 */
SEC("uprobe.multi")
int reads(struct pt_regs *r)
{
	__u64 g[21], processor, stock[2] = {};

	if (bpf_probe_read_user(g, sizeof(g), (void *)r->r14) ||
	    bpf_probe_read_user(&processor, sizeof(processor),
				(void *)(g[thread_offset / 8 % 16] + processor_offset)) ||
	    bpf_probe_read_user(stock, sizeof(stock), (void *)(processor + stock_offset)) ||
	    stock[1] - stock[0] > 16)
		__sync_fetch_and_add(&unread, 1);
	return 0;
}

SEC("uprobe.multi")
int begin(void *ctx)
{
	__u32 key = key_of_call();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&starts, &key, &now, BPF_ANY);
	return 0;
}

SEC("uprobe.multi")
int end(void *ctx)
{
	__u32 key = key_of_call();
	__u64 *start = bpf_map_lookup_elem(&starts, &key);

	if (!start) {
		__sync_fetch_and_add(&unpaired, 1);
		return 0;
	}
	__sync_fetch_and_add(&histogram[log2_of(bpf_ktime_get_ns() - *start) % SLOTS], 1);
	bpf_map_delete_elem(&starts, &key);
	return 0;
}
