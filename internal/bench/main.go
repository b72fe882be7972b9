// Command bench measures what a traced call costs the traced program: nanoseconds
// a call of one short function, untraced, under uspan, and under what uspan is
// compared with. Every variant has a copy of the target executable of its own,
// an inode of its own for its probes, so that all of them stay attached, and
// the rounds in which the targets time their calls can take turns: what
// disturbs the machine disturbs every variant.
//
// It needs root, a kernel with uprobe_multi (Linux 6.6), and the go command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// settings say how much is measured.
type settings struct {
	rounds int           // of each variant
	round  time.Duration // at least
}

func main() {
	s := settings{rounds: 25, round: 200 * time.Millisecond}
	flag.IntVar(&s.rounds, "rounds", s.rounds, "rounds of each variant")
	flag.DurationVar(&s.round, "round", s.round, "how long a round is, at least")
	short := flag.Bool("short", false, "a few short rounds: does it work?")
	page := flag.String("recipe", "", "write into a `PAGE` what uspan hist and the usual recipe make of one program, and nothing else")
	flag.Parse()
	if *short {
		s = settings{rounds: 3, round: 20 * time.Millisecond}
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	work := func() error { return bench(ctx, s) }
	if *page != "" {
		work = func() error { return writeComparison(*page) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func bench(ctx context.Context, s settings) error {
	results, err := measure(ctx, slices.Concat(variants, creations, kindVariants()), s)
	if err != nil {
		return err
	}
	printMachine(os.Stdout, s)
	table, others := results[:len(variants)], results[len(variants):]
	printTable(os.Stdout, table, "call", ofCalls)
	printGoals(os.Stdout, table)
	printCreations(os.Stdout, others[:len(creations)])
	printKinds(os.Stdout, others[len(creations):])
	var errs []error
	for _, r := range results {
		errs = append(errs, r.check())
	}
	return errors.Join(errs...)
}
