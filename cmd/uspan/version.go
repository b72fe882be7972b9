package main

import "runtime/debug"

// release and revision are set by the linker where there is no repository that says
// them: see Dockerfile.
var release, revision string

// version is what the build was told, or the module's version where uspan was
// installed as a module, else the revision that it was built from.
func version() string {
	if release != "" && release != "devel" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	switch {
	case revision != "":
		return devel(revision)
	case !ok:
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return devel(setting.Value)
		}
	}
	return "devel"
}

func devel(revision string) string { return "devel+" + revision[:min(12, len(revision))] }
