package span

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/uspan/uspan/instrument/plan"
)

// scalar is a value that lies in memory as a whole; ok is false for others.
func scalar(n *plan.Node, memory []byte) (value any, ok bool) {
	bits := number(memory, n.Size)
	switch n.Kind {
	case plan.Int:
		shift := 64 - 8*n.Size
		return int64(bits<<shift) >> shift, true
	case plan.Uint:
		if bits > math.MaxInt64 {
			return bits, true
		}
		return int64(bits), true
	case plan.Bool:
		return bits&1 != 0, true
	case plan.Float:
		return float(memory, n.Size), true
	case plan.Complex:
		half := n.Size / 2
		return strconv.FormatComplex(complex(float(memory, half), float(memory[half:], half)), 'g', -1, int(8*n.Size)), true
	case plan.Duration:
		return time.Duration(bits).String(), true
	case plan.Time:
		return instant(word(memory, 0), int64(word(memory, 8))).Format(time.RFC3339Nano), true
	}
	return nil, false
}

// number is a little-endian number of up to 8 bytes.
func number(memory []byte, size uint32) (n uint64) {
	for i := range min(size, 8) {
		n |= uint64(memory[i]) << (8 * i)
	}
	return n
}

func float(memory []byte, size uint32) float64 {
	if size == 4 {
		return float64(math.Float32frombits(uint32(number(memory, 4))))
	}
	return math.Float64frombits(number(memory, 8))
}

// instant is a time.Time by its fields wall and ext (src/time/time.go), in UTC.
func instant(wall uint64, ext int64) time.Time {
	const (
		hasMonotonic = 1 << 63
		nanoseconds  = 1<<30 - 1
		year1        = -62135596800 // as a Unix time
		year1885     = -2682288000
	)
	if wall&hasMonotonic != 0 {
		return time.Unix(int64(wall<<1>>31)+year1885, int64(wall&nanoseconds)).UTC()
	}
	return time.Unix(ext+year1, int64(wall&nanoseconds)).UTC()
}

// text is a string or a slice of bytes.
func (d *decoder) text(n *plan.Node, addr, length uint64, from source) (any, string) {
	if length == 0 {
		return "", ""
	}
	bytes, _, why := d.follow(addr, min(length, uint64(n.Limit)), from)
	if why != "" {
		return nil, why
	}
	switch n.Kind {
	case plan.Bytes:
		return byteText(bytes, length)
	case plan.IP:
		if ip, ok := netip.AddrFromSlice(bytes); ok && length == uint64(len(bytes)) {
			return ip.Unmap().String(), ""
		}
		return byteText(bytes, length)
	}
	return text(bytes, length)
}

// text is a captured string, cut at a rune, and what is missing of it.
func text(bytes []byte, length uint64) (any, string) {
	if uint64(len(bytes)) >= length {
		return strings.ToValidUTF8(string(bytes), "\uFFFD"), ""
	}
	bytes = whole(bytes)
	note := fmt.Sprintf("%d of %d bytes", len(bytes), length)
	return strings.ToValidUTF8(string(bytes), "\uFFFD"), note
}

// whole cuts off a rune that was cut in two: at most its first three bytes are
// there.
func whole(bytes []byte) []byte {
	for cut := 1; cut < utf8.UTFMax && cut <= len(bytes); cut++ {
		if last := bytes[len(bytes)-cut:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				bytes = bytes[:len(bytes)-cut]
			}
			break
		}
	}
	return bytes
}

// byteText is bytes as text where they look like that, else in hexadecimal.
func byteText(bytes []byte, length uint64) (any, string) {
	cut := uint64(len(bytes)) < length
	readable := bytes
	if cut {
		readable = whole(bytes)
	}
	value := string(readable)
	if !utf8.Valid(readable) || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) {
		readable, value = bytes, "0x"+hex.EncodeToString(bytes)
	}
	if cut {
		return value, fmt.Sprintf("%d of %d bytes", len(readable), length)
	}
	return value, ""
}

// flat makes one slice of elements that are scalars of one type, and all there.
func (l List) flat(n *plan.Node) any {
	switch n.Kind {
	case plan.Int:
		return flatten[int64](l)
	case plan.Uint:
		if ints, ok := flatten[int64](l).([]int64); ok {
			return ints
		}
		// A number above the int64 range makes texts of all.
		texts := make([]string, len(l))
		for i, v := range l {
			texts[i] = fmt.Sprint(v.Value)
		}
		return texts
	case plan.Bool:
		return flatten[bool](l)
	case plan.Float:
		return flatten[float64](l)
	case plan.String, plan.Duration, plan.Time, plan.Complex:
		return flatten[string](l)
	}
	return l
}

func flatten[T any](l List) any {
	flat := make([]T, 0, len(l))
	for _, v := range l {
		value, ok := v.Value.(T)
		if !ok || v.Note != "" {
			return l
		}
		flat = append(flat, value)
	}
	return flat
}
