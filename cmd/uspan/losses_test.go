package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument"
)

// Whatever is counted as lost is said: of calls as a cause of their sum, of all else
// with -v.
func TestEveryLossIsSaid(t *testing.T) {
	counters := reflect.TypeFor[bpf.Counters]()
	summaries := map[string]*instrument.Summary{"Unknown": {Unknown: 7}}
	for i := range counters.NumField() {
		if counters.Field(i).Type.Kind() != reflect.Uint64 {
			continue // the layout
		}
		summary := &instrument.Summary{}
		reflect.ValueOf(&summary.Lost).Elem().Field(i).SetUint(7)
		summaries[counters.Field(i).Name] = summary
	}
	if len(summaries) < 10 {
		t.Fatalf("%d counters", len(summaries))
	}
	for name, summary := range summaries {
		causes, details := kernelCauses(summary), kernelDetails(summary)
		switch summary.LostSpans() {
		case 0:
			if len(causes) != 0 || len(details) != 1 || strings.Count(details[0], "7") != 1 {
				t.Errorf("%s: causes %v, details %q", name, causes, details)
			}
		case 7:
			if len(causes) != 1 || !strings.HasPrefix(causes[0].String(), "7 ") || len(details) != 0 {
				t.Errorf("%s: causes %v, details %q", name, causes, details)
			}
		default:
			t.Errorf("%s: of 7 losses %d calls", name, summary.LostSpans())
		}
		line, lost := (&outputs{}).closing(summary)
		if want := fmt.Sprintf("0 spans, %d lost", summary.LostSpans()); lost != summary.LostSpans() || !strings.HasPrefix(line, want) {
			t.Errorf("%s: %q, %d", name, line, lost)
		}
	}
}
