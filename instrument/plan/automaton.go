package plan

import (
	"slices"
	"strings"
)

// boundary parts the words of a name in the alphabet of an Automaton, whose other
// characters are the small letters.
const boundary = 'z' + 1

// An Automaton finds the names of secrets in a text, character by character, as
// Aho and Corasick have it, in a form that the kernel programs can execute, too.
// State 0 is the first.
type Automaton struct {
	// Next is the next state by letter ('a' is 0), then by boundary (26).
	Next [][27]uint16
	// Found says that a name ends in a state.
	Found []bool
	// others is without the word pass, if that is among the names.
	others *Automaton
}

// Secrets is the automaton of what looks like a secret.
func (p *Plan) Secrets() *Automaton {
	if p.secrets == nil {
		return automatonOf(slices.Clone(secretNames))
	}
	return p.secrets
}

// newAutomaton finds names as secretNames has them.
func newAutomaton(names []string) *Automaton {
	a := &Automaton{}
	a.state()
	for _, name := range names {
		path := strings.Join(wordsOf(name), string(boundary))
		if !strings.HasPrefix(name, "*") {
			path = string(boundary) + path
		}
		if !strings.HasSuffix(name, "*") {
			path += string(boundary)
		}
		a.add(path)
	}
	a.link()
	return a
}

// Has says whether a name looks like that of a secret: `userToken`, `DB_PASSWORD`
// and `apiKey` do, `tokenizer` and `secretary` do not.
func (a *Automaton) Has(name string) bool {
	at, found := uint16(0), false
	step := func(c byte) {
		if c < 'a' || c > boundary { // a letter that no name has
			at = 0
			return
		}
		at = a.Next[at][c-'a']
		found = found || a.Found[at]
	}
	step(boundary)
	for _, word := range wordsOf(name) {
		for _, c := range []byte(word) {
			step(c)
		}
		step(boundary)
	}
	return found
}

func (a *Automaton) state() uint16 {
	a.Next = append(a.Next, [27]uint16{})
	a.Found = append(a.Found, false)
	return uint16(len(a.Next) - 1)
}

// add makes the path of a name.
func (a *Automaton) add(name string) {
	at := uint16(0)
	for _, c := range []byte(name) {
		if a.Next[at][c-'a'] == 0 {
			next := a.state()
			a.Next[at][c-'a'] = next
		}
		at = a.Next[at][c-'a']
	}
	a.Found[at] = true
}

// link completes the paths: where a name does not go on, what has been seen of it
// may be the beginning of another.
func (a *Automaton) link() {
	fail := make([]uint16, len(a.Next))
	var queue []uint16
	for _, next := range a.Next[0] {
		if next != 0 {
			queue = append(queue, next)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		a.Found[at] = a.Found[at] || a.Found[fail[at]]
		for c, next := range a.Next[at] {
			if next == 0 {
				a.Next[at][c] = a.Next[fail[at]][c]
				continue
			}
			fail[next] = a.Next[fail[at]][c]
			queue = append(queue, next)
		}
	}
}
