package plan

import (
	"errors"
	"fmt"
	"go/types"

	"github.com/uspan/uspan/instrument/gobin"
)

// sizes are those of the compiler, the same on all 64-bit architectures.
var sizes = types.SizesFor("gc", "amd64")

// maxDeclaredTypes bounds the types that one signature refers to.
const maxDeclaredTypes = 1 << 12

// A typer makes types of DWARF's form out of the type checker's.
type typer struct {
	opaque map[types.Object]bool
	known  map[types.Type]*gobin.Type
	file   *gobin.File
}

// whole is a type whose size has to be known.
func (t *typer) whole(of types.Type) (*gobin.Type, error) {
	if err := t.sized(of); err != nil {
		return nil, err
	}
	laid := t.of(of)
	if len(t.known) > maxDeclaredTypes {
		return nil, fmt.Errorf("it refers to more than %d other types", maxDeclaredTypes)
	}
	return laid, nil
}

// sized says what of a type hides its size.
func (t *typer) sized(of types.Type) error {
	of = types.Unalias(of)
	if named, ok := of.(*types.Named); ok && t.opaque[named.Obj()] {
		return fmt.Errorf("the layout of %s is not known: declare a type like it below types, or a pointer to it", typeName(named))
	}
	switch u := of.Underlying().(type) {
	case *types.Array:
		if err := t.sized(u.Elem()); err != nil {
			return err
		}
	case *types.Struct:
		for field := range u.Fields() {
			if err := t.sized(field.Type()); err != nil {
				return err
			}
		}
	}
	if n := sizes.Sizeof(of); n < 0 || n > 1<<30 {
		return errors.New("it is larger than any value on a stack")
	}
	return nil
}

// typeName is a type as Go writes it, with import paths but for those that are
// declared.
func typeName(t types.Type) string {
	return types.TypeString(t, func(pkg *types.Package) string {
		if pkg.Path() == declaredPackage {
			return ""
		}
		return pkg.Path()
	})
}

// of is a type; one whose size is not known is Invalid.
func (t *typer) of(of types.Type) *gobin.Type {
	of = types.Unalias(of)
	if known, ok := t.known[of]; ok {
		return known
	}
	laid := &gobin.Type{Name: typeName(of)}
	t.known[of] = laid
	if len(t.known) > maxDeclaredTypes || t.sized(of) != nil {
		laid.Align = 1
		return laid
	}
	laid.Size, laid.Align = sizes.Sizeof(of), sizes.Alignof(of)
	switch u := of.Underlying().(type) {
	case *types.Basic:
		laid.Kind = basicKind(u)
	case *types.Pointer:
		laid.Kind, laid.Elem = gobin.Pointer, t.of(u.Elem())
	case *types.Slice:
		laid.Kind, laid.Elem = gobin.Slice, t.of(u.Elem())
	case *types.Array:
		laid.Kind, laid.Elem, laid.Len = gobin.Array, t.of(u.Elem()), u.Len()
	case *types.Struct:
		laid.Kind = gobin.Struct
		t.fields(laid, u)
	case *types.Map:
		laid.Kind, laid.Key, laid.Elem = gobin.Map, t.of(u.Key()), t.of(u.Elem())
		if t.file != nil && laid.Key.Kind != gobin.Invalid && laid.Elem.Kind != gobin.Invalid {
			laid.Impl = t.file.MapImpl(laid.Key, laid.Elem)
		}
	case *types.Chan:
		laid.Kind, laid.Elem = gobin.Chan, t.of(u.Elem())
	case *types.Signature:
		laid.Kind = gobin.Func
	case *types.Interface:
		laid.Kind = gobin.Interface
		if u.NumMethods() == 0 {
			laid.Kind = gobin.EmptyInterface
		}
		laid.Error = types.Identical(of, types.Universe.Lookup("error").Type())
	}
	return laid
}

func (t *typer) fields(laid *gobin.Type, s *types.Struct) {
	var fields []*types.Var
	for field := range s.Fields() {
		fields = append(fields, field)
	}
	offsets := sizes.Offsetsof(fields)
	for i, field := range fields {
		laid.Fields = append(laid.Fields, gobin.Field{
			Name: field.Name(), Offset: offsets[i], Type: t.of(field.Type()), Embedded: field.Embedded(),
		})
	}
}

func basicKind(b *types.Basic) gobin.TypeKind {
	switch info := b.Info(); {
	case b.Kind() == types.UnsafePointer:
		return gobin.Pointer
	case info&types.IsBoolean != 0:
		return gobin.Bool
	case info&types.IsUnsigned != 0:
		return gobin.Uint
	case info&types.IsInteger != 0:
		return gobin.Int
	case info&types.IsFloat != 0:
		return gobin.Float
	case info&types.IsComplex != 0:
		return gobin.Complex
	case info&types.IsString != 0:
		return gobin.String
	}
	return gobin.Invalid
}
