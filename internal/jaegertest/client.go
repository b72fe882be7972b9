package jaegertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Client asks Jaeger's query API.
type Client struct {
	// URL is the API's root, without a slash at its end.
	URL string
	// HTTP is used for the requests; nil: http.DefaultClient.
	HTTP *http.Client
}

// A Span is what Jaeger has kept of a span. Its times are in microseconds:
// Jaeger's API has no finer ones.
type Span struct {
	TraceID, ID string
	// Parent is empty for a root.
	Parent string
	// Links are what else the span refers to.
	Links    []Link
	Name     string
	Start    time.Time
	Duration time.Duration
	// Tags are the span's attributes, and its kind, status and scope by the
	// names that OpenTelemetry defines for Jaeger ("otel.status_code"); Process
	// the resource's. Values are int64, float64, bool or string; arrays are
	// strings of JSON.
	Tags, Process map[string]any
	Events        []Event
}

// A Link is the span that another one is linked to.
type Link struct{ TraceID, ID string }

// An Event is what Jaeger calls a log; its name is the field "event".
type Event struct {
	Time   time.Time
	Fields map[string]any
}

// Services are the names of the services that have sent spans.
func (c Client) Services() ([]string, error) {
	var services []string
	err := c.query("/api/services", &services)
	return services, err
}

// Spans are all spans of a service, in no particular order.
func (c Client) Spans(service string) ([]Span, error) {
	var traces []trace
	path := "/api/traces?limit=100000&service=" + url.QueryEscape(service)
	if err := c.query(path, &traces); err != nil {
		return nil, err
	}
	var spans []Span
	for _, t := range traces {
		for _, s := range t.Spans {
			process := t.Processes[s.ProcessID]
			if process.ServiceName != service {
				continue
			}
			spans = append(spans, Span{
				TraceID:  s.TraceID,
				ID:       s.SpanID,
				Parent:   s.parent(),
				Links:    s.links(),
				Name:     s.OperationName,
				Start:    time.UnixMicro(s.StartTime),
				Duration: time.Duration(s.Duration) * time.Microsecond,
				Tags:     s.Tags.values(),
				Process:  process.Tags.values(),
				Events:   s.events(),
			})
		}
	}
	return spans, nil
}

// query gets the data of an answer.
func (c Client) query(path string, data any) error {
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Get(c.URL + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(&struct{ Data any }{data})
}

// The query API's JSON.
type (
	trace struct {
		Spans     []span
		Processes map[string]process
	}
	process struct {
		ServiceName string
		Tags        tags
	}
	span struct {
		TraceID, SpanID, OperationName, ProcessID string
		References                                []reference
		StartTime, Duration                       int64 // microseconds
		Tags                                      tags
		Logs                                      []log
	}
	reference struct{ RefType, TraceID, SpanID string }
	log       struct {
		Timestamp int64 // microseconds
		Fields    tags
	}
	tags []tag
	tag  struct {
		Key, Type string
		Value     json.RawMessage
	}
)

// parent is the span that this one is a child of; other references are links.
func (s span) parent() string {
	for _, r := range s.References {
		if r.RefType == "CHILD_OF" && r.TraceID == s.TraceID {
			return r.SpanID
		}
	}
	return ""
}

func (s span) links() []Link {
	var links []Link
	for _, r := range s.References {
		if r.RefType == "FOLLOWS_FROM" {
			links = append(links, Link{r.TraceID, r.SpanID})
		}
	}
	return links
}

func (s span) events() []Event {
	var events []Event
	for _, l := range s.Logs {
		events = append(events, Event{time.UnixMicro(l.Timestamp), l.Fields.values()})
	}
	return events
}

func (t tags) values() map[string]any {
	values := make(map[string]any, len(t))
	for _, tag := range t {
		values[tag.Key] = tag.value()
	}
	return values
}

// value has the type that the tag says: numbers of JSON have but one.
func (t tag) value() any {
	if t.Type == "int64" {
		// As text where JavaScript's numbers end, at 2^53.
		if n, err := strconv.ParseInt(strings.Trim(string(t.Value), `"`), 10, 64); err == nil {
			return n
		}
	}
	var value any
	if err := json.Unmarshal(t.Value, &value); err != nil {
		return fmt.Sprintf("undecodable %s %s", t.Type, t.Value)
	}
	return value
}
