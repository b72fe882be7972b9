package main

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// libraryDirs are where Debian keeps libraries, its own and those for compiling
// for other machines (libc6-arm64-cross).
var libraryDirs = map[string][]string{
	"amd64": {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/x86_64-linux-gnu/lib"},
	"arm64": {"/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib", "/usr/aarch64-linux-gnu/lib"},
}

// addLibraries adds what a dynamically linked program loads: its interpreter
// where it looks for that, the rest beside it.
func (r *root) addLibraries(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	defer f.Close()
	var names []string
	if section := f.Section(".interp"); section != nil {
		data, err := section.Data()
		if err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		interpreter := strings.TrimRight(string(data), "\x00")
		if r.files[interpreter], err = r.library(filepath.Base(interpreter)); err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
	}
	names, err = f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	for _, name := range names {
		path := filepath.Join("/usr/lib", name) // where every loader looks
		if r.files[path] != "" {
			continue
		}
		if r.files[path], err = r.library(name); err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		if err := r.addLibraries(r.files[path]); err != nil {
			return err
		}
	}
	return nil
}

// library finds a library on this side.
func (r *root) library(name string) (string, error) {
	for _, dir := range libraryDirs[r.arch] {
		if path, err := filepath.EvalSymlinks(filepath.Join(dir, name)); err == nil {
			if arch, err := architecture(path); err == nil && arch == r.arch {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("no %s for %s here: %w", name, r.arch, os.ErrNotExist)
}
