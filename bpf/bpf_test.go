package bpf

import (
	"reflect"
	"testing"

	"github.com/uspan/uspan/internal/kerneltest"
)

// TestLoad lets the verifier see the programs at both ends of what plans ask for.
func TestLoad(t *testing.T) {
	kerneltest.Require(t)
	for name, settings := range map[string]struct {
		live                    bool
		chunkBytes, valuesBytes uint32
	}{
		"smallest": {false, 128, 2*128 + 8 + 64},
		"usual":    {false, 128, 1024},
		"live":     {true, 128, 1024},
		"largest":  {true, 4096, 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			for _, none := range []uint64{
				0,
				CookieBoth,
				CookieBoth | CookieRestart | CookieKept,
				CookieBoth | CookieRestart | CookieKept | CookieArgs | CookieResults,
			} {
				loadPrograms(t, ^none, settings.live, settings.chunkBytes, settings.valuesBytes)
			}
		})
	}
}

// loadPrograms loads the programs for cookies with some bits and values of some size.
func loadPrograms(t *testing.T, cookieBits uint64, live bool, chunkBytes, valuesBytes uint32) *Objects {
	t.Helper()
	spec, err := Spec()
	if err != nil {
		t.Fatal(err)
	}
	for variable, value := range map[string]any{
		"cookie_bits":  cookieBits,
		"live":         live,
		"stacked":      live,
		"chunk_bytes":  chunkBytes,
		"values_bytes": valuesBytes,
	} {
		if err := spec.Variables[variable].Set(value); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []string{"values", "empty_values"} {
		spec.Maps[m].ValueSize = uint32(ValuesBytes) + valuesBytes
	}
	var objects Objects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { objects.Close() })
	return &objects
}

func TestParseRecordBounds(t *testing.T) {
	if _, err := ParseRecord(make([]byte, 10)); err == nil {
		t.Error("10 bytes were taken for an event")
	}
}

// FuzzRecord decodes whatever bytes: nothing is read out of bounds, nothing hangs.
func FuzzRecord(f *testing.F) {
	f.Add(make([]byte, 88))
	f.Add(append(make([]byte, 88), make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		record, err := ParseRecord(raw)
		if err != nil {
			return
		}
		total := 0
		chunks := record.Values
		for {
			chunk, bytes, rest, ok := NextChunk(chunks)
			if !ok {
				break
			}
			if int(chunk.Size) != len(bytes) || chunk.Good > chunk.Size {
				t.Fatalf("a chunk of %d bytes, %d of them good, has %d", chunk.Size, chunk.Good, len(bytes))
			}
			total += len(bytes)
			chunks = rest
		}
		if total > len(raw) {
			t.Fatalf("%d bytes of values out of %d", total, len(raw))
		}
	})
}

// Each counter is added to its own.
func TestCountersAdd(t *testing.T) {
	var sum, more Counters
	fields := reflect.ValueOf(&more).Elem()
	for i := range fields.NumField() {
		if fields.Field(i).Kind() == reflect.Uint64 {
			fields.Field(i).SetUint(uint64(i))
		}
	}
	for range 3 {
		sum.Add(&more)
	}
	for i := range fields.NumField() {
		if got := reflect.ValueOf(sum).Field(i); got.Kind() == reflect.Uint64 && got.Uint() != 3*uint64(i) {
			t.Errorf("%s is %d, want %d", fields.Type().Field(i).Name, got.Uint(), 3*i)
		}
	}
}
