package plan

import (
	"strings"
	"unicode"

	"github.com/uspan/uspan/instrument/gobin"
)

// secretWords are words of names that hold secrets. Compound words that are
// written as one are found by their ends (secretEnds).
var secretWords = map[string]bool{
	"password": true, "passwords": true, "passwd": true, "pwd": true, "passphrase": true, "passcode": true,
	"secret": true, "secrets": true, "token": true, "tokens": true, "jwt": true, "jwts": true, "otp": true,
	"authorization": true, "bearer": true, "cookie": true, "cookies": true,
	"credential": true, "credentials": true, "cred": true, "creds": true,
	"apikey": true, "apikeys": true, "privatekey": true, "secretkey": true, "accesskey": true,
}

// secretPairs are pairs of words of which neither is a secret alone.
var secretPairs = map[[2]string]bool{
	{"api", "key"}: true, {"api", "keys"}: true, {"private", "key"}: true, {"private", "keys"}: true,
	{"priv", "key"}: true, {"access", "key"}: true, {"signing", "key"}: true, {"encryption", "key"}: true,
	{"master", "key"}: true, {"session", "key"}: true, {"session", "id"}: true, {"pass", "phrase"}: true,
	{"pass", "word"}: true, {"auth", "header"}: true, {"auth", "key"}: true,
}

var secretEnds = []string{"password", "passwd", "passphrase", "secret", "token", "apikey", "privatekey", "credentials", "cookie"}

// measures are last words of names that count or date a secret without telling it.
var measures = map[string]bool{
	"count": true, "len": true, "length": true, "size": true, "index": true, "limit": true,
	"ttl": true, "expiry": true, "age": true, "cost": true,
}

// secretName says whether a name looks like that of a secret: `userToken`,
// `DB_PASSWORD` and `apiKey` do, `tokenizer` and `secretary` do not.
func secretName(name string) bool {
	words := wordsOf(name)
	for i, w := range words {
		if secretWords[w] || i > 0 && secretPairs[[2]string{words[i-1], w}] {
			return true
		}
		for _, end := range secretEnds {
			if strings.HasSuffix(w, end) {
				return true
			}
		}
	}
	return false
}

// secret says whether a parameter or result must not be read: its name, the
// name of its type where that is a string, or, for a string without a name, the
// name of the function that returns it (`newToken() string`). An error is none,
// nor is a truth, nor a number that measures a secret (`tokenCount`).
func secret(name string, t *gobin.Type, returnedBy string) bool {
	if t == nil {
		return secretName(name)
	}
	switch {
	case t.Error, t.Kind == gobin.Bool:
		return false
	case t.Kind == gobin.Int, t.Kind == gobin.Uint:
		if words := wordsOf(name); len(words) > 1 && measures[words[len(words)-1]] {
			return false
		}
	case t.Kind == gobin.String:
		if secretName(t.Name[strings.LastIndexByte(t.Name, '.')+1:]) || name == "" && secretName(returnedBy) {
			return true
		}
	}
	return secretName(name)
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
