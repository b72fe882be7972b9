package exporter

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// batching is how spans are queued and sent. OpenTelemetry's variables of the
// batch span processor set it; the defaults are uspan's own where a whole
// program's calls need more than a few instrumented ones.
type batching struct {
	// delay is how long a span waits for company: OTEL_BSP_SCHEDULE_DELAY,
	// 1 s instead of the specification's 5 s.
	delay time.Duration
	// maxQueue is how many spans are kept, those being sent included:
	// OTEL_BSP_MAX_QUEUE_SIZE, 65,536 instead of 2,048. A queued span takes
	// about 1 KiB.
	maxQueue int
	// maxBatch is how many are sent at once, if a message has room for them:
	// OTEL_BSP_MAX_EXPORT_BATCH_SIZE, 2,048 instead of 512.
	maxBatch int
	// timeout bounds one attempt: OTEL_BSP_EXPORT_TIMEOUT, 30 s; 0 does not.
	timeout time.Duration
}

// batchingFromEnvironment passes over values that make no sense with a
// warning, as the specification wants it.
func batchingFromEnvironment(warn func(string)) batching {
	duration := func(name string, otherwise time.Duration) time.Duration {
		return milliseconds(integer(warn, 0, int(otherwise/time.Millisecond), name))
	}
	b := batching{
		delay:    duration("OTEL_BSP_SCHEDULE_DELAY", time.Second),
		maxQueue: integer(warn, 1, 65_536, "OTEL_BSP_MAX_QUEUE_SIZE"),
		maxBatch: integer(warn, 1, 2048, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
		timeout:  duration("OTEL_BSP_EXPORT_TIMEOUT", 30*time.Second),
	}
	b.maxBatch = min(b.maxBatch, b.maxQueue)
	return b
}

// milliseconds is n of them, or as many as a Duration has room for.
func milliseconds(n int) time.Duration {
	return time.Duration(min(int64(n), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// limits bound the attributes of spans and events; those of resources have no
// limit, by specification. A negative one is none.
type limits struct {
	// count is OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, else
	// OTEL_ATTRIBUTE_COUNT_LIMIT, else 128.
	count int
	// length is the longest string in characters:
	// OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, else
	// OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, else none.
	length int
	// events is how many a span may have: OTEL_SPAN_EVENT_COUNT_LIMIT, else
	// 128. There is one at most, so that only 0 makes a difference.
	events int
	// links is how many a span may have: OTEL_SPAN_LINK_COUNT_LIMIT, else 128.
	// There is one at most, without attributes.
	links int
	// eventCount is count for events: OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT, else
	// OTEL_ATTRIBUTE_COUNT_LIMIT, else 128.
	eventCount int
}

// Limits win over OpenTelemetry's variables.
type Limits struct {
	// Attributes bounds those of a span, AttributeLength the characters of each
	// text among them: nil for what the variables say.
	Attributes, AttributeLength *int
}

func (l Limits) over(limits limits) limits {
	if l.Attributes != nil {
		limits.count = *l.Attributes
	}
	if l.AttributeLength != nil {
		limits.length = *l.AttributeLength
	}
	return limits
}

func limitsFromEnvironment(warn func(string)) limits {
	return limits{
		count: integer(warn, math.MinInt, 128,
			"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
		length: integer(warn, math.MinInt, -1,
			"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
		events: integer(warn, math.MinInt, 128, "OTEL_SPAN_EVENT_COUNT_LIMIT"),
		links:  integer(warn, math.MinInt, 128, "OTEL_SPAN_LINK_COUNT_LIMIT"),
		eventCount: integer(warn, math.MinInt, 128,
			"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
	}
}

// integer is the value of the first of the named variables that is set to a
// number of at least least, or otherwise.
func integer(warn func(string), least, otherwise int, names ...string) int {
	for _, name := range names {
		text := strings.TrimSpace(os.Getenv(name))
		if text == "" {
			continue
		}
		if n, err := strconv.Atoi(text); err == nil && n >= least {
			return n
		}
		warn(fmt.Sprintf("%s=%q is passed over: it is no number, or out of range", name, text))
	}
	return otherwise
}
