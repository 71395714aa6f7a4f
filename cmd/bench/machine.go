package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Machine is where the client of a run was.
type Machine struct {
	Cores    int    `json:"cores"`
	CPU      string `json:"cpu"`
	Platform string `json:"platform"`
	Go       string `json:"go"`
	Commit   string `json:"commit"`
}

func thisMachine() Machine {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		model = cpuModel(string(text), model)
	}
	return Machine{
		Cores: runtime.NumCPU(), CPU: model, Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Commit: Commit(),
	}
}

func cpuModel(cpuinfo, unknown string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

// Commit returns the commit this program was built from, with "+changes" behind
// it if the tree had any; "unknown" where the build did not say.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changes := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changes = "+changes"
		}
	}
	return revision + changes
}
