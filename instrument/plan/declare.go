package plan

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"

	"github.com/uspan/uspan/instrument/gobin"
)

// declarations are the signatures and types that rules declare, checked by Go's
// own type checker.
type declarations struct {
	functions []declaredFunction
	opaque    map[types.Object]bool // types that are only known to exist
}

// A declaredFunction is a signature for the functions that a pattern matches.
type declaredFunction struct {
	pattern   pattern
	text      Text
	signature *types.Signature
	params    []token.Pos // where the parameters' types are, then those of the results
	file      *declaredFile
}

// A declaredFile is a text as a file of the package that is checked.
type declaredFile struct {
	text   Text
	before int // length of what stands before the text
	tree   *ast.File
	at     *token.File
}

// maxDeclaration bounds a text, in bytes.
const maxDeclaration = 1 << 16

// A declarer reads declarations into one package.
type declarer struct {
	set    *token.FileSet
	files  map[*token.File]*declaredFile
	errors []error
	types  []string // that can be named
}

// declare reads what the rules declare.
func declare(rules *Rules) (*declarations, error) {
	d := &declarer{set: token.NewFileSet(), files: make(map[*token.File]*declaredFile)}
	var trees []*ast.File
	for _, text := range rules.Types {
		file, err := d.declaredTypes(text)
		if err != nil {
			return nil, err
		}
		trees = append(trees, file.tree)
	}
	found := &declarations{}
	var written []*ast.FuncType
	for i := range rules.Functions {
		rule := &rules.Functions[i]
		p, err := rule.pattern()
		if err != nil {
			return nil, err
		}
		if rule.Signature.Value == "" {
			continue
		}
		file, function, err := d.signature(rule.Signature)
		if err != nil {
			return nil, err
		}
		trees, written = append(trees, file.tree), append(written, function)
		found.functions = append(found.functions, declaredFunction{pattern: p, text: rule.Signature, file: file})
	}
	if len(trees) == 0 {
		return found, nil
	}
	known := newStandard(d.set, trees)
	config := types.Config{
		Importer:                 known,
		Sizes:                    sizes,
		Error:                    d.report,
		DisableUnusedImportCheck: true,
	}
	info := types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
	_, err := config.Check(declaredPackage, d.set, trees, &info)
	if len(d.errors) > 0 {
		return nil, d.errors[0]
	}
	if err != nil {
		return nil, err
	}
	found.opaque = known.opaque
	for i := range found.functions {
		f := &found.functions[i]
		f.signature, _ = info.Types[written[i]].Type.(*types.Signature)
		if f.signature == nil {
			return nil, f.text.errorf(0, "it is no signature of a function")
		}
		f.params = slices.Concat(places(written[i].Params), places(written[i].Results))
		if err := f.check(found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// pattern is which functions the rule is about.
func (r *FunctionRule) pattern() (pattern, error) {
	p, err := parsePattern(r.Match.Value)
	var problem *PatternError
	switch {
	case errors.As(err, &problem):
		return p, r.Match.errorf(0, "%v", problem)
	case p.away:
		return p, r.Match.errorf(0, "pattern %q: only functions to trace can be taken away", r.Match.Value)
	}
	return p, err
}

// declaredPackage is the path of the package that the declarations make.
const declaredPackage = "declared"

// places are where the types of parameters are, one for each.
func places(list *ast.FieldList) []token.Pos {
	var at []token.Pos
	if list == nil {
		return nil
	}
	for _, field := range list.List {
		for range max(1, len(field.Names)) {
			at = append(at, field.Type.Pos())
		}
	}
	return at
}

// declaredTypes reads a text of declarations of types.
func (d *declarer) declaredTypes(text Text) (*declaredFile, error) {
	file, err := d.parse(text, "package p\n")
	if err != nil {
		return nil, err
	}
	for _, declaration := range file.tree.Decls {
		g, ok := declaration.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			return nil, file.errorf(declaration.Pos(), "only types are declared here: type NAME TYPE")
		}
		for _, spec := range g.Specs {
			d.types = append(d.types, spec.(*ast.TypeSpec).Name.Name)
		}
	}
	if len(file.tree.Decls) == 0 {
		return nil, text.errorf(0, "a declaration of a type is needed: type NAME TYPE")
	}
	file.addImports()
	return file, nil
}

// signature reads a signature: a type, or a declaration as the source has it. A
// receiver is the first parameter.
func (d *declarer) signature(text Text) (*declaredFile, *ast.FuncType, error) {
	file, function, err := d.written(text, "package p\nvar _ ", asType)
	if err != nil {
		declared, declaration, declaredErr := d.written(text, "package p\n", asDeclaration)
		switch {
		case declaredErr == nil:
			file, function = declared, declaration
		case further(declaredErr, err):
			return nil, nil, declaredErr
		default:
			return nil, nil, err
		}
	}
	if function.TypeParams != nil {
		return nil, nil, file.errorf(function.TypeParams.Pos(), "type parameters: declare the signature of one instance, with its types")
	}
	spec := &ast.TypeSpec{Name: &ast.Ident{Name: "_", NamePos: function.Pos()}, Type: function}
	file.tree.Decls = []ast.Decl{&ast.GenDecl{Tok: token.TYPE, TokPos: function.Pos(), Specs: []ast.Spec{spec}}}
	file.addImports()
	return file, function, nil
}

// written reads a signature that is written in one of the two ways.
func (d *declarer) written(text Text, before string, as func(*declaredFile) (*ast.FuncType, error)) (*declaredFile, *ast.FuncType, error) {
	file, err := d.parse(text, before)
	if err != nil {
		return nil, nil, err
	}
	function, err := as(file)
	return file, function, err
}

// further says whether an error is further along in its text than another.
func further(a, b error) bool {
	var x, y *declarationError
	return errors.As(a, &x) && errors.As(b, &y) && x.offset > y.offset
}

// asType is `func(…) …`.
func asType(file *declaredFile) (*ast.FuncType, error) {
	if len(file.tree.Decls) == 1 {
		if g, ok := file.tree.Decls[0].(*ast.GenDecl); ok && len(g.Specs) == 1 {
			v, _ := g.Specs[0].(*ast.ValueSpec)
			if f, ok := v.Type.(*ast.FuncType); ok && len(v.Values) == 0 {
				return f, nil
			}
		}
	}
	return nil, file.errorf(token.NoPos, "a signature is needed, such as func(n int) error")
}

// asDeclaration is `func name(…) …` or `func (receiver) name(…) …`.
func asDeclaration(file *declaredFile) (*ast.FuncType, error) {
	if len(file.tree.Decls) == 1 {
		if f, ok := file.tree.Decls[0].(*ast.FuncDecl); ok && f.Body == nil {
			if f.Recv != nil {
				f.Type.Params.List = named(append(slices.Clone(f.Recv.List), f.Type.Params.List...))
			}
			return f.Type, nil
		}
	}
	return nil, file.errorf(token.NoPos, "a signature is needed, such as func(n int) error")
}

// named gives names to the parameters that have none: a list has them all or none.
func named(list []*ast.Field) []*ast.Field {
	for _, field := range list {
		if len(field.Names) == 0 {
			field.Names = []*ast.Ident{{Name: "_", NamePos: field.Type.Pos()}}
		}
	}
	return list
}

// parse reads a text as a file.
func (d *declarer) parse(text Text, before string) (*declaredFile, error) {
	if len(text.Value) > maxDeclaration {
		return nil, text.errorf(0, "it is longer than %d bytes", maxDeclaration)
	}
	file := &declaredFile{text: text, before: len(before)}
	base := d.set.Base()
	tree, err := parser.ParseFile(d.set, "", before+text.Value, parser.SkipObjectResolution)
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return nil, &declarationError{text.errorf(list[0].Pos.Offset-file.before, "%s", list[0].Msg), list[0].Pos.Offset - file.before}
	}
	if err != nil {
		return nil, text.errorf(0, "%v", err)
	}
	file.tree, file.at = tree, d.set.File(token.Pos(base))
	d.files[file.at] = file
	return file, nil
}

// A declarationError is what the parser says of a text.
type declarationError struct {
	error
	offset int
}

func (e *declarationError) Unwrap() error { return e.error }

// errorf is an error about what is at a position; without one, about all.
func (f *declaredFile) errorf(at token.Pos, format string, args ...any) error {
	offset := 0
	if at.IsValid() {
		offset = f.at.Offset(at) - f.before
	}
	return f.text.errorf(offset, format, args...)
}

// addImports imports the packages that the file names.
func (f *declaredFile) addImports() {
	var imports []ast.Spec
	seen := make(map[string]bool)
	for name := range qualified(f.tree) {
		if seen[name] {
			continue
		}
		seen[name] = true
		path := &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(importPath(name)), ValuePos: f.tree.Package}
		spec := &ast.ImportSpec{Name: &ast.Ident{Name: name, NamePos: f.tree.Package}, Path: path}
		imports = append(imports, spec)
		f.tree.Imports = append(f.tree.Imports, spec)
	}
	if len(imports) > 0 {
		declaration := &ast.GenDecl{Tok: token.IMPORT, TokPos: f.tree.Package, Specs: imports}
		f.tree.Decls = slices.Insert(f.tree.Decls, 0, ast.Decl(declaration))
	}
}

// qualified yields the qualified names of a file: package and name.
func qualified(tree *ast.File) func(yield func(pkg, name string) bool) {
	return func(yield func(pkg, name string) bool) {
		for node := range ast.Preorder(tree) {
			if s, ok := node.(*ast.SelectorExpr); ok {
				if pkg, ok := s.X.(*ast.Ident); ok && !yield(pkg.Name, s.Sel.Name) {
					return
				}
			}
		}
	}
}

// report takes what the type checker finds.
func (d *declarer) report(err error) {
	var problem types.Error
	if !errors.As(err, &problem) {
		d.errors = append(d.errors, err)
		return
	}
	message, _, _ := strings.Cut(problem.Msg, "\n")
	if name, ok := strings.CutPrefix(message, "undefined: "); ok {
		message = fmt.Sprintf("there is no type %s%s", name, d.nearest(name))
	}
	if file := d.files[d.set.File(problem.Pos)]; file != nil {
		d.errors = append(d.errors, file.errorf(problem.Pos, "%s", message))
		return
	}
	d.errors = append(d.errors, errors.New(message))
}

// nearest says which type may have been meant, and how to declare one.
func (d *declarer) nearest(name string) string {
	limit := max(min(2, len(name)-1), len(name)/3)
	var found []candidate
	for _, known := range slices.Concat(d.types, types.Universe.Names()) {
		if _, ok := types.Universe.Lookup(known).(*types.TypeName); !ok && !slices.Contains(d.types, known) {
			continue
		}
		if n := distance(strings.ToLower(name), strings.ToLower(known), limit); n <= limit {
			found = append(found, candidate{known, n})
		}
	}
	if names := best(found); len(names) > 0 {
		return "; the nearest is " + names[0]
	}
	return fmt.Sprintf(": declare it below types (type %s struct { … })", name)
}

// check lays the signature out as far as that needs no executable.
func (f *declaredFunction) check(d *declarations) error {
	_, err := d.lay(f, nil)
	return err
}

// of is the last declaration for a function, or nil.
func (d *declarations) of(fn *gobin.Function) *declaredFunction {
	for i := len(d.functions) - 1; i >= 0; i-- {
		if d.functions[i].pattern.match(fn) {
			return &d.functions[i]
		}
	}
	return nil
}

// lay is a declared signature as DWARF would have it. The layout of maps depends
// on the executable; without one it is left out.
func (d *declarations) lay(f *declaredFunction, file *gobin.File) (*gobin.Signature, error) {
	t := typer{opaque: d.opaque, known: make(map[types.Type]*gobin.Type), file: file}
	s := &gobin.Signature{}
	n := 0
	list := func(tuple *types.Tuple, into *[]gobin.Param) error {
		for v := range tuple.Variables() {
			laid, err := t.whole(v.Type())
			if err != nil {
				return f.file.errorf(f.params[n], "%v", err)
			}
			n++
			name := v.Name()
			if name == "_" {
				name = ""
			}
			*into = append(*into, gobin.Param{Name: name, Type: laid})
		}
		return nil
	}
	if err := list(f.signature.Params(), &s.Params); err != nil {
		return nil, err
	}
	if err := list(f.signature.Results(), &s.Results); err != nil {
		return nil, err
	}
	return s, nil
}
