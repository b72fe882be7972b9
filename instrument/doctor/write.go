package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteTo writes the report for people.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-18s %-6s %s\n", c.Name, c.Status, c.Found)
		if c.Means != "" {
			fmt.Fprintf(&b, "%26s%s\n", "", c.Means)
		}
		if c.WayOut != "" {
			fmt.Fprintf(&b, "%26s→ %s\n", "", c.WayOut)
		}
	}
	b.WriteByte('\n')
	for _, cost := range []struct {
		ns    int64
		where string
	}{
		{r.Cost.Emulated, "where the kernel emulates the instruction"},
		{r.Cost.SingleStepped, "where it single-steps it"},
	} {
		if cost.ns > 0 {
			fmt.Fprintf(&b, "a probe costs %-8s %s\n", human(cost.ns), cost.where)
		}
	}
	if r.Works {
		b.WriteString("functions can be traced here\n")
	} else {
		b.WriteString("functions cannot be traced here: see what fails\n")
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// human is a duration with two or three digits.
func human(ns int64) string {
	d := time.Duration(ns)
	if d > 10*time.Microsecond {
		d = d.Round(100 * time.Nanosecond)
	}
	return d.String()
}

// WriteJSON writes the report as one object.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
