package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bpfRuntime is a flag of dockerd for the runtime "bpf": runc, with CAP_BPF and
// CAP_PERFMON in the place of CAP_SYS_ADMIN. From Docker 23 on --cap-add can name
// these, and lets the system calls through that go with them.
func bpfRuntime(t *testing.T) string {
	t.Helper()
	runc, err := exec.LookPath("runc")
	if err != nil {
		noDocker(t, "needs runc")
	}
	path := filepath.Join(t.TempDir(), "runc-bpf")
	write(t, path, `#!/bin/sh
before=
for argument; do
	if [ "$before" = --bundle ]; then
		sed -i 's/"CAP_SYS_ADMIN"/"CAP_BPF","CAP_PERFMON"/g' "$argument/config.json"
	fi
	before=$argument
done
exec `+runc+` "$@"
`)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return "--add-runtime=bpf=" + path
}
