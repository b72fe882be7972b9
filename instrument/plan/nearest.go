package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/uspan/uspan/instrument/gobin"
)

// maxNear bounds how many names an error shows.
const maxNear = 5

// nearest returns the names that the writer of a glob that matches nothing may
// have meant, best first: the same in another case, without its package or its
// import path, with `(*T)` for `T`, and then what a few wrong letters away.
func nearest(body string, functions []gobin.Function) []string {
	want := plain(body)
	tail := "*" + lastElement(want)
	length := len(strings.ReplaceAll(lastElement(want), "*", ""))
	limit := max(2, length/3)

	type candidate struct {
		name  string
		score int
	}
	var found []candidate
	seen := make(map[string]bool)
	for i := range functions {
		fn := &functions[i]
		if seen[fn.Name] || compilerMade(fn) != "" {
			continue
		}
		have := plain(fn.Name)
		score := -1
		switch {
		case glob(want, have):
			score = 0
		case glob("*/"+want, have) || glob("*."+want, have):
			score = 1
		case glob(tail, have) && (strings.Contains(tail, ".") || boundary(have, tail[1:])):
			score = 2
		case length >= 3:
			if d := distance(lastElement(want), lastElement(have), limit); d <= limit {
				score = 2 + d
			}
		}
		if score >= 0 {
			seen[fn.Name] = true
			found = append(found, candidate{fn.Name, score})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	names := make([]string, 0, maxNear)
	for _, c := range found {
		if len(names) == maxNear {
			break
		}
		names = append(names, c.name)
	}
	return names
}

// plain is a name in lower case without the marks of methods and instances, so
// that `cart.Cart.Add` is near to `cart.(*Cart).Add`.
func plain(name string) string {
	name = strings.ReplaceAll(name, "[...]", "")
	name = strings.ReplaceAll(name, "(*", "")
	name = strings.ReplaceAll(name, ")", "")
	name = strings.ReplaceAll(name, "(", "")
	return strings.ToLower(name)
}

// lastElement is what stands behind the import path's last slash.
func lastElement(name string) string {
	return name[strings.LastIndexByte(name, '/')+1:]
}

// boundary says that glob begins at an element of name's dotted path.
func boundary(name, tail string) bool {
	return glob("*."+tail, name) || glob("*/"+tail, name) || glob(tail, name)
}

// distance is the edit distance of a glob (its stars left out) to a name or to
// the name without its package, whichever is less; limit+1 where the lengths
// alone say that it is further away.
func distance(glob, name string, limit int) int {
	glob = strings.ReplaceAll(glob, "*", "")
	best := limit + 1
	for range 2 {
		if d := len(glob) - len(name); -limit <= d && d <= limit {
			best = min(best, levenshtein.ComputeDistance(glob, name))
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok || strings.Contains(glob, ".") {
			break
		}
		name = rest
	}
	return best
}
