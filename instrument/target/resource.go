package target

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/uspan/uspan/instrument/span"
)

// A Description is what a Resource says that the process itself does not.
type Description struct {
	// Build is the build information of the executable, or nil.
	Build *debug.BuildInfo
	// Version is uspan's own version.
	Version string
	// Attributes win over all others, of the same key.
	Attributes []span.Attribute
}

// Resource says who the process is, in OpenTelemetry's semantic conventions; each
// key once, ascending. It may be called when the process has ended. What was
// read when it was opened decides, in this order: d.Attributes,
// OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, what uspan found out.
//
// The resource is never nil. The error says what is missing of it: a file of
// /proc that was not readable, an OTEL_RESOURCE_ATTRIBUTES that is malformed
// and was ignored, as the specification of resource SDKs has it.
func (p *Process) Resource(d Description) (*span.Resource, error) {
	return describe(p.pid, p.exe.path, p.who, d)
}

// An Ended is what may be known of a process that ended before it was opened.
type Ended struct {
	// PID is the process id as uspan sees it.
	PID int
	// ExePath is the name of the executable.
	ExePath string
	// Told is what the kernel side has told of it, or nil.
	Told *Told
}

// Resource is like Process's, without what only the living process could tell: its
// container; and without what Told has not got. The error says what is missing.
func (e Ended) Resource(d Description) (*span.Resource, error) {
	var who identity
	if e.Told == nil {
		who.unread = errors.New("it had ended before it was looked at: its environment, its container and its host are not known")
	} else {
		who = e.Told.identity()
		who.unread = errors.Join(errors.New("it had ended before it was looked at: its container is not known"), e.Told.unread())
	}
	return describe(e.PID, e.ExePath, who, d)
}

func describe(pid int, path string, who identity, d Description) (*span.Resource, error) {
	base := filepath.Base(path)
	attributes := make(map[string]any)
	set := func(key, value string) {
		if value != "" {
			attributes[key] = value
		}
	}
	set("service.name", base)
	set("service.instance.id", who.instance)
	if who.pid != 0 {
		attributes["process.pid"] = int64(who.pid)
	}
	set("process.executable.name", base)
	set("process.executable.path", path)
	set("process.runtime.name", "go")
	set("host.name", who.host)
	set("container.id", who.container)
	set("telemetry.distro.name", "uspan")
	set("telemetry.distro.version", d.Version)
	if b := d.Build; b != nil {
		set("process.runtime.version", b.GoVersion)
		if b.Main.Version != "(devel)" {
			set("service.version", b.Main.Version)
		}
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				set("vcs.ref.head.revision", s.Value)
			}
		}
	}

	given, err := parseAttributes(who.variables.resourceAttributes)
	if err != nil {
		err = fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES of process %d is ignored: %w", pid, err)
	}
	for _, a := range given {
		attributes[a.Key] = a.Value
	}
	set("service.name", who.variables.serviceName)
	for _, a := range d.Attributes {
		attributes[a.Key] = a.Value
	}

	r := &span.Resource{PID: pid, Executable: base}
	for key, value := range attributes {
		// OTLP's strings are UTF-8, and one that is not would cost the whole
		// batch; paths and environments may be anything.
		if s, ok := value.(string); ok {
			value = strings.ToValidUTF8(s, string(utf8.RuneError))
		}
		r.Attributes = append(r.Attributes, span.Attribute{Key: key, Value: value})
	}
	slices.SortFunc(r.Attributes, func(a, b span.Attribute) int { return strings.Compare(a.Key, b.Key) })
	return r, errors.Join(who.unread, err)
}

// parseAttributes parses a value of OTEL_RESOURCE_ATTRIBUTES: KEY=VALUE,…, keys
// and values percent-encoded. Of one error the whole value is void
// (OpenTelemetry specification, Resource SDK, "Specifying resource information
// via an environment variable").
func parseAttributes(text string) ([]span.Attribute, error) {
	var attributes []span.Attribute
	for pair := range strings.SplitSeq(text, ",") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("%q has no value", pair)
		}
		key, err := decode(key)
		if err != nil {
			return nil, err
		}
		if key == "" {
			return nil, fmt.Errorf("%q has no key", pair)
		}
		value, err = decode(value)
		if err != nil {
			return nil, fmt.Errorf("value of %s: %w", key, err)
		}
		attributes = append(attributes, span.Attribute{Key: key, Value: value})
	}
	return attributes, nil
}

func decode(text string) (string, error) {
	decoded, err := url.PathUnescape(strings.TrimSpace(text))
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(decoded) {
		return "", fmt.Errorf("%q is not UTF-8", text)
	}
	return decoded, nil
}
