package plan

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/uspan/uspan/instrument/gobin"
)

// secretNames are names that secrets have: words, as wordsOf parts a name, one
// behind the other. A * in front stands for any letters before, as compound words
// are written as one, too; one behind for any that follow.
var secretNames = []string{
	"password", "passwords", "passwd", "pwd", "passphrase", "passcode", pass,
	"secret", "secrets", "token", "tokens", "jwt", "jwts", "otp",
	"authorization", "bearer", "cookie", "cookies",
	"credential", "credentials", "cred", "creds",
	"apikey", "apikeys", "privatekey", "secretkey", "accesskey",
	"api key", "api keys", "private key", "private keys", "priv key", "access key", "signing key", "encryption key",
	"master key", "session key", "session id", "pass phrase", "pass word", "auth header", "auth key",
	"*password", "*passwd", "*passphrase", "*secret", "*token", "*apikey", "*privatekey", "*credentials", "*cookie",
}

// pass is a word for other things as well: it names a secret where it is the last
// word of a name, and what has the name may be text (`user, pass string`, but not
// `pass *analysis.Pass`, nor `passRate`). Of the keys of maps nothing is known but the
// words.
const pass = "pass"

// SecretRules change the list of names that look like those of secrets.
type SecretRules struct {
	// Add are names: `ssn`, `card number` (also cardNumber, CARD_NUMBER), `*pin`.
	Add []Text
	// Remove are names that uspan takes for secrets: each takes away what matches
	// it.
	Remove []Text
}

// Bounds of SecretRules.
const (
	maxSecrets     = 1000
	maxSecretBytes = 64
)

// secretsOf is the automaton of what looks like a secret by the rules.
func secretsOf(rules *SecretRules) (*Automaton, error) {
	names := slices.Clone(secretNames)
	for _, text := range rules.Remove {
		before := len(names)
		for _, name := range secretNames {
			if name == text.Value || newAutomaton([]string{name}).Has(text.Value) {
				names = slices.DeleteFunc(names, func(n string) bool { return n == name })
			}
		}
		if len(names) == before {
			return nil, text.errorf(0, "%q is not among the names of secrets%s", text.Value, nearSecret(text.Value))
		}
	}
	if len(rules.Add) > maxSecrets {
		return nil, rules.Add[maxSecrets].errorf(0, "more than %d names of secrets", maxSecrets)
	}
	for _, text := range rules.Add {
		if problem := checkSecret(text.Value); problem != "" {
			return nil, text.errorf(0, "secret %q: %s", text.Value, problem)
		}
		names = append(names, text.Value)
	}
	return automatonOf(names), nil
}

func automatonOf(names []string) *Automaton {
	a := newAutomaton(names)
	if i := slices.Index(names, pass); i >= 0 {
		a.others = newAutomaton(slices.Delete(names, i, i+1))
	}
	return a
}

// checkSecret says what is wrong with a name that is to be added.
func checkSecret(name string) string {
	inner := strings.TrimSuffix(strings.TrimPrefix(name, "*"), "*")
	switch {
	case len(name) > maxSecretBytes:
		return fmt.Sprintf("it is longer than %d bytes", maxSecretBytes)
	case strings.Contains(inner, "*"):
		return "a * stands in front or behind alone"
	case strings.ContainsFunc(inner, func(r rune) bool { return r > unicode.MaxASCII }):
		return "only ASCII is looked for"
	case len(wordsOf(inner)) == 0:
		return "it has no letters"
	}
	return ""
}

// nearSecret says which name may have been meant.
func nearSecret(name string) string {
	limit := max(2, len(name)/3)
	var found []candidate
	for _, known := range secretNames {
		if n := distance(strings.ToLower(name), known, limit); n <= limit {
			found = append(found, candidate{known, n})
		}
	}
	if names := best(found); len(names) > 0 {
		return "; the nearest is " + names[0]
	}
	return ""
}

// measures are last words of names that count or date a secret without telling it.
var measures = map[string]bool{
	"count": true, "len": true, "length": true, "size": true, "index": true, "limit": true,
	"ttl": true, "expiry": true, "age": true, "cost": true,
}

// secret says whether a parameter or result must not be read: its name, the
// name of its type where that is a string, or, for a string without a name, the
// name of the function that returns it (`newToken() string`). An error is none,
// nor is a truth, nor a number that measures a secret (`tokenCount`).
func (a *Automaton) secret(name string, t *gobin.Type, returnedBy string) bool {
	if t == nil {
		return a.Has(name)
	}
	switch {
	case t.Error, t.Kind == gobin.Bool:
		return false
	case t.Kind == gobin.Int, t.Kind == gobin.Uint:
		if words := wordsOf(name); len(words) > 1 && measures[words[len(words)-1]] {
			return false
		}
	case t.Kind == gobin.String:
		if a.Has(t.Name[strings.LastIndexByte(t.Name, '.')+1:]) || name == "" && a.Has(returnedBy) {
			return true
		}
	}
	return a.Has(name) && !a.harmlessPass(name, t)
}

// harmlessPass says that a name looks like that of a secret by the word pass alone,
// which is another thing here.
func (a *Automaton) harmlessPass(name string, t *gobin.Type) bool {
	if a.others == nil || a.others.Has(name) {
		return false
	}
	words := wordsOf(name)
	return words[len(words)-1] != pass || !mayBeText(t)
}

// mayBeText says whether a value may be text, or points to some.
func mayBeText(t *gobin.Type) bool {
	switch t.Kind {
	case gobin.String, gobin.Interface, gobin.EmptyInterface, gobin.Invalid:
		return true
	case gobin.Pointer:
		return t.Elem != nil && (t.Elem.Kind == gobin.String || bytesOf(t.Elem))
	case gobin.Slice, gobin.Array:
		return bytesOf(t) || t.Elem != nil && t.Elem.Kind == gobin.String
	}
	return false
}

// wordsOf splits a name at underscores, digits and changes of case, and returns
// its words in lower case: `userAPIKey2` is user, api, key.
func wordsOf(name string) []string {
	var words []string
	runes := []rune(name)
	start := 0
	flush := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(string(runes[start:end])))
		}
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			flush(i)
			start = i + 1
		case unicode.IsUpper(r) && i > start:
			// A word begins at an upper case letter behind a lower case one, and
			// at the last of several where a lower case one follows.
			after := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsLower(runes[i-1]) || after && !plural(runes[i:]) {
				flush(i)
				start = i
			}
		}
	}
	flush(len(runes))
	return words
}

// plural says that an upper case letter and an `s` end an abbreviation (`JWTs`).
func plural(r []rune) bool {
	return r[1] == 's' && (len(r) == 2 || !unicode.IsLower(r[2]))
}
