package plan

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/uspan/uspan/instrument/gobin"
)

// maxNear bounds how many names an error shows.
const maxNear = 5

// A candidate is a name that may have been meant; a lower score is nearer.
type candidate struct {
	name  string
	score int
}

// nearest returns what the writer of a glob that matches nothing may have meant,
// best first: patterns of packages where the glob is about a package (`htp.*`),
// else functions, and where none is like it, the functions beside it.
func nearest(body string, functions []gobin.Function) []string {
	want := plain(body)
	if path := strings.TrimRight(want, "*"); path != want && (path == "" || strings.HasSuffix(path, ".") || strings.HasSuffix(path, "/")) {
		if found := nearestPackages(strings.TrimRight(path, "./"), functions); len(found) > 0 {
			return found
		}
	}
	for {
		if found := nearestFunctions(want, functions); len(found) > 0 {
			return found
		}
		dot := strings.LastIndexByte(strings.TrimSuffix(want, ".*"), '.')
		if dot <= strings.LastIndexByte(want, '/') {
			return nil
		}
		want = want[:dot] + ".*"
	}
}

// nearestFunctions finds names that are the same in another case, without their
// package or import path, or without `(*T)`, and those a few letters away.
func nearestFunctions(want string, functions []gobin.Function) []string {
	last := lastElement(want)
	letters := strings.ReplaceAll(last, "*", "")
	limit := max(2, len(letters)/3)
	if letters != last { // what stands for any text is near to more
		limit = max(1, (len(letters)-strings.LastIndexByte(letters, '.')-1)/3)
	}
	var found []candidate
	least := math.MaxInt - 1
	seen := make(map[string]bool)
	for i := range functions {
		fn := &functions[i]
		if seen[fn.Name] || fn.Wrapper || made(fn).what != "" {
			continue
		}
		have := plain(fn.Name)
		score := -1
		switch {
		case glob(want, have):
			score = 0
		case glob("*/"+want, have), glob("*."+want, have):
			score = 1
		case len(letters) > 1 && (glob("*."+last, have) || glob("*/"+last, have) || glob(last, have)):
			score = 2
		case len(letters) >= 3:
			if d := distance(last, lastElement(have), limit); d <= limit {
				score = 2 + d
			}
		}
		if score >= 0 {
			seen[fn.Name] = true
			found = append(found, candidate{fn.Name, score})
			least = min(least, score)
		}
	}
	return best(slices.DeleteFunc(found, func(c candidate) bool { return c.score > least+1 }))
}

// nearestPackages finds import paths that end or begin like a path, or whose
// last element is a few letters away, as patterns.
func nearestPackages(path string, functions []gobin.Function) []string {
	if path == "" {
		return nil
	}
	last := lastElement(path)
	limit := max(1, len(last)/3)
	var found []candidate
	seen := make(map[string]bool)
	for i := range functions {
		pkg := functions[i].Package
		if pkg == "" || seen[pkg] {
			continue
		}
		seen[pkg] = true
		have := strings.ToLower(pkg)
		switch {
		case have == path || strings.HasSuffix(have, "/"+path):
			found = append(found, candidate{pkg + ".*", 0})
		case strings.Contains("/"+have, "/"+path+"/"):
			found = append(found, candidate{pkg + ".*", 1})
		default:
			if d := distance(last, lastElement(have), limit); d <= limit {
				found = append(found, candidate{pkg + ".*", 1 + d})
			}
		}
	}
	return best(found)
}

// nearestNames are nearNames; where none is like it, the first of them.
func nearestNames(want string, names []string) []string {
	if near := nearNames(want, names); len(near) > 0 {
		return near
	}
	return names[:min(len(names), maxNear)]
}

// nearNames returns what of some names the writer of another one may have meant,
// best first.
func nearNames(want string, names []string) []string {
	limit := max(1, len(want)/3)
	want = strings.ToLower(want)
	var found []candidate
	for _, name := range names {
		switch have := strings.ToLower(name); {
		case name == "_":
		case have == want:
			found = append(found, candidate{name, 0})
		case len(want) > 1 && (strings.HasPrefix(have, want) || strings.HasPrefix(want, have)):
			found = append(found, candidate{name, 1})
		default:
			if d := levenshtein.ComputeDistance(want, have); d <= limit {
				found = append(found, candidate{name, 1 + d})
			}
		}
	}
	return best(found)
}

// best returns the names of the best candidates, best first.
func best(found []candidate) []string {
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	names := make([]string, 0, maxNear)
	for _, c := range found[:min(len(found), maxNear)] {
		names = append(names, c.name)
	}
	return names
}

// plain is a name in lower case without the marks of methods and instances, so
// that `cart.Cart.Add` is near to `cart.(*Cart).Add`.
func plain(name string) string {
	return strings.ToLower(marks.Replace(name))
}

var marks = strings.NewReplacer("[...]", "", "(*", "", "(", "", ")", "")

// lastElement is what stands behind the import path's last slash.
func lastElement(name string) string {
	return name[strings.LastIndexByte(name, '/')+1:]
}

// distance is the edit distance of letters to a name or, where they have no
// package, to the name without its package, whichever is less; limit+1 where the
// lengths alone say that it is further away. A `*` is any text.
func distance(letters, name string, limit int) int {
	least := limit + 1
	for {
		if strings.Contains(letters, "*") {
			least = min(least, globDistance(letters, name))
		} else if d := len(letters) - len(name); -limit <= d && d <= limit {
			least = min(least, levenshtein.ComputeDistance(letters, name))
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok || strings.Contains(letters, ".") {
			return least
		}
		name = rest
	}
}

// globDistance is how many bytes of a glob would have to be others, more or fewer
// for it to match a name.
func globDistance(glob, name string) int {
	// row has the distance of the glob so far to each beginning of the name.
	row, next := make([]int, len(name)+1), make([]int, len(name)+1)
	for i := range row {
		row[i] = i
	}
	for g := range len(glob) {
		star := glob[g] == '*'
		next[0] = row[0] + 1
		if star {
			next[0] = row[0]
		}
		for i := range len(name) {
			switch {
			case star:
				next[i+1] = min(row[i+1], next[i])
			case glob[g] == name[i]:
				next[i+1] = row[i]
			default:
				next[i+1] = 1 + min(row[i], row[i+1], next[i])
			}
		}
		row, next = next, row
	}
	return row[len(name)]
}
