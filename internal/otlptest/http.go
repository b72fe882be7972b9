package otlptest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

const contentType = "application/x-protobuf"

// ServeHTTP is OTLP over HTTP, on every path: tests look at Request.Path.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost || request.Header.Get("Content-Type") != contentType {
		respond(w, http.StatusUnsupportedMediaType, &spb.Status{Message: "want a POST of " + contentType})
		return
	}
	wire, err := io.ReadAll(request.Body)
	if err != nil {
		return // the client has gone
	}
	body := wire
	if request.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gunzip(wire); err != nil {
			respond(w, http.StatusBadRequest, &spb.Status{Message: err.Error()})
			return
		}
	}
	message := &coltracepb.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(body, message); err != nil {
		respond(w, http.StatusBadRequest, &spb.Status{Message: err.Error()})
		return
	}
	answer, err := r.take(request.Context(), message, Request{
		Bytes: len(body), Wire: len(wire), Path: request.URL.Path, headers: request.Header,
	})
	var special response
	switch {
	case errors.As(err, &special):
		special(w, request)
	case err != nil:
		respond(w, http.StatusInternalServerError, &spb.Status{Message: err.Error()})
	default:
		respond(w, http.StatusOK, answer)
	}
}

func gunzip(wire []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(wire))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

func respond(w http.ResponseWriter, status int, message proto.Message) {
	body, err := proto.Marshal(message)
	if err != nil {
		panic(err) // a message of this package's own
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
