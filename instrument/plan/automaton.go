package plan

import "strings"

// boundary parts the words of a name in the alphabet of an Automaton, whose other
// characters are the small letters.
const boundary = 'z' + 1

// An Automaton finds the names of secrets in a text, character by character, as
// Aho and Corasick have it: what secretName finds in words, in a form that the
// kernel programs can execute. State 0 is the first.
type Automaton struct {
	// Next is the next state by letter ('a' is 0), then by boundary (26).
	Next [][27]uint16
	// Found says that a name ends in a state.
	Found []bool
}

// Secrets is the automaton of what looks like a secret.
func Secrets() *Automaton {
	a := &Automaton{}
	a.state()
	for word := range secretWords {
		a.add(string(boundary) + word + string(boundary))
	}
	for pair := range secretPairs {
		a.add(string(boundary) + pair[0] + string(boundary) + pair[1] + string(boundary))
	}
	for _, end := range secretEnds {
		a.add(end + string(boundary))
	}
	a.link()
	return a
}

func (a *Automaton) state() uint16 {
	a.Next = append(a.Next, [27]uint16{})
	a.Found = append(a.Found, false)
	return uint16(len(a.Next) - 1)
}

// add makes the path of a name.
func (a *Automaton) add(name string) {
	at := uint16(0)
	for _, c := range []byte(strings.ToLower(name)) {
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
