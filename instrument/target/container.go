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

func containerByCgroup(text string) string {
	for _, c := range parseCgroups(text) {
		segments := strings.Split(c.path, "/")
		for i := len(segments) - 1; i >= 0; i-- {
			if id, ok := containerName(segments[i]); ok {
				return id
			}
			// /ecs/TASK/TASK-NUMBER: what the metadata of Fargate tasks calls
			// the container's id.
			if i >= 2 && segments[i-2] == "ecs" && isFargate(segments[i]) {
				return segments[i]
			}
		}
	}
	return ""
}

// idLength is the number of hexadecimal digits of a container's id.
const idLength = 64

// containerName returns the id in the name of a container's cgroup: alone
// (docker, containerd) or behind the runtime's name (docker-, crio-,
// cri-containerd-, libpod-) with .scope, where systemd manages the cgroups, or
// behind a slice and the runtime's name (SLICE:cri-containerd:ID). The processes
// that watch a container (crio-conmon-, libpod-conmon-) have cgroups of like
// names and are not in it.
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

// containerByMounts finds the id in the source of the files that docker and
// podman mount into a container. In a pod of Kubernetes these belong to the
// pod's sandbox, and the id would be another container's.
func containerByMounts(text string) string {
	var id string
	for _, m := range parseMounts(text) {
		if strings.Contains(m.root, "/kubelet/pods/") || strings.Contains(m.root, "/sandboxes/") {
			return ""
		}
		if m.point != "/etc/hostname" && m.point != "/run/.containerenv" {
			continue
		}
		// …/containers/ID/hostname, …/overlay-containers/ID/userdata/hostname
		dir := strings.TrimSuffix(path.Dir(m.root), "/userdata")
		kind, name := path.Split(dir)
		if strings.HasSuffix(kind, "containers/") && len(name) == idLength && isHex(name) {
			id = name
		}
	}
	return id
}
