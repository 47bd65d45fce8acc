package seer

import (
	"fmt"
	"maps"
	"os"
	"strings"
)

// Workspace is what an agent finds where it works, on every kind of session:
// files, libraries to import, skills to read. Its zero value, and nil, is an
// empty one. Sessions copy what they need of it.
type Workspace struct {
	// LocalDirs and LocalFiles are copied from this machine. A relative target
	// is inside the session's workspace directory. A session on this machine
	// writes nowhere else: there, /workspace stands for that directory.
	LocalDirs  []Mount
	LocalFiles []Mount
	// Libraries are packages that every Python of the session imports.
	Libraries []Library
	// Skills are written to skills/NAME/SKILL.md of the workspace directory,
	// and to .claude/skills/NAME, where agents look.
	Skills []Skill
	// SkillDirs are directories of this machine with a SKILL.md, which are
	// copied whole to the same places.
	SkillDirs []string
	// CustomInitCode is Python code that runs once the rest is in place.
	CustomInitCode string
	// SkipModelPreload leaves it to the agent to load the sandbox's models in
	// notebook sessions; by default they are there in variables.
	SkipModelPreload bool
	// ShowModelLoading shows the loading of models as a cell of the notebook;
	// by default it is hidden.
	ShowModelLoading bool
}

// LibraryDocs tells an agent what the libraries offer, in Markdown.
func (w *Workspace) LibraryDocs() string {
	if w == nil {
		return ""
	}
	var b strings.Builder
	for i, library := range w.Libraries {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "## %s\n\n```python\nimport %s\n```\n", library.Name, library.Name)
		if docs := strings.TrimSpace(library.Docs); docs != "" {
			b.WriteString("\n" + docs + "\n")
		}
	}
	return b.String()
}

// environ are the variables that the libraries read.
func (w *Workspace) environ() map[string]string {
	env := map[string]string{}
	if w == nil {
		return env
	}
	for _, library := range w.Libraries {
		maps.Copy(env, library.Env)
	}
	return env
}

// initCode is the code to run when a session begins; "" = none.
func (w *Workspace) initCode() string {
	if w == nil {
		return ""
	}
	return w.CustomInitCode
}

// validate finds everything that is wrong with the workspace but what depends
// on the place.
func (w *Workspace) validate() error {
	if w == nil {
		return nil
	}
	v := validator{}
	for _, mounts := range []struct {
		field string
		list  []Mount
		dirs  bool
	}{{"LocalDirs", w.LocalDirs, true}, {"LocalFiles", w.LocalFiles, false}} {
		for i, m := range mounts.list {
			info, err := os.Stat(m.Source)
			switch {
			case err != nil:
				v.problem(at(mounts.field, i)+".Source", quoted(m.Source), "%s", reason(err))
			case info.IsDir() && !mounts.dirs:
				v.problem(at(mounts.field, i)+".Source", quoted(m.Source), "is a directory; list it in LocalDirs")
			case !info.IsDir() && mounts.dirs:
				v.problem(at(mounts.field, i)+".Source", quoted(m.Source), "is a file; list it in LocalFiles")
			}
		}
	}
	names := map[string]bool{}
	for i, library := range w.Libraries {
		v.problems = append(v.problems, library.problems(at("Libraries", i))...)
		if names[library.Name] {
			v.problem(at("Libraries", i)+".Name", quoted(library.Name), "another library has the same name")
		}
		names[library.Name] = true
	}
	w.clashes(&v)
	skills := map[string]bool{}
	for i, skill := range w.Skills {
		v.problems = append(v.problems, skill.problems(at("Skills", i))...)
		if skills[skill.Name] {
			v.problem(at("Skills", i)+".Name", quoted(skill.Name), "another skill has the same name")
		}
		skills[skill.Name] = true
	}
	for i, dir := range w.SkillDirs {
		name, err := skillDirName(dir)
		switch {
		case err != nil:
			v.problem(at("SkillDirs", i), quoted(dir), "%s", reason(err))
		case skills[name]:
			v.problem(at("SkillDirs", i), quoted(dir), "another skill is called %q", name)
		}
		skills[name] = true
	}
	if len(v.problems) > 0 {
		return &ConfigError{Problems: v.problems}
	}
	return nil
}

// clashes finds variables that two libraries want to have different values.
// Case does not tell names apart: on some systems it cannot.
func (w *Workspace) clashes(v *validator) {
	type setting struct{ library, value string }
	seen := map[string]setting{}
	for i, library := range w.Libraries {
		for _, name := range sorted(library.Env) {
			other, taken := seen[strings.ToUpper(name)]
			if taken && other.value != library.Env[name] {
				v.problem(fmt.Sprintf("%s.Env[%s]", at("Libraries", i), name), "", "library %s has another value for this variable; rename one of the two", other.library)
			}
			seen[strings.ToUpper(name)] = setting{library.Name, library.Env[name]}
		}
	}
}
