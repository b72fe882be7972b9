package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// The size of the browser's window in pixels, and how long pprof and the page may take.
const (
	flameWidth, flameHeight = 1000, 310

	pageTimeout = time.Minute
)

// drawFlameGraph writes the page of `go tool pprof` with the flame graph of a profile,
// as a browser without a window shows it.
func drawFlameGraph(w io.Writer, profile string) (err error) {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	server := exec.Command("go", "tool", "pprof", "-http", address, "-no_browser", profile)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // pprof is a child of go
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, syscall.Kill(-server.Process.Pid, syscall.SIGKILL))
		_ = server.Wait() // killed
	}()
	page := "http://" + address + "/ui/flamegraph"
	if err := await(page); err != nil {
		return err
	}
	picture, err := screenshot(page)
	if err != nil {
		return err
	}
	_, err = w.Write(picture)
	return err
}

// freeAddress is one of the loopback that nobody listens at.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await waits until a page is there.
func await(page string) error {
	for until := time.Now().Add(pageTimeout); ; time.Sleep(50 * time.Millisecond) {
		answer, err := http.Get(page)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s: %w", page, err)
		}
	}
}

// screenshot is a page as Chromium draws it, in PNG.
func screenshot(page string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "picture-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "page.png")
	browser := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
		"--user-data-dir="+dir, fmt.Sprintf("--window-size=%d,%d", flameWidth, flameHeight),
		"--virtual-time-budget=5000", "--screenshot="+file, page)
	if output, err := browser.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("chromium: %w\n%s", err, output)
	}
	return os.ReadFile(file)
}
