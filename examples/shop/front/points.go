package main

import (
	"fmt"
	"sync"
)

// points are what customers collect: one for each whole hundred cents.
type points struct {
	mu sync.Mutex
	of map[string]int64
}

func newPoints() *points {
	return &points{of: map[string]int64{"ada": 0, "grace": 0}}
}

// credit gives a customer the points of an order.
func (p *points) credit(customer string, cents int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.of[customer]; !ok {
		return fmt.Errorf("no points account of customer %q", customer)
	}
	p.of[customer] += cents / 100
	return nil
}
