package huggingface

import (
	"regexp"
	"strings"
)

// match reports whether a path matches one of the patterns, which have the
// hub's own meaning: "*" also crosses slashes, "?" is any character, "[abc]"
// and "[!abc]" are sets, and a trailing slash stands for everything below.
func match(path string, patterns []string) bool {
	for _, p := range patterns {
		if strings.HasSuffix(p, "/") {
			p += "*"
		}
		if re, err := regexp.Compile(translate(p)); err == nil && re.MatchString(path) {
			return true
		}
	}
	return false
}

// translate turns a glob into a regular expression. A "[" that is never closed
// stands for itself.
func translate(glob string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); i++ {
		switch ch := glob[i]; ch {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		case '[':
			// A "]" right after the opening or its "!" is a member.
			rest := glob[i+1:]
			from := len(rest) - len(strings.TrimPrefix(rest, "!"))
			end := -1
			if from < len(rest) {
				end = strings.IndexByte(rest[from+1:], ']')
			}
			if end < 0 {
				b.WriteString(`\[`)
				continue
			}
			set := rest[from : from+1+end]
			b.WriteByte('[')
			if from == 1 {
				b.WriteByte('^')
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `&`, `\&`).Replace(set))
			b.WriteByte(']')
			i += from + 1 + end + 1
		default:
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	b.WriteString(`\z`)
	return b.String()
}
