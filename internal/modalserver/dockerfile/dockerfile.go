// Package dockerfile reads the instructions of an image layer. It knows their
// form; what they do is up to the caller.
package dockerfile

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Instruction is one instruction of a Dockerfile.
type Instruction struct {
	Name  string            // in capitals: "RUN"
	Flags map[string]string // of "--from=base"; nil = none
	Args  string            // what follows, lines joined
	Exec  []string          // Args as a JSON array; nil = it is none
}

// String is the instruction on one line.
func (i Instruction) String() string {
	var b strings.Builder
	b.WriteString(i.Name)
	for name, value := range i.Flags {
		fmt.Fprintf(&b, " --%s=%s", name, value)
	}
	b.WriteString(" " + i.Args)
	return b.String()
}

// Error says which instruction could not be read.
type Error struct {
	Instruction string
	Problem     string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Instruction, e.Problem) }

// Parse reads instructions, one a line. A backslash at the end of a line
// continues it; lines that start with # are comments.
func Parse(text string) ([]Instruction, error) {
	var instructions []Instruction
	for _, line := range logicalLines(text) {
		instruction, err := parseLine(line)
		if err != nil {
			return nil, err
		}
		instructions = append(instructions, instruction)
	}
	return instructions, nil
}

func logicalLines(text string) []string {
	var lines []string
	var current strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if head, continued := strings.CutSuffix(strings.TrimRight(line, " \t"), `\`); continued {
			current.WriteString(head)
			continue
		}
		current.WriteString(line)
		if whole := strings.TrimSpace(current.String()); whole != "" {
			lines = append(lines, whole)
		}
		current.Reset()
	}
	if whole := strings.TrimSpace(current.String()); whole != "" {
		lines = append(lines, whole)
	}
	return lines
}

func parseLine(line string) (Instruction, error) {
	name, rest := cutWord(line)
	i := Instruction{Name: strings.ToUpper(name)}
	for strings.HasPrefix(rest, "--") {
		var flag string
		flag, rest = cutWord(rest)
		key, value, ok := strings.Cut(flag[2:], "=")
		if !ok {
			return i, &Error{Instruction: i.Name, Problem: "option " + flag + " has no value"}
		}
		if i.Flags == nil {
			i.Flags = map[string]string{}
		}
		i.Flags[key] = value
	}
	i.Args = rest
	if rest == "" {
		return i, &Error{Instruction: i.Name, Problem: "has no arguments"}
	}
	if strings.HasPrefix(rest, "[") && json.Unmarshal([]byte(rest), &i.Exec) != nil {
		i.Exec = nil // the shell form may begin with a bracket
	}
	return i, nil
}

func cutWord(s string) (word, rest string) {
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		return s, ""
	}
	return s[:end], strings.TrimLeft(s[end:], " \t")
}
