package exporter

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/uspan/uspan/instrument/span"
)

// truncatedKey is the attribute that says what was cut.
const truncatedKey = "uspan.truncated"

// apply keeps to the limits, and says in uspan.truncated what they cut: captured
// texts that are too long, and captured values beyond the number of attributes,
// which go before anything else does.
func (l limits) apply(attributes []span.Attribute) (kept []span.Attribute, dropped uint32) {
	var cut []string
	captured := 0
	for i := range attributes {
		path, ok := capturedPath(attributes[i].Key)
		if !ok {
			continue
		}
		captured++
		text, ok := attributes[i].Value.(string)
		if n := utf8.RuneCountInString(text); ok && l.length >= 0 && n > l.length {
			cut = append(cut, fmt.Sprintf("%s: %d of %d characters", path, l.length, n))
		}
	}
	if l.count < 0 || len(attributes)+needs(attributes, cut) <= l.count {
		return withTruncated(attributes, cut), 0
	}
	// As many of the first captured values as there is room for beside the rest,
	// and what says that there were more.
	cut = append(cut, "")
	room := l.count - (len(attributes) - captured + needs(attributes, cut))
	if room < 0 {
		return within(l.count, attributes)
	}
	cut[len(cut)-1] = fmt.Sprintf("values: %d of %d attributes", room, captured)
	shown := 0
	kept = slices.DeleteFunc(slices.Clone(attributes), func(a span.Attribute) bool {
		if _, ok := capturedPath(a.Key); !ok {
			return false
		}
		shown++
		return shown > room
	})
	return withTruncated(kept, cut), uint32(captured - room)
}

// capturedPath is `arg.x` of `uspan.arg.x`.
func capturedPath(key string) (path string, ok bool) {
	path, ok = strings.CutPrefix(key, "uspan.")
	return path, ok && (strings.HasPrefix(path, "arg.") || strings.HasPrefix(path, "ret."))
}

// needs is how many attributes more it takes to say what was cut: one, or none
// where uspan.truncated is there already.
func needs(attributes []span.Attribute, cut []string) int {
	if len(cut) == 0 || slices.ContainsFunc(attributes, isTruncated) {
		return 0
	}
	return 1
}

func isTruncated(a span.Attribute) bool { return a.Key == truncatedKey }

// withTruncated says what was cut beside what was cut before.
func withTruncated(attributes []span.Attribute, cut []string) []span.Attribute {
	if len(cut) == 0 {
		return attributes
	}
	n := slices.IndexFunc(attributes, isTruncated)
	if n < 0 {
		return append(attributes, span.Attribute{Key: truncatedKey, Value: cut})
	}
	attributes = slices.Clone(attributes) // spans belong to others, too
	before, _ := attributes[n].Value.([]string)
	attributes[n].Value = slices.Concat(before, cut)
	return attributes
}
