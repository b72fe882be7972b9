package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/uspan/uspan/instrument/plan"
)

// A decoder fills in structs from the syntax tree. The library's own decoder takes
// numbers for texts, passes over null, and does not say where a value stood.
type decoder struct {
	file  string
	lines []string
}

func decode(path string, data []byte, into *File) error {
	d := decoder{file: path, lines: strings.Split(string(data), "\n")}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		var problem yaml.Error
		if errors.As(err, &problem) && problem.GetToken() != nil {
			return d.at(problem.GetToken()).errorf("%s", problem.GetMessage())
		}
		return Place{path, 1, 1}.errorf("%v", err)
	}
	var bodies []ast.Node
	for _, document := range tree.Docs {
		if body := document.Body; body != nil && body.Type() != ast.CommentType {
			bodies = append(bodies, body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil
	case 1:
		return d.value(bodies[0], reflect.ValueOf(into).Elem())
	}
	return d.of(bodies[1]).errorf("a second document: there can be only one")
}

// at is where a token stands, as far as the library knows.
func (d *decoder) at(t *token.Token) Place {
	if t == nil || t.Position == nil {
		return Place{d.file, 1, 1}
	}
	return Place{d.file, t.Position.Line, t.Position.Column}
}

// of is where a node begins.
func (d *decoder) of(node ast.Node) Place {
	if mapping, ok := node.(*ast.MappingNode); ok && !mapping.IsFlowStyle && len(mapping.Values) > 0 {
		return d.at(mapping.Values[0].Key.GetToken())
	}
	if pair, ok := node.(*ast.MappingValueNode); ok {
		return d.at(pair.Key.GetToken())
	}
	return d.at(node.GetToken())
}

// value decodes a node.
func (d *decoder) value(node ast.Node, into reflect.Value) error {
	switch {
	case node == nil:
		return Place{d.file, 1, 1}.errorf("a value is missing")
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return d.value(node, into.Elem())
	}
	switch target := into.Addr().Interface().(type) {
	case *Text:
		return d.text(node, target)
	case *Number:
		return d.number(node, target)
	case *Switch:
		bool, ok := node.(*ast.BoolNode)
		if !ok {
			return d.wrong(node, "true or false")
		}
		*target = Switch{d.of(node), bool.Value}
		return nil
	case *Duration:
		return d.duration(node, target)
	case *[]Attribute:
		return d.attributes(node, target)
	}
	if into.Kind() == reflect.Slice {
		return d.list(node, into)
	}
	return d.structure(node, into)
}

// structure decodes a mapping into a struct, whose fields are its keys.
func (d *decoder) structure(node ast.Node, into reflect.Value) error {
	keys := keysOf(into.Type())
	if place := into.FieldByName("Place"); place.IsValid() {
		place.Set(reflect.ValueOf(d.of(node)))
	}
	return d.pairs(node, func(key string, at Place, value ast.Node) error {
		if !slices.Contains(keys, key) {
			return at.errorf("there is no key %q%s", key, nearest(key, keys))
		}
		return d.value(value, fieldOf(into, key))
	})
}

// keysOf are the keys of a struct, in the order of its fields.
func keysOf(t reflect.Type) []string {
	var keys []string
	for field := range t.Fields() {
		if key := field.Tag.Get("yaml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// fieldOf is the field of a key.
func fieldOf(v reflect.Value, key string) reflect.Value {
	for field := range v.Type().Fields() {
		if field.Tag.Get("yaml") == key {
			return v.FieldByIndex(field.Index)
		}
	}
	return reflect.Value{}
}

// nearest says which keys may have been meant.
func nearest(key string, keys []string) string {
	best, least := "", max(2, len(key)/3)+1
	for _, k := range keys {
		if n := levenshtein.ComputeDistance(strings.ToLower(key), k); n < least {
			best, least = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; the nearest is %s", best)
	}
	sorted := slices.Sorted(slices.Values(keys))
	return "; there are " + strings.Join(sorted, ", ")
}

// pairs calls f for each pair of a mapping.
func (d *decoder) pairs(node ast.Node, f func(key string, at Place, value ast.Node) error) error {
	var pairs []*ast.MappingValueNode
	switch node := node.(type) {
	case *ast.MappingNode:
		pairs = node.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{node}
	default:
		return d.wrong(node, "a mapping (KEY: VALUE)")
	}
	seen := make(map[string]Place, len(pairs))
	for _, pair := range pairs {
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			return d.wrong(pair.Key, "a key that is a text")
		}
		at := d.of(key)
		if before, ok := seen[key.Value]; ok {
			return at.errorf("key %q is there already, in line %d", key.Value, before.Line)
		}
		seen[key.Value] = at
		if pair.Value == nil {
			return at.errorf("%s has no value", key.Value)
		}
		if err := f(key.Value, at, pair.Value); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) list(node ast.Node, into reflect.Value) error {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		return d.wrong(node, "a list (- VALUE)")
	}
	list := reflect.MakeSlice(into.Type(), len(sequence.Values), len(sequence.Values))
	for i, value := range sequence.Values {
		if value == nil {
			return d.of(node).errorf("element %d has no value", i+1)
		}
		if err := d.value(value, list.Index(i)); err != nil {
			return err
		}
	}
	into.Set(list)
	return nil
}

func (d *decoder) attributes(node ast.Node, into *[]Attribute) error {
	return d.pairs(node, func(key string, at Place, value ast.Node) error {
		a := Attribute{Place: at, Key: key}
		if err := d.text(value, &a.Value); err != nil {
			return err
		}
		*into = append(*into, a)
		return nil
	})
}

func (d *decoder) text(node ast.Node, into *Text) error {
	at := d.of(node)
	*into = Text{plan.Text{File: d.file, Line: at.Line, Column: at.Column}}
	switch node := node.(type) {
	case *ast.StringNode:
		into.Value = node.Value
		if node.Token.Type == token.DoubleQuoteType || node.Token.Type == token.SingleQuoteType {
			into.Column++
		}
	case *ast.LiteralNode: // its lines follow the one of the | or >
		into.Value = node.Value.Value
		into.Line++
		into.Column = d.indent(into.Line)
	default:
		return d.wrong(node, "a text")
	}
	return nil
}

// indent is the column of a line's first character.
func (d *decoder) indent(line int) int {
	if line > len(d.lines) {
		return 1
	}
	text := d.lines[line-1]
	return 1 + len(text) - len(strings.TrimLeft(text, " "))
}

func (d *decoder) number(node ast.Node, into *Number) error {
	integer, ok := node.(*ast.IntegerNode)
	if !ok {
		return d.wrong(node, "a whole number")
	}
	*into = Number{Place: d.of(node)}
	switch n := integer.Value.(type) {
	case int64:
		into.Value = int(n)
	case uint64:
		into.Value = int(min(n, math.MaxInt))
	}
	return nil
}

func (d *decoder) duration(node ast.Node, into *Duration) error {
	var text Text
	const what = "a duration such as 90s or 1m30s"
	if _, ok := node.(*ast.StringNode); !ok {
		return d.wrong(node, what)
	}
	if err := d.text(node, &text); err != nil {
		return err
	}
	value, err := time.ParseDuration(text.Value)
	if err != nil {
		return d.wrong(node, what)
	}
	*into = Duration{d.of(node), value}
	return nil
}

// wrong says that a node is not what is needed.
func (d *decoder) wrong(node ast.Node, needed string) error {
	var is, hint string
	switch node := node.(type) {
	case *ast.NullNode:
		is = "nothing"
	case *ast.StringNode:
		is = fmt.Sprintf("the text %q", node.Value)
	case *ast.LiteralNode:
		is = "a text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		is = "the number " + node.GetToken().Value
	case *ast.BoolNode:
		is = node.GetToken().Value
	case *ast.SequenceNode:
		is = "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		is = "a mapping"
	case *ast.AliasNode:
		is, hint = "an alias of YAML", "; a text that begins with * is written in quotes"
	case *ast.TagNode:
		is, hint = "a tag of YAML", "; a text that begins with ! is written in quotes"
	case *ast.AnchorNode:
		is, hint = "an anchor of YAML", "; a text that begins with & is written in quotes"
	case *ast.MergeKeyNode:
		is = "a merge of YAML"
	default:
		is = "something else"
	}
	if needed == "a text" && (is == "true" || is == "false" || strings.HasPrefix(is, "the number")) {
		hint = "; a text that looks like that is written in quotes"
	}
	return d.of(node).errorf("%s is needed, not %s%s", needed, is, hint)
}
