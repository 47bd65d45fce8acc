package seer

import (
	"fmt"
	"strings"
)

// String is the plan for people to read.
func (p *Plan) String() string {
	var t planText
	t.line("image", "%s", p.Base)
	for i, layer := range p.Layers {
		t.line(fmt.Sprintf("  layer %d", i+1), "%s (cached: %s)", layer.Title, layer.Cached)
	}
	for _, m := range p.Models {
		t.line("model", "%s", m)
		for _, left := range leftOutByReason(m.LeftOut) {
			t.line("  left out", "%s", left)
		}
	}
	for _, r := range p.Repos {
		t.line("repo", "%s", r)
	}
	for _, m := range p.Files {
		t.line("copy", "%s -> %s", m.Source, m.Target)
	}
	for _, port := range p.Ports {
		t.line("port", "%d (%s)", port.Number, port.Purpose)
	}
	if len(p.Variables) > 0 {
		t.line("variables", "%s", strings.Join(p.Variables, ", "))
	}
	for i, step := range p.Steps {
		after := ""
		if len(step.After) > 0 {
			after = ", after " + strings.Join(step.After, ", ")
		}
		t.line(fmt.Sprintf("step %d", i+1), "%s%s", step.Title, after)
	}
	t.line("machine", "%s", p.GPU)
	t.line("ends", "after %s at the latest", formatDuration(p.Timeout))
	t.line("cost", "%s", p.Cost)
	return t.String()
}

type planText struct{ strings.Builder }

func (t *planText) line(name, format string, args ...any) {
	fmt.Fprintf(t, "%-11s %s\n", name, fmt.Sprintf(format, args...))
}

// String is the model in one line.
func (m PlanModel) String() string {
	text := m.Name
	if m.Revision != "" {
		text += "@" + m.Revision[:min(12, len(m.Revision))]
	}
	text += " for " + strings.Join(m.Variables, ", ")
	switch {
	case m.Cached == PlanYes && m.Problem == "":
		return text + fmt.Sprintf(": %d files, %s, cached", m.Files, formatSize(m.Bytes))
	case m.Cached == PlanYes:
		return text + ": cached; the hub says: " + m.Problem
	case m.Problem != "":
		return text + ": " + m.Problem
	case m.Cached == PlanNo:
		return text + fmt.Sprintf(": %d files, %s to fetch from %s", m.Files, formatSize(m.Fetch), m.From)
	default:
		return text + fmt.Sprintf(": %d files, %s to fetch from %s unless cached", m.Files, formatSize(m.Fetch), m.From)
	}
}

// leftOutByReason is a line for each reason, in the order of the first files.
func leftOutByReason(files []LeftOut) []string {
	const shown = 3 // names of a line
	var reasons []string
	names, bytes := map[string][]string{}, map[string]int64{}
	for _, f := range files {
		if bytes[f.Why] += f.Bytes; names[f.Why] == nil {
			reasons = append(reasons, f.Why)
		}
		names[f.Why] = append(names[f.Why], f.Path)
	}
	lines := make([]string, len(reasons))
	for i, why := range reasons {
		all := names[why]
		lines[i] = strings.Join(all[:min(shown, len(all))], ", ")
		if more := len(all) - shown; more > 0 {
			lines[i] += fmt.Sprintf(" and %d more", more)
		}
		lines[i] += fmt.Sprintf(", %s: %s", formatSize(bytes[why]), why)
	}
	return lines
}

// String is the repository in one line.
func (r PlanRepo) String() string {
	text := r.URL
	for _, version := range []string{r.Branch, r.Commit} {
		if version != "" {
			text += " " + version
		}
	}
	text += " -> " + r.Target
	if r.Install != "" {
		text += ", then " + r.Install
	}
	return text
}

// String is the machine in one line.
func (g *PlanGPU) String() string {
	if g == nil {
		return "CPU only"
	}
	text := fmt.Sprintf("%d x %s", g.Count, g.Type)
	if g.MemoryGiB > 0 {
		text += fmt.Sprintf(" with %.0f GiB", g.MemoryGiB)
	}
	if g.NeedGiB > 0 {
		text += fmt.Sprintf("; the models need about %.1f GiB; they fit: %s", g.NeedGiB, g.Fits)
	}
	return text
}

// String is the estimate in one line.
func (c PlanCost) String() string {
	switch {
	case !c.Known:
		return "unknown: the price table has no such GPU"
	case c.AsOf == "":
		return c.Source
	default:
		return fmt.Sprintf("about $%.4f to start, $%.4f an hour, $%.2f at most (%s, %s)", c.Startup, c.Hourly, c.Most, c.Source, c.AsOf)
	}
}

func formatSize(bytes int64) string {
	const unit = 1 << 10
	size, units := float64(bytes), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for size >= unit && len(units) > 1 {
		size, units = size/unit, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", size, units[0])
}
