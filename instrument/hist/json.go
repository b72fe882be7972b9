package hist

import (
	"encoding/json"
	"io"
	"time"
)

// object is a Histogram as JSON. Durations are in nanoseconds.
type object struct {
	Time       time.Time `json:"time"`
	Function   string    `json:"function"`
	Executable string    `json:"executable"`
	Calls      uint64    `json:"calls"`
	Errors     *uint64   `json:"errors"` // null where it is not known what is returned
	Panics     uint64    `json:"panics"`
	Open       uint64    `json:"open"`
	Lost       uint64    `json:"lost"`
	Sum        int64     `json:"sum_ns"`
	P50        int64     `json:"p50_ns"`
	P90        int64     `json:"p90_ns"`
	P99        int64     `json:"p99_ns"`
	P999       int64     `json:"p999_ns"`
	Max        int64     `json:"max_ns"`
	Unbucketed uint64    `json:"unbucketed"`
	Buckets    []bucket  `json:"buckets"`
}

// bucket is a Bucket as JSON: from low on, below high.
type bucket struct {
	Low   int64  `json:"low_ns"`
	High  int64  `json:"high_ns"`
	Calls uint64 `json:"calls"`
}

// WriteJSON writes an object a line for each histogram that has anything to tell, as
// it was at a time.
func WriteJSON(w io.Writer, at time.Time, all []Histogram) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for i := range all {
		h := &all[i]
		if !h.Seen() {
			continue
		}
		o := object{
			Time:     at.UTC(),
			Function: h.Function, Executable: h.Executable,
			Calls: h.Calls, Errors: &h.Errors, Panics: h.Panics, Open: h.Open, Lost: h.Lost,
			Sum: int64(h.Sum), Max: int64(h.Max), Unbucketed: h.Unbucketed,
			P50: int64(h.Quantile(.5)), P90: int64(h.Quantile(.9)), P99: int64(h.Quantile(.99)), P999: int64(h.Quantile(.999)),
			Buckets: make([]bucket, len(h.Buckets)),
		}
		if h.Unknown != "" {
			o.Errors = nil
		}
		for n, b := range h.Buckets {
			o.Buckets[n] = bucket{int64(b.Low), int64(b.High), b.Calls}
		}
		if err := encoder.Encode(o); err != nil {
			return err
		}
	}
	return nil
}
