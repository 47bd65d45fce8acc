package seer

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	modelID    = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?(/[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?)?$`)
	refName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+@#=-]*$`)
	commitHash = regexp.MustCompile(`^[0-9a-fA-F]{7,64}$`)
)

const maxModelID = 96

func (v *validator) models() {
	variables := make(map[string]string) // field by variable
	for i, m := range v.config.Models {
		field := at("Models", i)
		v.modelID(field+".Name", m.Name)
		v.varName(field, m, variables)
		v.peft(field, m)
		if m.Revision != "" {
			v.ref(field+".Revision", m.Revision)
		}
		v.patterns(field+".Include", m.Include)
		v.patterns(field+".Exclude", m.Exclude)
		if m.Hidden {
			v.hidden(i, m)
		}
	}
}

func (v *validator) modelID(field, id string) {
	if id == "" {
		v.problem(field, `""`, "name the model by its HuggingFace ID, such as \"google/gemma-2-9b\"")
		return
	}
	if !modelID.MatchString(id) || len(id) > maxModelID || strings.Contains(id, "..") ||
		strings.Contains(id, "--") || strings.HasSuffix(id, ".git") {
		v.problem(field, quoted(id), "write the HuggingFace ID, such as \"google/gemma-2-9b\", and no URL or path")
	}
}

func (v *validator) varName(field string, m ModelConfig, variables map[string]string) {
	name := m.varName()
	switch {
	case !variableName.MatchString(name):
		v.problem(field+".VarName", quoted(name), "write a Python name: letters, digits and underscores, no digit first")
	case pythonKeyword(name):
		v.problem(field+".VarName", quoted(name), "is a word of the Python language; choose another name")
	case variables[name] != "" && m.VarName == "":
		v.problem(field+".VarName", `""`, "%s is already called \"model\", the default; give each model a name of its own", variables[name])
	case variables[name] != "":
		v.problem(field+".VarName", quoted(name), "%s has the same name; give each model a name of its own", variables[name])
	default:
		variables[name] = field
	}
}

func pythonKeyword(name string) bool {
	return slices.Contains(strings.Fields(`False None True and as assert async await break class continue
		def del elif else except finally for from global if import in is lambda nonlocal not or pass
		raise return try while with yield`), name)
}

func (v *validator) peft(field string, m ModelConfig) {
	if m.ForceBase && !m.IsPEFT {
		v.problem(field+".ForceBase", "true", "only a PEFT adapter has a base model; set IsPEFT too, or remove it")
	}
	switch {
	case m.IsPEFT && m.BaseModel == "":
		v.problem(field+".BaseModel", `""`, "a PEFT adapter needs its base model; name it")
	case m.IsPEFT:
		v.modelID(field+".BaseModel", m.BaseModel)
	case m.BaseModel != "":
		v.problem(field+".BaseModel", quoted(m.BaseModel), "only a PEFT adapter has a base model; set IsPEFT too, or remove it")
	}
}

// ref checks the name of a git branch, tag or commit.
func (v *validator) ref(field, name string) {
	if !refName.MatchString(name) || strings.Contains(name, "..") || strings.Contains(name, "//") ||
		strings.Contains(name, "@{") || strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".") {
		v.problem(field, quoted(name), "write the name of a branch, a tag or a commit")
	}
}

func (v *validator) patterns(field string, patterns []string) {
	for i, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || strings.HasPrefix(pattern, "/") {
			v.problem(at(field, i), quoted(pattern), "write a pattern of file names in the model's repository, such as \"*.safetensors\"")
		}
	}
}

// hidden finds what in the config itself would tell the agent a hidden model's
// identity. The messages show no more of it than the caller's own field does.
func (v *validator) hidden(index int, m ModelConfig) {
	c := v.config
	field := at("Models", index)
	for _, id := range []string{m.Name, m.BaseModel} {
		if id == "" {
			continue
		}
		if m.VarName != "" && mentions(m.VarName, id) {
			v.problem(field+".VarName", quoted(m.VarName), "gives the hidden model away; choose a neutral name")
		}
		for _, p := range c.seen() {
			if slices.ContainsFunc(p.texts, func(text string) bool { return mentions(text, id) }) {
				v.problem(p.field, "", "names a model that %s hides; the agent could %s", field, p.how)
			}
		}
	}
	for i, other := range c.Models {
		if i != index && !other.Hidden && strings.EqualFold(other.Name, m.Name) {
			v.problem(at("Models", i)+".Hidden", "false", "the same model is hidden as %s; hide both or neither", field)
		}
	}
}

// seenText is what an agent sees of a field.
type seenText struct {
	field string
	texts []string
	how   string // it sees them
}

func (c SandboxConfig) seen() []seenText {
	var all []seenText
	add := func(field, how string, texts ...string) { all = append(all, seenText{field, texts, how}) }
	for _, name := range sorted(c.Env) {
		add(atKey("Env", name), "read it", name, c.Env[name])
	}
	for i, name := range c.Secrets {
		add(at("Secrets", i), "read it", name)
	}
	for i, command := range c.SetupCommands {
		add(at("SetupCommands", i), "find it in the image", command)
	}
	for i, r := range c.Repos {
		add(at("Repos", i), "find it in the clone", r.URL, r.Branch, r.Target, r.Install)
	}
	for i, m := range c.LocalFiles {
		add(at("LocalFiles", i)+".Target", "see the path", m.Target)
	}
	for i, m := range c.LocalDirs {
		add(at("LocalDirs", i)+".Target", "see the path", m.Target)
	}
	return all
}

// mentions reports whether text holds the repository part of a model's ID, in
// any case and with any separators.
func mentions(text, id string) bool {
	name := squash(path.Base(id))
	const shortest = 4 // a shorter name is found in ordinary words
	return len(name) >= shortest && strings.Contains(squash(text), name)
}

func squash(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_./ ", r) {
			return -1
		}
		return r
	}, strings.ToLower(text))
}
