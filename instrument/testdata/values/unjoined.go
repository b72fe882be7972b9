//go:build !go1.20

package main

// mainJoined would be errors that consist of several, which there are none of.
//
//go:noinline
func mainJoined() []error { return nil }
