package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// String is the plan for people to read. It names no hidden model and shows
// no value of the environment.
func (p Plan) String() string {
	var t text
	t.line("image", "%s", p.Base)
	for i, layer := range p.Layers {
		t.line(fmt.Sprintf("  layer %d", i+1), "%s", layer.Title)
		t.detail(layer.Commands...)
	}
	for _, layer := range p.Downloader {
		t.line("downloader", "%s", p.Base)
		t.detail(layer.Commands...)
	}
	t.line("machine", "%s", p.machine())
	t.line("network", "%s", p.network())
	for _, port := range p.Ports {
		t.line("port", "%d (%s)", port.Number, port.Purpose)
	}
	t.line("lifetime", "%s", p.lifetime())
	t.list("env", slices.Sorted(maps.Keys(p.Env)))
	t.list("secrets", p.Secrets)
	for _, key := range slices.Sorted(maps.Keys(p.Tags)) {
		t.line("tag", "%s=%s", key, p.Tags[key])
	}
	for i, volume := range p.Volumes {
		t.line("model", "%s", volume.describe(i))
	}
	for _, repo := range p.Repos {
		t.line("repo", "%s -> %s", repo.version(), repo.Target)
	}
	for _, mount := range p.Files {
		t.line("copy", "%s -> %s", mount.Source, mount.Target)
	}
	t.line("steps", "")
	for _, step := range p.Steps {
		needs := ""
		if len(step.Needs) > 0 {
			needs = " after " + strings.Join(step.Needs, ", ")
		}
		t.line("  "+step.ID, "%s%s", step.Title, needs)
	}
	return t.String()
}

type text struct{ strings.Builder }

func (t *text) line(name, format string, args ...any) {
	value := fmt.Sprintf(format, args...)
	t.WriteString(strings.TrimRight(fmt.Sprintf("%-14s %s", name, value), " ") + "\n")
}

func (t *text) list(name string, values []string) {
	if len(values) > 0 {
		t.line(name, "%s", strings.Join(values, ", "))
	}
}

func (t *text) detail(lines ...string) {
	for _, line := range lines {
		t.WriteString("    " + line + "\n")
	}
}

func (p Plan) machine() string {
	parts := []string{"CPU only"}
	if p.GPU != "" {
		parts[0] = fmt.Sprintf("%d x %s", p.GPUCount, p.GPU)
	}
	if p.CPU > 0 {
		parts = append(parts, fmt.Sprintf("%g cores", p.CPU))
	}
	if p.MemoryMiB > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB", p.MemoryMiB))
	}
	if len(p.Regions) > 0 {
		parts = append(parts, "in "+strings.Join(p.Regions, " or "))
	}
	if p.Docker {
		parts = append(parts, "with Docker")
	}
	return strings.Join(parts, ", ")
}

func (p Plan) network() string {
	switch {
	case p.Blocked:
		return "blocked"
	case p.CIDRs != nil && len(p.CIDRs) == 0:
		return "no address at all"
	case len(p.CIDRs) > 0:
		return "only " + strings.Join(p.CIDRs, ", ")
	default:
		return "open"
	}
}

func (p Plan) lifetime() string {
	parts := []string{"at most " + p.Timeout.String()}
	for _, end := range []struct {
		after time.Duration
		words string
	}{{p.Idle, "idle"}, {p.Lease, "without its program"}} {
		if end.after > 0 {
			parts = append(parts, fmt.Sprintf("%v %s", end.after, end.words))
		}
	}
	return strings.Join(parts, ", or ")
}

func (v Volume) describe(i int) string {
	if v.Hidden {
		return fmt.Sprintf("(hidden %d) for %s", i+1, strings.Join(v.Variables, ", "))
	}
	description := v.Repository
	if v.Revision != "" {
		description += "@" + v.Revision
	}
	if len(v.Include) > 0 {
		description += " with " + strings.Join(v.Include, " ")
	}
	if len(v.Exclude) > 0 {
		description += " without " + strings.Join(v.Exclude, " ")
	}
	return description + " for " + strings.Join(v.Variables, ", ")
}

func (r Repo) version() string {
	version := r.URL
	if r.Branch != "" {
		version += " " + r.Branch
	}
	if r.Commit != "" {
		version += " " + r.Commit
	}
	return version
}
