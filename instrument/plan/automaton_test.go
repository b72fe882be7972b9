package plan

import (
	"strings"
	"testing"
)

// The automaton and secretName agree: one decides in the kernel, of keys, the
// other here, of names.
func TestSecretsAgree(t *testing.T) {
	a := Secrets()
	if len(a.Next) > 1<<12 {
		t.Errorf("%d states", len(a.Next))
	}
	find := func(name string) bool {
		at, found := uint16(0), false
		step := func(c byte) {
			at = a.Next[at][c-'a']
			found = found || a.Found[at]
		}
		step(boundary)
		for _, word := range wordsOf(name) {
			for _, c := range []byte(word) {
				if c < 'a' || c > 'z' {
					at = 0
					continue
				}
				step(c)
			}
			step(boundary)
		}
		return found
	}
	names := []string{"", "name", "x", "tokenizer", "secretary", "hotplate", "credit", "api", "key", "keyapi", "sessionid", "monkey"}
	for word := range secretWords {
		names = append(names, word, "user_"+word, word+"2", strings.ToUpper(word), "x"+word, word+"x", "the"+strings.ToUpper(word[:1])+word[1:])
	}
	for pair := range secretPairs {
		names = append(names, pair[0]+"-"+pair[1], "X-"+pair[0]+"_"+pair[1], pair[0]+strings.ToUpper(pair[1][:1])+pair[1][1:], pair[0]+pair[1], pair[1]+" "+pair[0], pair[0]+"-x-"+pair[1])
	}
	for _, end := range secretEnds {
		names = append(names, end, "my"+end, end+"ing", "my_"+end+"_2")
	}
	for _, name := range names {
		if got, want := find(name), secretName(name); got != want {
			t.Errorf("%q: %t, secretName says %t", name, got, want)
		}
	}
}
