// Package config reads the configuration file: YAML whose keys are the long
// names of the flags, and what is too long for a flag. It is the only package
// that knows YAML.
//
// The file is read strictly: a key that does not exist, one that is there twice,
// a value of another type or out of bounds is an *Error, which says where.
// docs/uspan.schema.json describes it for editors.
package config

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/uspan/uspan/instrument/plan"
)

// A File is a configuration file. What it does not set is nil, or empty.
type File struct {
	Func          []Text      `yaml:"func"`
	Output        []Text      `yaml:"output"`
	Root          []Text      `yaml:"root"`
	MaxTraceSpans *Number     `yaml:"max-trace-spans"`
	Capture       *Text       `yaml:"capture"`
	CaptureDepth  *Number     `yaml:"capture-depth"`
	DebugFile     *Text       `yaml:"debug-file"`
	Follow        *Switch     `yaml:"follow"`
	For           *Duration   `yaml:"for"`
	Resource      []Attribute `yaml:"resource"`
	Stack         *Switch     `yaml:"stack"`
	Force         *Switch     `yaml:"force"`
	MaxOpenCalls  *Number     `yaml:"max-open-calls"`
	FlushTimeout  *Duration   `yaml:"flush-timeout"`
	Verbose       *Switch     `yaml:"verbose"`
	Quiet         *Switch     `yaml:"quiet"`
	User          *Text       `yaml:"user"`
	Functions     []Function  `yaml:"functions"`
	Types         []Text      `yaml:"types"`
	Limits        Limits      `yaml:"limits"`
	Secrets       Secrets     `yaml:"secrets"`
}

// Limits bound what spans have of values.
type Limits struct {
	// StringBytes are of a text, Items of a slice, an array or a map, EventBytes of
	// all values of one call in the kernel.
	StringBytes *Number `yaml:"string-bytes"`
	Items       *Number `yaml:"items"`
	EventBytes  *Number `yaml:"event-bytes"`
	// Attributes are of a span, AttributeLength the characters of one: they win over
	// OpenTelemetry's variables.
	Attributes      *Number `yaml:"attributes"`
	AttributeLength *Number `yaml:"attribute-length"`
}

// Secrets change the list of names that look like those of secrets.
type Secrets struct {
	Add    []Text `yaml:"add"`
	Remove []Text `yaml:"remove"`
}

// A Function is what is said of the functions that a pattern matches.
type Function struct {
	Place
	Match     *Text `yaml:"match"`
	Signature *Text `yaml:"signature"`
	// Capture are names and expressions.
	Capture []Attribute `yaml:"capture"`
}

// A Text is a scalar that is a text.
type Text struct{ plan.Text }

func (t *Text) errorf(format string, args ...any) error {
	return Place{t.File, t.Line, t.Column}.errorf(format, args...)
}

// A Setting is a scalar of another kind.
type Setting[T any] struct {
	Place
	Value T
}

type (
	// A Number is a whole number.
	Number = Setting[int]
	// A Switch is true or false.
	Switch = Setting[bool]
	// A Duration is a text such as 90s or 1m30s.
	Duration = Setting[time.Duration]
)

// An Attribute is a key and its value, of a mapping whose keys anybody chooses.
type Attribute struct {
	Place
	Key   string
	Value Text
}

// A Place is where in the file something stands. Lines and columns count from 1.
type Place struct {
	File         string
	Line, Column int
}

// An Error says what is wrong with a file, and where.
type Error struct {
	Place
	Problem string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
}

func (p Place) errorf(format string, args ...any) error {
	return &Error{Place: p, Problem: fmt.Sprintf(format, args...)}
}

// Values are what texts say.
func Values(texts []Text) []string {
	values := make([]string, len(texts))
	for i := range texts {
		values[i] = texts[i].Value
	}
	return values
}

// Rules adds what has no flag to the rules.
func (f *File) Rules(rules *plan.Rules) {
	for _, function := range f.Functions {
		rule := plan.FunctionRule{Match: function.Match.Text}
		if function.Signature != nil {
			rule.Signature = function.Signature.Text
		}
		rules.Functions = append(rules.Functions, rule)
		if len(function.Capture) > 0 {
			rules.Expressions = append(rules.Expressions, function.expressions())
		}
	}
	rules.Types = append(rules.Types, Written(f.Types)...)
	rules.Secrets.Add, rules.Secrets.Remove = Written(f.Secrets.Add), Written(f.Secrets.Remove)
	if n := f.Limits.StringBytes; n != nil {
		rules.StringBytes = n.Value
	}
	if n := f.Limits.Items; n != nil {
		rules.Items = n.Value
	}
}

// Written are texts with where they stand.
func Written(texts []Text) []plan.Text {
	list := make([]plan.Text, len(texts))
	for i := range texts {
		list[i] = texts[i].Text
	}
	return list
}

// expressions are what is captured of the functions.
func (f *Function) expressions() plan.Expressions {
	e := plan.Expressions{Pattern: f.Match.Value, From: f.Match.Text}
	for _, c := range f.Capture {
		e.List = append(e.List, plan.Expression{Name: c.Key, Text: c.Value.Value, From: c.Value.Text})
	}
	return e
}

// maxSize bounds a file, in bytes.
const maxSize = 1 << 20

// Read reads the file at a path.
func Read(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the configuration: %w", err)
	case len(data) > maxSize:
		return nil, fmt.Errorf("read the configuration: %s is longer than %d bytes", path, maxSize)
	}
	return Parse(path, data)
}

// Parse reads a file's contents; path is what errors call it. The error is an
// *Error.
func Parse(path string, data []byte) (*File, error) {
	f := new(File)
	if err := decode(path, data, f); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}
