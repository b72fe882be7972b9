package main

import (
	"fmt"
	"log/slog"
	"time"
)

// A receipt is what a customer gets by mail.
type receipt struct {
	order, customer string
	cents           int64
}

// sendReceipts is a worker: it sends receipts until there are no more.
func sendReceipts(receipts <-chan receipt) {
	for r := range receipts {
		if err := sendReceipt(r); err != nil {
			slog.Warn("receipt", "order", r.order, "error", err)
		}
	}
}

// sendReceipt stands for a mail server, which takes its time and does not know
// everybody.
func sendReceipt(r receipt) error {
	time.Sleep(15 * time.Millisecond)
	if r.customer == "nobody" {
		return fmt.Errorf("mail to %s: no such mailbox", r.customer)
	}
	return nil
}
