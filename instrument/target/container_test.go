package target

import (
	"strings"
	"testing"
)

// The ids of three containers.
const (
	mine   = "7be92808767a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605"
	outer  = "f8ce76d6a4a7b3d4a5a1c1b6d2d5a47e5e1b3c7f6a9d8e7c6b5a4f3e2d1c0b9a"
	others = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// fill puts the ids into a text.
var fill = strings.NewReplacer("MINE", mine, "OUTER", outer, "OTHER", others, "\t", "")

// What /proc/PID/cgroup says of processes in containers, and beside them.
func TestContainerByCgroup(t *testing.T) {
	const burstable = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod321c09bf_282b_44e4_a467_39daf144ef1f.slice"
	for name, test := range map[string]struct{ text, want string }{
		"docker, v1, cgroupfs": {
			`13:misc:/
			12:memory:/docker/MINE
			11:cpu,cpuacct:/docker/MINE
			1:name=systemd:/docker/MINE
			0::/system.slice/containerd.service`, mine},
		"docker, v1, systemd": {
			`12:pids:/system.slice/docker-MINE.scope
			1:name=systemd:/system.slice/docker-MINE.scope
			0::/system.slice/docker-MINE.scope`, mine},
		"docker, v2, cgroupfs":       {`0::/docker/MINE`, mine},
		"docker, v2, systemd":        {`0::/system.slice/docker-MINE.scope`, mine},
		"docker, v2, rootless":       {`0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-MINE.scope`, mine},
		"docker, a parent by choice": {`0::/actions_job/MINE`, mine},
		"systemd in docker":          {`0::/system.slice/docker-MINE.scope/system.slice/cron.service`, mine},
		"beside uspan's container":   {`0::/../MINE`, mine},
		"beside uspan's, systemd":    {`0::/../../docker-MINE.scope/init.scope`, mine},

		"docker in docker, v1": {
			`13:misc:/docker/OUTER
			12:rdma:/
			11:memory:/docker/OUTER/docker/MINE
			1:name=systemd:/docker/OUTER/docker/MINE`, mine},
		"docker in docker, v1, the inner first": {
			`13:memory:/docker/OUTER/docker/MINE
			12:rdma:/docker/OUTER`, mine},
		"docker in docker, v2":      {`0::/docker/OUTER/docker/MINE`, mine},
		"docker in docker, dockerd": {`0::/docker/OUTER/init`, outer},
		"buildkit in docker":        {`0::/docker/OUTER/buildkit/kx3jcdz6k5o2jz6l8fz2y5ewt`, outer},

		"kubernetes, docker, v1, cgroupfs":     {`11:memory:/kubepods/burstable/pod1bf924dd-3f6f-11ea-983d-0abc95f90166/MINE`, mine},
		"kubernetes, docker, v1, systemd":      {`11:memory:/` + burstable + `/docker-MINE.scope`, mine},
		"kubernetes, guaranteed, v2, cgroupfs": {`0::/kubepods/pod1bf924dd-3f6f-11ea-983d-0abc95f90166/MINE`, mine},
		"kubernetes, containerd, v2, systemd":  {`0::/` + burstable + `/cri-containerd-MINE.scope`, mine},
		"kubernetes, containerd that does not know of systemd": {
			`12:freezer:/kubepods-burstable-pod321c09bf_282b_44e4_a467_39daf144ef1f.slice:cri-containerd:MINE
			5:pids:/system.slice/containerd.service/kubepods-burstable-pod321c09bf_282b_44e4_a467_39daf144ef1f.slice:cri-containerd:MINE
			0::/system.slice/containerd.service`, mine},
		"kubernetes, k3s":                     {`0::/system.slice/k3s.service/kubepods-besteffort-pod72f7f152.slice:cri-containerd:MINE`, mine},
		"kubernetes, cri-o, v1, systemd":      {`9:memory:/` + burstable + `/crio-MINE.scope`, mine},
		"kubernetes, cri-o, v1, cgroupfs":     {`9:memory:/kubepods/besteffort/pod1bf924dd-3f6f-11ea-983d-0abc95f90166/crio-MINE`, mine},
		"kubernetes, cri-o, v2, crun":         {`0::/` + burstable + `/crio-MINE.scope/container`, mine},
		"kubernetes, cri-o, conmon":           {`0::/` + burstable + `/crio-conmon-MINE.scope`, ""},
		"kubernetes, cri-o, conmon, cgroupfs": {`9:memory:/kubepods/besteffort/pod1bf924dd-3f6f-11ea-983d-0abc95f90166/crio-conmon-MINE`, ""},
		"kubernetes, beside uspan's pod":      {`0::/../../kubepods-besteffort-pod72f7f152_440c_66ac_9084_e0fc1d8a910c.slice/cri-containerd-MINE.scope`, mine},
		"kubernetes, the pod's own cgroup":    {`0::/` + burstable, ""},
		"kind, a pod":                         {`0::/system.slice/docker-OUTER.scope/kubelet.slice/kubelet-` + burstable + `/cri-containerd-MINE.scope`, mine},
		"kind, v1, a pod":                     {`11:memory:/docker/OUTER/kubelet/kubepods/besteffort/pod1bf924dd-3f6f-11ea-983d-0abc95f90166/MINE`, mine},
		"kind, the kubelet":                   {`0::/docker/OUTER/kubelet.slice/kubelet.service`, outer},
		"kind, cri-o, conmon":                 {`0::/docker/OUTER/kubelet.slice/crio-conmon-MINE.scope`, outer},

		"containerd, nerdctl":           {`0::/system.slice/nerdctl-MINE.scope`, mine},
		"containerd, nerdctl, rootless": {`0::/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-MINE.scope`, mine},
		"containerd, nerdctl, cgroupfs": {`4:memory:/default/MINE`, mine},

		"podman, v1, systemd":     {`10:memory:/machine.slice/libpod-MINE.scope`, mine},
		"podman, v1, cgroupfs":    {`10:memory:/libpod_parent/libpod-MINE`, mine},
		"podman, v2":              {`0::/machine.slice/libpod-MINE.scope`, mine},
		"podman, v2, crun":        {`0::/machine.slice/libpod-MINE.scope/container`, mine},
		"podman, rootless":        {`0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-MINE.scope/container`, mine},
		"podman, a pod":           {`0::/machine.slice/machine-libpod_pod_OTHER.slice/libpod-MINE.scope/container`, mine},
		"podman, a pod, cgroupfs": {`10:memory:/libpod_parent/OTHER/libpod-MINE`, mine},
		"podman, split cgroups":   {`0::/system.slice/shop.service/libpod-payload-MINE`, mine},
		"podman, its service":     {`0::/system.slice/shop.service/runtime`, ""},
		"podman, conmon":          {`0::/machine.slice/libpod-conmon-MINE.scope`, ""},
		"podman, a pod's conmon":  {`0::/machine.slice/machine-libpod_pod_OTHER.slice/libpod-conmon-MINE.scope`, ""},

		"ECS":                {`9:perf_event:/ecs/55091c13-b8cf-4801-b527-f4601742204d/MINE`, mine},
		"ECS, task by 32":    {`9:perf_event:/ecs/c23e5f76c09d438aa1824ca4058bdcab/MINE`, mine},
		"ECS, v2":            {`0::/ecstasks.slice/ecstasks-c23e5f76c09d438aa1824ca4058bdcab.slice/docker-MINE.scope`, mine},
		"Fargate":            {`2:memory:/ecs/c23e5f76c09d438aa1824ca4058bdcab/c23e5f76c09d438aa1824ca4058bdcab-1234678901`, "c23e5f76c09d438aa1824ca4058bdcab-1234678901"},
		"Fargate, a task":    {`2:memory:/ecs/c23e5f76c09d438aa1824ca4058bdcab`, ""},
		"like Fargate":       {`2:memory:/batch/c23e5f76c09d438aa1824ca4058bdcab/c23e5f76c09d438aa1824ca4058bdcab-1234678901`, ""},
		"Fargate, no number": {`2:memory:/ecs/c23e5f76c09d438aa1824ca4058bdcab/c23e5f76c09d438aa1824ca4058bdcab-sidecar`, ""},

		"a cgroup namespace":     {`0::/`, ""},
		"a cgroup namespace, v1": {"12:memory:/\n11:cpu,cpuacct:/\n1:name=systemd:/\n0::/", ""},
		"the host, a service":    {`0::/system.slice/docker.service`, ""},
		"the host, a session":    {`0::/user.slice/user-1000.slice/session-3.scope`, ""},
		"the host, a mount":      {`0::/system.slice/var-lib-docker-containers-MINE-mounts-shm.mount`, ""},
		"too short":              {`0::/docker/7be92808767a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d60`, ""},
		"too long":               {`0::/docker/aMINE`, ""},
		"not hexadecimal":        {`0::/docker/x` + mine[1:], ""},
		"a colon in a name":      {`0::/system.slice/a:b/MINE`, mine},
		"nothing":                {"", ""},
	} {
		if got := containerByCgroup(fill.Replace(test.text + "\n")); got != test.want {
			t.Errorf("%s: container %q, not %q", name, got, test.want)
		}
	}
}

// Within a cgroup namespace that uspan shares, /proc/PID/mountinfo says more.
func TestContainerByMounts(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"docker": {
			`1209 1186 0:57 / / rw,relatime master:398 - overlay overlay rw,upperdir=/var/lib/docker/overlay2/OTHER/diff,workdir=/var/lib/docker/overlay2/OTHER/work
			1223 1213 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
			1225 1209 8:1 /var/lib/docker/volumes/OTHER/_data /data rw,relatime master:1 - ext4 /dev/sda1 rw
			1226 1209 8:1 /var/lib/docker/containers/MINE/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw
			1227 1209 8:1 /var/lib/docker/containers/MINE/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
			1228 1209 8:1 /var/lib/docker/containers/MINE/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw`, mine},
		"docker, /var/lib of its own":      {`678 655 254:1 /docker/containers/MINE/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw`, mine},
		"docker, a file system of its own": {`678 655 254:1 /containers/MINE/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw`, mine},
		"docker, btrfs":                    {`678 655 0:30 /@/var/lib/docker/containers/MINE/hostname /etc/hostname rw,relatime - btrfs /dev/vda1 rw,subvol=/@`, mine},
		"docker, snap":                     {`678 655 8:1 /var/snap/docker/common/var-lib-docker/containers/MINE/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw`, mine},
		"docker, SELinux":                  {`678 655 253:0 /var/lib/docker/containers/MINE/hostname /etc/hostname rw,relatime - xfs /dev/mapper/rhel-root rw,seclabel,attr2`, mine},
		"docker, name of the host":         {`678 655 8:1 /etc/hostname /etc/hostname ro,relatime - ext4 /dev/sda1 rw`, ""},
		"docker, all containers": {`678 655 8:1 /var/lib/docker/containers /var/lib/docker/containers ro,relatime - ext4 /dev/sda1 rw
			679 655 8:1 /var/lib/docker/containers/OTHER/hostname /var/lib/other/hostname ro,relatime - ext4 /dev/sda1 rw`, ""},
		"nerdctl":           {`678 655 8:1 /var/lib/nerdctl/1935db59/containers/default/MINE/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw`, mine},
		"nerdctl, rootless": {`678 655 8:1 /home/u/.local/share/nerdctl/1935db59/containers/finch/MINE/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw`, mine},
		"podman": {
			`743 738 0:85 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
			744 735 0:24 /containers/storage/overlay-containers/MINE/userdata/.containerenv /run/.containerenv rw,relatime - tmpfs tmpfs rw,size=3262508k,mode=755,inode64
			745 735 0:24 /containers/storage/overlay-containers/MINE/userdata/hostname /etc/hostname rw,relatime - tmpfs tmpfs rw,size=3262508k,mode=755,inode64`, mine},
		"podman, rootless, a name by choice": {
			`494 499 0:30 /home/u/name /etc/hostname rw,relatime - btrfs /dev/sda1 rw
			495 499 0:54 /containers/overlay-containers/MINE/userdata/.containerenv /run/.containerenv rw,nosuid,nodev,relatime - tmpfs tmpfs rw,mode=700,uid=1000,gid=1000,inode64
			496 499 0:54 /containers/overlay-containers/MINE/userdata/run/secrets /run/secrets rw,nosuid,nodev,relatime - tmpfs tmpfs rw,mode=700,uid=1000,gid=1000,inode64`, mine},
		"podman, vfs": {`745 735 0:24 /containers/storage/vfs-containers/MINE/userdata/hostname /etc/hostname rw,relatime - tmpfs tmpfs rw`, mine},

		// Of a pod these are the sandbox's, and nothing else has the container's id.
		"kubernetes, containerd": {
			`2021 2002 253:1 /var/lib/kubelet/pods/321c09bf-282b-44e4-a467-39daf144ef1f/etc-hosts /etc/hosts rw,relatime - xfs /dev/mapper/root rw
			2022 2004 253:1 /var/lib/kubelet/pods/321c09bf-282b-44e4-a467-39daf144ef1f/containers/accountingservice/82b03b66 /dev/termination-log rw,relatime - xfs /dev/mapper/root rw
			2023 2002 253:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/OTHER/hostname /etc/hostname rw,relatime - xfs /dev/mapper/root rw`, ""},
		"kubernetes, containerd alone": {`2023 2002 253:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/OTHER/hostname /etc/hostname rw,relatime - xfs /dev/mapper/root rw`, ""},
		"kubernetes, cri-o": {
			`10312 10303 0:25 /containers/storage/overlay-containers/OTHER/userdata/hostname /etc/hostname rw,nosuid,nodev master:15 - tmpfs tmpfs rw,seclabel
			10313 10303 0:25 /containers/storage/overlay-containers/OTHER/userdata/.containerenv /run/.containerenv rw,nosuid,nodev master:15 - tmpfs tmpfs rw,seclabel
			10314 10303 252:4 /ostree/deploy/rhcos/var/lib/kubelet/pods/0a947273-7214-4824-8411-875ebd7626e4/etc-hosts /etc/hosts rw,relatime - xfs /dev/vda4 rw,seclabel`, ""},
		"kubernetes, docker": {
			`816 625 259:1 /var/lib/docker/containers/OTHER/hostname /etc/hostname rw,noatime - xfs /dev/nvme0n1p1 rw
			817 625 259:1 /var/lib/kubelet/pods/1bf924dd-3f6f-11ea-983d-0abc95f90166/etc-hosts /etc/hosts rw,noatime - xfs /dev/nvme0n1p1 rw`, ""},
		"kubernetes, the kubelet's directory of its own": {
			`816 625 259:1 /var/lib/docker/containers/OTHER/hostname /etc/hostname rw,noatime - xfs /dev/nvme0n1p1 rw
			817 625 259:2 /pods/1bf924dd-3f6f-11ea-983d-0abc95f90166/etc-hosts /etc/hosts rw,noatime - xfs /dev/nvme0n1p2 rw`, ""},
		"kubernetes, with hosts by choice": {
			`816 625 259:1 /var/lib/docker/containers/OTHER/hostname /etc/hostname rw,noatime - xfs /dev/nvme0n1p1 rw
			760 687 259:2 /pods/1bf924dd-3f6f-11ea-983d-0abc95f90166/containers/cockroachdb/3e868c1f /dev/termination-log rw,noatime - xfs /dev/nvme0n1p2 rw`, ""},

		"the host": {
			`22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
			90 22 0:44 / /var/lib/docker/overlay2/MINE/merged rw,relatime shared:50 - overlay overlay rw,upperdir=/var/lib/docker/overlay2/MINE/diff
			91 22 0:45 / /var/lib/docker/containers/MINE/mounts/shm rw,nosuid,nodev,noexec,relatime shared:51 - tmpfs shm rw,size=65536k`, ""},
		"an id that is none": {`678 655 8:1 /var/lib/docker/containers/7aeb3f90ee0d/hostname /etc/hostname rw,relatime - ext4 /dev/sde rw`, ""},
		"nothing":            {"", ""},
	} {
		if got := containerByMounts(fill.Replace(test.text + "\n")); got != test.want {
			t.Errorf("%s: container %q, not %q", name, got, test.want)
		}
	}
}
