package seer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Skill teaches an agent something: a SKILL.md that it reads when the
// description fits what it is doing.
type Skill struct {
	Name        string // a file name: letters, digits, hyphens and underscores
	Description string // when to use it, in a sentence
	Content     string // Markdown, without front matter
}

const skillFile = "SKILL.md"

var skillName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// SkillFromSource makes a skill that shows Python code.
func SkillFromSource(name, description, source string) Skill {
	fence := "```"
	for strings.Contains(source, fence) {
		fence += "`"
	}
	content := fmt.Sprintf("# %s\n\n%s\n\n%spython\n%s\n%s\n", name, description, fence, strings.TrimRight(source, "\n"), fence)
	return Skill{Name: name, Description: description, Content: content}
}

// Markdown is the skill as a SKILL.md, front matter included.
func (s Skill) Markdown() string {
	return "---\nname: " + yamlString(s.Name) + "\ndescription: " + yamlString(s.Description) + "\n---\n\n" + s.Content
}

// yamlString quotes a text as JSON, which YAML reads alike.
func yamlString(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // strings always encode
	return strings.TrimSuffix(b.String(), "\n")
}

func withoutFrontMatter(markdown string) string {
	if rest, found := strings.CutPrefix(markdown, "---\n"); found {
		if _, body, closed := strings.Cut(rest, "\n---\n"); closed {
			return strings.TrimLeft(body, "\n")
		}
	}
	return markdown
}

func (s Skill) problems(field string) []Problem {
	v := validator{}
	if !skillName.MatchString(s.Name) {
		v.problem(field+".Name", quoted(s.Name), "write letters, digits, hyphens and underscores, at most 64")
	}
	if s.Description == "" {
		v.problem(field+".Description", "", "say in a sentence when to use the skill: an agent chooses by it")
	}
	return v.problems
}

// skillDirName is the name under which a skill directory of this machine is
// installed.
func skillDirName(dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(filepath.Join(absolute, skillFile)); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", skillFile)
	}
	name := filepath.Base(absolute)
	if !skillName.MatchString(name) {
		return "", fmt.Errorf("%q cannot name a skill: write letters, digits, hyphens and underscores, at most 64", name)
	}
	return name, nil
}
