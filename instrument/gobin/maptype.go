package gobin

import "strings"

// MapImpl is the struct that a map is a pointer to, as DWARF has it: for types
// that DWARF does not tell. It is nil for a release of Go that is not known.
func (f *File) MapImpl(key, elem *Type) *Type {
	const most = 128 // bytes of a key or an element; larger ones are elsewhere (abi.MapMaxKeyBytes)
	for _, t := range []**Type{&key, &elem} {
		if (*t).Size > most {
			*t = pointerTo(*t)
		}
	}
	switch {
	case f.minor > lastMapMinor:
		return nil
	case f.bucketMaps():
		return bucketMap(key, elem)
	}
	return f.swissMap(key, elem)
}

// bucketMaps says that maps are as before Go 1.24.
func (f *File) bucketMaps() bool { return f.minor < 24 || f.minor < 26 && f.experiment("noswissmap") }

// lastMapMinor is the newest minor version whose maps are known.
const lastMapMinor = 27

// experiment says whether the executable was built with a GOEXPERIMENT that is
// not the default.
func (f *File) experiment(name string) bool {
	_, list, _ := strings.Cut(f.GoVersion, " X:")
	for experiment := range strings.SplitSeq(list, ",") {
		if experiment == name {
			return true
		}
	}
	return false
}

// bucketMap is runtime.hmap (runtime/map.go).
func bucketMap(key, elem *Type) *Type {
	bucket := structOf(
		Field{Name: "tophash", Type: eight(unsigned(1))},
		Field{Name: "keys", Type: eight(key)},
		Field{Name: "values", Type: eight(elem)},
		Field{Name: "overflow", Type: unsigned(8)},
	)
	return structOf(
		Field{Name: "count", Type: unsigned(8)},
		Field{Name: "flags", Type: unsigned(1)},
		Field{Name: "B", Type: unsigned(1)},
		Field{Name: "noverflow", Type: unsigned(2)},
		Field{Name: "hash0", Type: unsigned(4)},
		Field{Name: "buckets", Type: pointerTo(bucket)},
		Field{Name: "oldbuckets", Type: pointerTo(bucket)},
		Field{Name: "nevacuate", Type: unsigned(8)},
		Field{Name: "extra", Type: unsigned(8)},
	)
}

// swissMap is internal/runtime/maps.Map.
func (f *File) swissMap(key, elem *Type) *Type {
	slots := Field{Name: "slots", Type: eight(structOf(Field{Name: "key", Type: key}, Field{Name: "elem", Type: elem}))}
	group := structOf(Field{Name: "ctrl", Type: unsigned(8)}, slots)
	if f.experiment("mapsplitgroup") {
		group = structOf(Field{Name: "ctrl", Type: unsigned(8)},
			Field{Name: "keys", Type: eight(key)}, Field{Name: "elems", Type: eight(elem)})
	}
	table := structOf(
		Field{Name: "used", Type: unsigned(2)},
		Field{Name: "capacity", Type: unsigned(2)},
		Field{Name: "growthLeft", Type: unsigned(2)},
		Field{Name: "localDepth", Type: unsigned(1)},
		Field{Name: "index", Type: unsigned(8)},
		Field{Name: "groups", Type: structOf(
			Field{Name: "data", Type: pointerTo(group)},
			Field{Name: "lengthMask", Type: unsigned(8)},
		)},
	)
	return structOf(
		Field{Name: "used", Type: unsigned(8)},
		Field{Name: "seed", Type: unsigned(8)},
		Field{Name: "dirPtr", Type: pointerTo(pointerTo(table))},
		Field{Name: "dirLen", Type: unsigned(8)},
		Field{Name: "globalDepth", Type: unsigned(1)},
		Field{Name: "globalShift", Type: unsigned(1)},
		Field{Name: "writing", Type: unsigned(1)},
		Field{Name: "clearSeq", Type: unsigned(8)},
	)
}

func unsigned(size int64) *Type { return &Type{Kind: Uint, Size: size, Align: size} }

func pointerTo(t *Type) *Type {
	return &Type{Name: "*" + t.Name, Kind: Pointer, Size: 8, Align: 8, Elem: t}
}

// eight is an array of as many as a bucket and a group have.
func eight(t *Type) *Type {
	return &Type{Kind: Array, Size: 8 * t.Size, Align: t.Align, Elem: t, Len: 8}
}

// structOf lays fields out behind each other, as the compiler does.
func structOf(fields ...Field) *Type {
	t := &Type{Kind: Struct, Align: 1, Fields: fields}
	for i := range fields {
		field := &fields[i]
		to := max(field.Type.Align, 1)
		field.Offset = (t.Size + to - 1) / to * to
		t.Size, t.Align = field.Offset+field.Type.Size, max(t.Align, to)
	}
	t.Size = (t.Size + t.Align - 1) / t.Align * t.Align
	return t
}
