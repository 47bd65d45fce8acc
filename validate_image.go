package seer

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	pythonShape = regexp.MustCompile(`^3\.[0-9]{1,2}(\.[0-9]{1,2})?$`)

	// The grammar of pip requirements, far enough that nothing else passes:
	// name[extras] version, ...; marker, or name @ URL, or a URL alone.
	requirement = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?` + // name
		`( *\[[A-Za-z0-9._, -]*\])?` + // extras
		`( *(` + specifier + `( *, *` + specifier + `)*|\( *` + specifier + `( *, *` + specifier + `)* *\)))?` +
		marker + `$`)
	requirementURL = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?( *\[[A-Za-z0-9._, -]*\])? *@ *)?` +
		`((?:(?:git|hg|svn|bzr)\+)?(?:https|http|ssh)://[A-Za-z0-9._~:/?#@!&=+,%\[\]-]+)` + marker + `$`)

	aptPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9-]+)?(=[A-Za-z0-9.+:~-]+|/[a-z0-9-]+)?$`)
)

const (
	specifier = `(===?|~=|!=|<=?|>=?) *[A-Za-z0-9.*+!_-]+`
	marker    = `( *; *` + condition + `( +(and|or) +` + condition + `)*)?`
	condition = `\(* *[A-Za-z_.'"0-9-]+ *(===?|~=|!=|<=?|>=?| in | not in ) *[A-Za-z0-9_.'" -]*[A-Za-z0-9_.'"] *\)*`
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
		if !aptPackage.MatchString(name) {
			v.problem(at("SystemPackages", i), quoted(name), "write one apt package, such as \"ffmpeg\", or with a version, \"ffmpeg=7:5.1\"")
		}
	}
	for i, command := range c.SetupCommands {
		v.command(at("SetupCommands", i), command)
	}
}

func (v *validator) command(field, command string) {
	switch {
	case strings.TrimSpace(command) == "":
		v.problem(field, quoted(command), "write a bash command, or leave it out")
	case strings.ContainsRune(command, 0):
		v.problem(field, quoted(command), "a command has no NUL byte")
	}
}

func (v *validator) python() {
	version := v.config.PythonVersion
	switch {
	case version == "":
	case !pythonShape.MatchString(version):
		v.problem("PythonVersion", quoted(version), "write a version of Python 3, such as \"3.11\" or \"3.12.4\"")
	case v.env.pythons != nil && !slices.ContainsFunc(v.env.pythons, func(there string) bool { return sameVersion(there, version) }):
		v.problem("PythonVersion", quoted(version), "this machine has Python %s; ask for that, leave it empty, or use the Modal backend", strings.Join(v.env.pythons, ", "))
	}
}

// sameVersion reports whether two versions agree as far as both of them go.
func sameVersion(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}

func (v *validator) pipRequirement(field, text string) {
	if match := requirementURL.FindStringSubmatch(text); match != nil {
		if parsed, err := url.Parse(match[4]); err != nil {
			v.problem(field, "", "the URL is malformed")
		} else if _, password := parsed.User.Password(); password || parsed.User != nil && !strings.Contains(parsed.Scheme, "ssh") {
			v.problem(field, "", "the URL holds a user name or token, which would end up in build logs; clone the repository with Repos and TokenEnv, and install it from there")
		}
		return
	}
	switch {
	case strings.Contains(text, "://"):
		v.problem(field, "", "write name @ https://... or git+https://..., without spaces or shell characters in the URL")
	case strings.HasPrefix(text, "-"):
		v.problem(field, quoted(text), "is an option of pip; list packages alone, and use SetupCommands for the rest")
	case strings.HasPrefix(text, "."), strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"):
		v.problem(field, quoted(text), "is a path; use Repos with Install for a package from source")
	case !requirement.MatchString(text):
		v.problem(field, quoted(text), "write one pip requirement, such as \"torch\", \"torch>=2.4\" or \"transformers[torch]==4.44.0\"")
	}
}
