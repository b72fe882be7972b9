package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/uspan/uspan/instrument/plan"
)

// A kind is a kind of value, with a function of the target that has one as its
// only parameter, and no result.
type kind struct {
	name, function string
	depth          int // of structs to show
}

var deep = kind{"three structs deep", "main.ofDeep", 3}

// kinds are in the order of the table.
var kinds = []kind{
	{"int", "main.ofInt", 1},
	{"string, 23 bytes", "main.ofString", 1},
	{"[]byte, 100 bytes", "main.ofBytes", 1},
	{"[]int, 16 elements", "main.ofInts", 1},
	{"[]string, 8 elements", "main.ofStrings", 1},
	{"struct of 3 fields", "main.ofStruct", 1},
	{"pointer to that struct", "main.ofPointer", 1},
	{"map[string]int, 8 entries", "main.ofMap", 1},
	{"interface with an int", "main.ofInterface", 1},
	{"error", "main.ofError", 1},
	{"time.Time", "main.ofTime", 1},
	deep,
}

// kindVariants are two for each kind: with and without its capture.
func kindVariants() []variant {
	variants := make([]variant, 0, 2*len(kinds))
	for _, k := range kinds {
		variants = append(variants,
			variant{k.name, k.function, withRules(plan.Rules{Values: true, Depth: k.depth})},
			variant{k.name + ", none", k.function, withRules(plan.Rules{})})
	}
	return variants
}

// printKinds prints what the capture of each kind of value costs, from the
// results of kindVariants.
func printKinds(w io.Writer, results []*result) {
	fmt.Fprintf(w, "\nns/call of one argument over --capture none:\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := 0
	for _, k := range kinds {
		width = max(width, len(k.name))
	}
	for n := 0; n+1 < len(results); n += 2 {
		with, without := results[n], results[n+1]
		if with.missing != nil || without.missing != nil {
			continue
		}
		over := differences(with.costs, without.costs)
		fmt.Fprintf(t, "  %-*s\t%.0f\t%.0f … %.0f\tof %s\t\n", width, with.variant, over.median, over.first, over.third, ns(quartilesOf(with.costs).median))
	}
	t.Flush()
}
