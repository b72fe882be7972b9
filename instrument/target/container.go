package target

import (
	"os"
	"path"
	"strings"
)

// ContainerOf is the id of the container that a process runs in, or nothing. The
// innermost of nested containers is meant.
func ContainerOf(pid int) string {
	if text, err := os.ReadFile(procPath(pid, "cgroup")); err == nil {
		if id := containerByCgroup(string(text)); id != "" {
			return id
		}
	}
	// Within a cgroup namespace that uspan shares, the path says nothing.
	text, err := os.ReadFile(procPath(pid, "mountinfo"))
	if err != nil {
		return ""
	}
	return containerByMounts(string(text))
}

// containerByCgroup finds the innermost id. A hierarchy of version 1 that an inner
// container's runtime does not know, as misc or rdma, has the outer one's alone.
func containerByCgroup(text string) string {
	var id string
	deepest := -1
	for _, c := range parseCgroups(text) {
		segments := strings.Split(c.path, "/")
		for i := len(segments) - 1; i > deepest; i-- {
			name, ok := containerName(segments[i])
			// /ecs/TASK/TASK-NUMBER: what the metadata of Fargate tasks calls
			// the container's id.
			if !ok && i >= 2 && segments[i-2] == "ecs" && isFargate(segments[i]) {
				name, ok = segments[i], true
			}
			if ok {
				id, deepest = name, i
			}
		}
	}
	return id
}

// idLength is the number of hexadecimal digits of a container's id.
const idLength = 64

// containerName returns the id in the name of a container's cgroup: alone
// (docker, containerd), behind the runtime's name (docker-, crio-, nerdctl-,
// cri-containerd-, libpod-, libpod-payload-), with .scope where systemd manages
// the cgroups, or behind a slice and the runtime's name (SLICE:cri-containerd:ID).
// The processes that watch a container (crio-conmon-, libpod-conmon-) have cgroups
// of like names and are not in it.
func containerName(name string) (id string, ok bool) {
	name = strings.TrimSuffix(name, ".scope")
	if len(name) < idLength {
		return "", false
	}
	runtime, id := name[:len(name)-idLength], name[len(name)-idLength:]
	if !isHex(id) || strings.HasSuffix(runtime, "conmon-") {
		return "", false
	}
	if runtime != "" && !strings.HasSuffix(runtime, "-") && !strings.HasSuffix(runtime, ":") {
		return "", false
	}
	return id, true
}

func isFargate(name string) bool {
	task, number, ok := strings.Cut(name, "-")
	return ok && len(task) == 32 && isHex(task) && number != "" && strings.Trim(number, "0123456789") == ""
}

func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

// containerByMounts finds the id in the source of the files that docker, nerdctl
// and podman mount into a container. In a pod of Kubernetes these belong to the
// pod's sandbox, and the id would be another container's. (So it is in a container
// that docker runs with --network container:OTHER, which nothing in there tells.)
func containerByMounts(text string) string {
	var id string
	for _, m := range parseMounts(text) {
		if inPod(m) {
			return ""
		}
		if m.point != "/etc/hostname" && m.point != "/run/.containerenv" {
			continue
		}
		// …/containers/ID/hostname, …/overlay-containers/ID/userdata/hostname,
		// nerdctl/…/containers/NAMESPACE/ID/hostname
		kind, name := path.Split(strings.TrimSuffix(path.Dir(m.root), "/userdata"))
		ofContainers := strings.HasSuffix(kind, "containers/") || strings.HasSuffix(path.Dir(path.Clean(kind)), "/containers")
		if ofContainers && len(name) == idLength && isHex(name) {
			id = name
		}
	}
	return id
}

// inPod says whether it is the kubelet or its runtime that mounted this.
func inPod(m mount) bool {
	return strings.Contains(m.root, "/kubelet/pods/") || strings.Contains(m.root, "/sandboxes/") ||
		m.point == "/dev/termination-log" ||
		m.point == "/etc/hosts" && path.Base(m.root) == "etc-hosts" // pods/UID/etc-hosts, wherever the kubelet keeps them
}
