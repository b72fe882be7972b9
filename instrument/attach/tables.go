package attach

import (
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/uspan/uspan/bpf"
	"github.com/uspan/uspan/instrument/plan"
)

// tables are what cookies point into, and the sizes of the maps.
type tables struct {
	base        []int // first function of each plan
	functions   []bpf.Function
	captures    []bpf.Capture
	binaries    int
	valuesBytes int
}

// maxValues bounds the captured values of one event, in bytes: what does not
// fit is said in the span.
const maxValues = 16 << 10

// bytesOfValues is how much memory there is for the captured values of open
// calls: as many bytes for each of Options.OpenCalls. elementBytes is what an
// element takes beside its value.
const (
	bytesOfValues = 256
	elementBytes  = 48 + 16 + 8
)

// maxProcesses bounds the processes that are known at any moment.
const maxProcesses = 16384

func newTables(plans []*plan.Plan, options Options) *tables {
	t := &tables{binaries: len(plans)}
	// The reader of a value checks for the room of the largest one (values.h).
	room := 8 + padded(options.StringBytes)
	for _, p := range plans {
		t.base = append(t.base, len(t.functions))
		for i := range p.Functions {
			args, results := p.Functions[i].Reads()
			t.functions = append(t.functions, bpf.Function{
				First:   uint32(len(t.captures)),
				Args:    uint16(len(args)),
				Results: uint16(len(results)),
			})
			size := room
			for _, capture := range append(args, results...) {
				compiled := compile(capture)
				t.captures = append(t.captures, compiled)
				size += int(unsafe.Sizeof(bpf.Value{}))
				switch compiled.Kind {
				case bpf.CaptureString:
					size += padded(options.StringBytes)
				case bpf.CaptureError:
					size += 8 + padded(options.StringBytes)
				}
			}
			t.valuesBytes = max(t.valuesBytes, size)
		}
	}
	t.valuesBytes = min(max(t.valuesBytes, room+int(unsafe.Sizeof(bpf.Value{}))), maxValues)
	return t
}

func padded(n int) int { return (n + 7) &^ 7 }

// compile is a capture as the kernel programs read it.
func compile(capture *plan.Capture) bpf.Capture {
	compiled := bpf.Capture{Kind: bpf.CaptureWord, Size: capture.Size}
	switch capture.Kind {
	case plan.CaptureString:
		compiled.Kind = bpf.CaptureString
	case plan.CaptureError:
		compiled.Kind = bpf.CaptureError
	}
	for i, word := range capture.Words {
		compiled.Reg[i] = word.Register
		compiled.Offset[i] = word.Offset
	}
	return compiled
}

// configure sets the constants and the sizes of the maps.
func (t *tables) configure(spec *ebpf.CollectionSpec, options Options) error {
	for name, value := range map[string]any{
		"live":         options.Live,
		"string_bytes": uint32(options.StringBytes),
		"values_bytes": uint32(t.valuesBytes),
		"wakeup_bytes": uint32(options.RingBytes / 8),
		"self_tgid":    selfPID(),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return err
		}
	}
	for _, program := range spec.Programs {
		// Any but 0: for that the library reads /proc/self/mem, which a program
		// with file capabilities may not, and no kernel has looked at it since 5.0.
		program.KernelVersion = 1
	}
	t.size(spec, options)
	return nil
}

// size sets the sizes of the maps. What is of an open call is allocated when the
// call begins, from lists of the kernel that are filled beforehand for each
// processor (kernel/bpf/memalloc.c): most programs have far fewer open calls
// than there is room for. A call costs the same as with everything allocated in
// advance.
func (t *tables) size(spec *ebpf.CollectionSpec, options Options) {
	value := uint32(bpf.ValuesBytes + t.valuesBytes)
	spec.Maps["values"].ValueSize = value
	spec.Maps["empty_values"].ValueSize = value
	values := 1
	if len(t.captures) > 0 {
		// Where events can be very large, the bound is on the memory.
		values = max(min(options.OpenCalls, options.OpenCalls*bytesOfValues/int(slab(uint64(value)+elementBytes))), 1)
	}
	for name, entries := range map[string]int{
		"goroutines":   options.OpenCalls,
		"frames":       options.OpenCalls,
		"values":       values,
		"processes":    maxProcesses,
		"binaries":     t.binaries,
		"functions":    max(len(t.functions), 1),
		"captures":     max(len(t.captures), 1),
		"events":       options.RingBytes,
		"empty_values": 1,
	} {
		spec.Maps[name].MaxEntries = uint32(entries)
	}
	for _, name := range []string{"goroutines", "frames", "values", "processes"} {
		spec.Maps[name].Flags |= unix.BPF_F_NO_PREALLOC
	}
}

// write fills the tables in the kernel.
func (t *tables) write(objects *bpf.Objects) error {
	if err := writeArray(objects.Functions, t.functions); err != nil {
		return err
	}
	return writeArray(objects.Captures, t.captures)
}

// writeArray writes an array in one system call.
func writeArray[T any](array *ebpf.Map, values []T) error {
	if len(values) == 0 {
		return nil
	}
	keys := make([]uint32, len(values))
	for i := range keys {
		keys[i] = uint32(i)
	}
	_, err := array.BatchUpdate(keys, values, nil)
	return err
}

func binaryOf(p *plan.Plan, every bool) bpf.Binary {
	binary := bpf.Binary{
		GoidOffset: uint32(p.Runtime.Offsets.Goid),
		TlsOffset:  int32(p.Runtime.TLSOffset),
	}
	if every {
		binary.Every = 1
	}
	return binary
}
