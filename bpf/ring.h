/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How events get into the ring. */
#pragma once

/* Wakes the reader when enough has come together, not for every event. */
static __always_inline __u64 wakeup(void)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	return waiting - wakeup_bytes < 4096 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* Counts a call that gives no event, under a cause that both structs have. */
#define LOSE(function_, cause)                                                \
	do {                                                                  \
		__u32 index_ = function_;                                     \
		struct losses *losses_ = bpf_map_lookup_elem(&lost, &index_); \
		count(&counted.cause);                                        \
		if (losses_)                                                  \
			count(&losses_->cause);                               \
	} while (0)

/* Counts an event for which there was no room. */
GLOBAL int not_sent(struct event *event)
{
	if (event && event->kind == EVENT_CALL)
		LOSE(event->function, ring_full);
	else
		count(&counted.begins_lost);
	return 0;
}

/* Sends an event without values. */
GLOBAL int send_bare(struct event *event)
{
	if (event && bpf_ringbuf_output(&events, event, sizeof(*event), wakeup()))
		not_sent(event);
	return 0;
}

/* Sends an event, with the values that `entry` holds for it, if any. */
static __always_inline void send(struct event *event, struct values *entry)
{
	__u32 used = event->args + event->results;

	if (!entry) {
		send_bare(event);
		return;
	}
	if (used > values_bytes)
		used = values_bytes;
	entry->event = *event;
	if (bpf_ringbuf_output(&events, &entry->event, sizeof(*event) + used, wakeup()))
		not_sent(event);
}
