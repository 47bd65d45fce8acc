package seer

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/requirement"
)

var (
	pythonShape = regexp.MustCompile(`^3\.[0-9]{1,2}(\.[0-9]{1,2})?$`)

	// bareURL is what pip takes beside requirements with a name.
	bareURL = regexp.MustCompile(`^(?:(?:git|hg|svn|bzr)\+)?(?:https|http|ssh)://[A-Za-z0-9._~:/?#@!&=+,%\[\]-]+$`)

	aptPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9-]+)?(=[A-Za-z0-9.+:~-]+|/[a-z0-9-]+)?$`)
)

func (v *validator) image() {
	c := v.config
	v.python()
	for i, name := range c.PythonPackages {
		v.pipRequirement(at("PythonPackages", i), name)
	}
	for i, name := range c.NotebookPackages {
		v.pipRequirement(at("NotebookPackages", i), name)
	}
	for i, name := range c.SystemPackages {
		if v.env.place.NoApt {
			v.problem("SystemPackages", "", "this machine has no apt-get to install them with: install them on the machine itself, leave them out, or use the Modal backend")
			break
		}
		if !aptPackage.MatchString(name) {
			v.problem(at("SystemPackages", i), quoted(name), "write one apt package, such as \"ffmpeg\", or with a version, \"ffmpeg=7:5.1\"")
		}
	}
	for i, command := range c.SetupCommands {
		v.command(at("SetupCommands", i), command)
	}
}

func (v *validator) command(field, command string) {
	if strings.TrimSpace(command) == "" {
		v.problem(field, quoted(command), "write a bash command, or leave it out")
	}
}

func (v *validator) python() {
	version := v.config.PythonVersion
	switch {
	case version == "":
	case !pythonShape.MatchString(version):
		v.problem("PythonVersion", quoted(version), "write a version of Python 3, such as \"3.11\" or \"3.12.4\"")
	case v.env.place.Pythons != nil && !slices.ContainsFunc(v.env.place.Pythons, func(there string) bool { return sameVersion(there, version) }):
		v.problem("PythonVersion", quoted(version), "this machine has Python %s; ask for that, leave it empty, or use the Modal backend", strings.Join(v.env.place.Pythons, ", "))
	}
}

// sameVersion reports whether two versions agree as far as both of them go.
func sameVersion(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}

func (v *validator) pipRequirement(field, text string) {
	address, ok := requirement.Parse(text)
	if bare, fits := requirement.Parse("x @ " + text); fits && bareURL.MatchString(bare) {
		address, ok = bare, true
	}
	switch {
	case ok && address != "":
		if parsed, err := url.Parse(address); err != nil {
			v.problem(field, "", "the URL is malformed")
		} else if _, password := parsed.User.Password(); password || parsed.User != nil && !strings.Contains(parsed.Scheme, "ssh") {
			v.problem(field, "", "the URL holds a user name or token, which would end up in build logs; clone the repository with Repos and TokenEnv, and install it from there")
		}
	case ok:
	case strings.Contains(text, "://"):
		v.problem(field, "", "write name @ https://... or git+https://..., without white space in the URL and with a space before a marker")
	case strings.HasPrefix(text, "-"):
		v.problem(field, quoted(text), "is an option of pip; list packages alone, and use SetupCommands for the rest")
	case strings.HasPrefix(text, "."), strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"):
		v.problem(field, quoted(text), "is a path; use Repos with Install for a package from source")
	default:
		v.problem(field, quoted(text), "write one pip requirement, such as \"torch\", \"torch>=2.4\" or \"transformers[torch]==4.44.0\"")
	}
}
