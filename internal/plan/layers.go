package plan

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Layer is one cached part of an image.
type Layer struct {
	Title    string
	Commands []string // Dockerfile instructions
}

//go:embed apt.sh
var aptScript string

// layers are ordered from what changes seldom to what changes often.
func layers(in Input) []Layer {
	var all []Layer
	if packages := systemPackages(in); len(packages) > 0 {
		all = append(all, Layer{"system packages", []string{
			run(append([]string{"/bin/sh", "-c", aptScript, "apt"}, packages...)...),
		}})
	}
	if packages := pythonPackages(in); len(packages) > 0 {
		all = append(all, pipLayer("Python packages", packages))
	}
	if in.Notebook {
		all = append(all, pipLayer("notebook packages", NotebookPackages(in)))
	}
	if in.VSCode {
		all = append(all, vscodeLayer())
	}
	for i, command := range in.SetupCommands {
		all = append(all, Layer{fmt.Sprintf("setup command %d", i+1), []string{
			run("/bin/bash", "-e", "-c", command),
		}})
	}
	return all
}

// DownloaderLayers are those of the image that models are downloaded with.
func DownloaderLayers(requirements []string) []Layer {
	return []Layer{pipLayer("downloader", requirements)}
}

func pipLayer(title string, packages []string) Layer {
	argv := []string{"python", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore", "--"}
	return Layer{title, []string{run(append(argv, packages...)...)}}
}

// run is a RUN instruction in its exec form: JSON, so that no argument is
// ever read by a shell.
func run(argv ...string) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(argv) // strings always encode
	// A Dockerfile parser may take a word that begins with << for a heredoc.
	return "RUN " + strings.ReplaceAll(strings.TrimSpace(text.String()), "<<", `\u003c\u003c`)
}

// systemPackages are those that the rest of the config implies, then the user's.
func systemPackages(in Input) []string {
	var packages []string
	fromGit := func(requirement string) bool { return strings.Contains(requirement, "git+") }
	if len(in.Repos) > 0 || slices.ContainsFunc(slices.Concat(in.PythonPackages, in.NotebookPackages), fromGit) {
		packages = append(packages, "git", "ca-certificates")
	}
	if slices.ContainsFunc(in.Repos, func(r Repo) bool { return r.SSH }) {
		packages = append(packages, "openssh-client")
	}
	if needsDocker(in) {
		packages = append(packages, "docker.io")
	}
	if in.VSCode {
		packages = append(packages, vscodePackages()...)
	}
	return unique(append(packages, in.SystemPackages...))
}

func pythonPackages(in Input) []string {
	packages := in.PythonPackages
	if slices.ContainsFunc(in.Models, func(m Model) bool { return m.Base != "" || m.AsPEFT }) {
		packages = withRequirement(packages, "peft")
	}
	return unique(packages)
}

// NotebookPackages are the pip requirements of notebook sessions.
func NotebookPackages(in Input) []string {
	packages := withRequirement(in.NotebookPackages, "ipykernel")
	return unique(withRequirement(packages, "jupyter_server"))
}

// withRequirement puts a package first unless the list asks for it already,
// in whatever version.
func withRequirement(list []string, name string) []string {
	if slices.ContainsFunc(list, func(item string) bool { return projectName(item) == projectName(name) }) {
		return list
	}
	return append([]string{name}, list...)
}

var (
	nameOnly   = regexp.MustCompile(`^[A-Za-z0-9._-]+`)
	separators = regexp.MustCompile(`[-_.]+`)
)

// projectName is the name in a requirement, written as package indexes compare it.
func projectName(requirement string) string {
	return strings.ToLower(separators.ReplaceAllString(nameOnly.FindString(strings.TrimSpace(requirement)), "-"))
}
