package rpc

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Prompt returns the functions of a service as text for an agent that may
// call them, by whatever means it was given.
func (d *Description) Prompt() string {
	var out strings.Builder
	fmt.Fprintf(&out, "The service %s offers these functions. They run elsewhere; nothing else there can be reached.\n", d.Name)
	for _, function := range d.Functions {
		fmt.Fprintf(&out, "\n%s%s\n", function.Name, function.Signature)
		for _, note := range function.notes() {
			out.WriteString("    " + note + "\n")
		}
		if function.Doc != "" {
			out.WriteString(indent(function.Doc, "    ") + "\n")
		}
	}
	return out.String()
}

// Skill is a service as a skill of an agent.
type Skill struct {
	// Name has only lower-case letters, digits and hyphens.
	Name string
	// Description is one line.
	Description string
	// Content is the body in Markdown, without front matter.
	Content string
}

// Markdown returns the skill as a SKILL.md, front matter included.
func (s Skill) Markdown() (string, error) {
	name, err := json.Marshal(s.Name) // JSON strings are YAML strings too
	if err != nil {
		return "", fmt.Errorf("write skill: %w", err)
	}
	description, err := json.Marshal(s.Description)
	if err != nil {
		return "", fmt.Errorf("write skill: %w", err)
	}
	return fmt.Sprintf("---\nname: %s\ndescription: %s\n---\n\n%s", name, description, s.Content), nil
}

// Skill returns a skill that teaches the use of the service's library.
func (d *Description) Skill() Skill {
	names := make([]string, len(d.Functions))
	for i, function := range d.Functions {
		names[i] = function.Name
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n\nThe Python package `%s` calls functions that run in another sandbox.\n\n", d.Name, d.Name)
	fmt.Fprintf(&out, "```python\nimport %s\n```\n\n", d.Name)
	out.WriteString("A failed call raises `RemoteError`, which is also the builtin exception that was raised there.\n")
	for _, function := range d.Functions {
		fence := fenceFor(function.Signature)
		fmt.Fprintf(&out, "\n## %s\n\n%spython\n%s.%s%s\n%s\n", function.Name, fence, d.Name, function.Name, function.Signature, fence)
		for _, note := range function.notes() {
			out.WriteString("\n" + note + "\n")
		}
		if function.Doc != "" {
			out.WriteString("\n" + function.Doc + "\n")
		}
	}
	return Skill{
		Name:        strings.Trim(strings.ReplaceAll(strings.ToLower(d.Name), "_", "-"), "-"),
		Description: fmt.Sprintf("Call the functions of the service %s from Python: %s.", d.Name, strings.Join(names, ", ")),
		Content:     out.String(),
	}
}

func (f Function) notes() []string {
	var notes []string
	if f.Stream {
		notes = append(notes, "Yields its items one by one.")
	}
	if f.Serial {
		notes = append(notes, "Runs one call at a time.")
	}
	return notes
}

// fenceFor returns a code fence that its content cannot close.
func fenceFor(content string) string {
	fence := "```"
	for strings.Contains(content, fence) {
		fence += "`"
	}
	return fence
}

func indent(text, by string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = by + line
		}
	}
	return strings.Join(lines, "\n")
}
