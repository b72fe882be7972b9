package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// A result is what was measured of a variant.
type result struct {
	variant string
	missing error     // why nothing was measured, or nil
	costs   []float64 // ns a call, one a round
	calls   uint64
	tally   tally
}

// check says whether calls were neither seen nor counted as lost.
func (r *result) check() error {
	if r.tally.exact && r.tally.seen+r.tally.lost != r.calls {
		return fmt.Errorf("%s: %d calls, %d seen, %d lost", r.variant, r.calls, r.tally.seen, r.tally.lost)
	}
	return nil
}

// A subject is a variant with its target.
type subject struct {
	result
	target *target
	tracer tracer
}

// measure measures the variants. The results are in their order.
func measure(ctx context.Context, variants []variant, s settings) (results []*result, err error) {
	dir, err := os.MkdirTemp("", "uspan-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	executable, err := buildTarget(dir)
	if err != nil {
		return nil, err
	}
	var subjects []*subject
	defer func() {
		for _, subject := range subjects {
			err = errors.Join(err, subject.close())
		}
	}()
	for i, v := range variants {
		subject, attachErr := v.start(executable, filepath.Join(dir, fmt.Sprintf("target%d", i)))
		switch {
		case attachErr == nil:
			subjects = append(subjects, subject)
		case !errors.Is(attachErr, errMissing):
			return nil, fmt.Errorf("%s: %w", v.name, attachErr)
		}
		results = append(results, &subject.result)
	}
	return results, takeTurns(ctx, subjects, s)
}

// start starts a target for the variant and traces it. With an error the target
// is gone again, and the result says so.
func (v variant) start(executable, path string) (*subject, error) {
	s := &subject{result: result{variant: v.name}}
	var err error
	if s.target, err = startTarget(executable, path, v.function); err != nil {
		return s, err
	}
	if s.tracer, err = v.attach(s.target); err != nil {
		s.missing = err
		return s, errors.Join(err, s.target.close())
	}
	return s, nil
}

// takeTurns makes every subject do its rounds, in another order each time, so
// that none has always the same one before it. The first time does not count.
func takeTurns(ctx context.Context, subjects []*subject, s settings) error {
	order := rand.New(rand.NewPCG(0, 0))
	for n := range s.rounds + 1 {
		for _, i := range order.Perm(len(subjects)) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			cost, err := subjects[i].round(s.round)
			if err != nil {
				return err
			}
			if n > 0 {
				subjects[i].costs = append(subjects[i].costs, cost)
			}
		}
	}
	return nil
}

// round makes one round and returns the nanoseconds a call.
func (s *subject) round(atLeast time.Duration) (float64, error) {
	calls, took, err := s.target.round(atLeast)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.variant, err)
	}
	s.calls += calls
	s.tracer.Settle(s.calls)
	return float64(took.Nanoseconds()) / float64(calls), nil
}

// close detaches and completes the result.
func (s *subject) close() error {
	tally, err := s.tracer.Close()
	s.tally = tally
	if err := errors.Join(err, s.target.close()); err != nil {
		return fmt.Errorf("%s: %w", s.variant, err)
	}
	return nil
}
