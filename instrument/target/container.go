package target

import (
	"os"
	"regexp"
	"strings"
)

// Names by which container runtimes call the cgroup of a container. All but
// Fargate's take the 64 hexadecimal digits of the container's id, alone
// (docker, containerd under cgroupfs), behind the runtime's name (docker-,
// crio-, cri-containerd-, libpod-), or, with systemd names under cgroupfs,
// behind a slice and the runtime's name (…slice:cri-containerd:).
var (
	containerName  = regexp.MustCompile(`^(?:.*:)?([a-z-]*-)?([0-9a-f]{64})(?:\.scope)?$`)
	fargateName    = regexp.MustCompile(`^[0-9a-f]{32}-[0-9]+$`)
	dockerMount    = regexp.MustCompile(`/containers/([0-9a-f]{64})/hostname$`)
	podmanMount    = regexp.MustCompile(`/overlay-containers/([0-9a-f]{64})/userdata/(?:hostname|\.containerenv)$`)
	kubernetesPath = regexp.MustCompile(`/kubelet/pods/|/sandboxes/[0-9a-f]{64}/`)
)

// containerOf is the id of the container that a process runs in, or nothing. The
// innermost of nested containers is meant.
func containerOf(pid int) string {
	if text, err := os.ReadFile(procPath(pid, "cgroup")); err == nil {
		if id := containerByCgroup(string(text)); id != "" {
			return id
		}
	}
	// With a cgroup namespace that uspan shares the path says nothing.
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
			if id := containerSegment(segments, i); id != "" {
				return id
			}
		}
	}
	return ""
}

// containerSegment returns the id that one segment of a cgroup's path names. The
// processes that watch a container (conmon) have cgroups of like names, and are
// not in it.
func containerSegment(segments []string, i int) string {
	if m := containerName.FindStringSubmatch(segments[i]); m != nil && !strings.HasSuffix(m[1], "conmon-") {
		return m[2]
	}
	// /ecs/TASK/TASK-NUMBER: the metadata of Fargate tasks calls that the
	// container's id.
	if i >= 2 && segments[i-2] == "ecs" && fargateName.MatchString(segments[i]) {
		return segments[i]
	}
	return ""
}

// containerByMounts finds the id in the source of the files that docker and
// podman mount into a container. In a pod of Kubernetes these belong to the
// pod's sandbox, and the id would be another container's.
func containerByMounts(text string) string {
	var id string
	for _, m := range parseMounts(text) {
		if kubernetesPath.MatchString(m.root) {
			return ""
		}
		if m.point != "/etc/hostname" && m.point != "/run/.containerenv" {
			continue
		}
		for _, name := range []*regexp.Regexp{dockerMount, podmanMount} {
			if found := name.FindStringSubmatch(m.root); found != nil {
				id = found[1]
			}
		}
	}
	return id
}
