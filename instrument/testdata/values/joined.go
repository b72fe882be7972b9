//go:build go1.20

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// mainJoined are errors that consist of several.
func mainJoined() []error {
	long := errors.New(strings.Repeat("long", 50))
	notFound := &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrNotExist}
	many := make([]error, 17)
	for i := range many {
		many[i] = io.EOF
	}
	return []error{
		errors.Join(io.EOF, notFound),
		errors.Join(io.EOF, errors.Join(io.ErrNoProgress, io.ErrShortWrite)),
		fmt.Errorf("%w, and %w", io.EOF, notFound),
		&fs.PathError{Op: "read", Path: "/y", Err: errors.Join(io.EOF, io.ErrShortBuffer)},
		errors.Join(long, io.EOF),
		errors.Join(io.EOF, &codeErr{500, "custom"}),
		errors.Join(many...),
	}
}
