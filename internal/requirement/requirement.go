// Package requirement tells requirements of Python packages, as pip takes them,
// from other texts. It accepts what the packaging library accepts.
package requirement

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Parse reports whether a text is one requirement: a name with extras, then
// versions or "@ URL", then a marker. The URL is "" where there is none.
func Parse(text string) (url string, ok bool) {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "", false
	}
	s := &scanner{rest: text}
	s.eat(blanks)
	if s.eat(identifier) == "" {
		return "", false
	}
	s.eat(blanks)
	if !s.extras() {
		return "", false
	}
	if s.eat(at) != "" {
		s.eat(blanks)
		if url = s.eat(address); url == "" {
			return "", false
		}
		if spaced := s.eat(blanks) != ""; !spaced && s.rest != "" {
			return "", false
		}
	} else if !s.versions() {
		return "", false
	}
	if s.eat(semicolon) != "" && !s.marker(0) {
		return "", false
	}
	return url, s.rest == ""
}

func compile(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)`) }

var (
	blanks     = compile(`[ \t]+`)
	identifier = compile(`[a-zA-Z0-9][a-zA-Z0-9._-]*\b`)
	address    = compile(`[^\s\x{0b}\x{1c}-\x{1f}\x{85}\p{Z}]+`)
	at         = compile(`@`)
	semicolon  = compile(`;`)
	comma      = compile(`,`)
	open       = compile(`\(`)
	shut       = compile(`\)`)

	specifier = compile(`===\s*[^\s;),]+` +
		`|(?i:[!=]=\s*` + release + `(\.\d+)*(\.\*|` + suffixes + `(\+[a-z0-9]+([-_.][a-z0-9]+)*)?)` +
		`|~=\s*` + release + `(\.\d+)+` + suffixes +
		`|[<>]=?\s*` + release + `(\.\d+)*` + suffixes + `)`)

	comparison = compile(`===|==|~=|!=|<=|>=|<|>|in\b|not[ \t]+in\b`)
	connection = compile(`(or|and)\b`)
	variable   = compile(`(python_version|python_full_version|os[._]name|sys[._]platform|platform_(release|system)` +
		`|platform[._](version|machine|python_implementation)|python_implementation|implementation_(name|version)|extras?|dependency_groups)\b`)
	literal = compile(`'[^']*'|"[^"]*"`)
)

// The parts of a version, as PEP 440 has them.
const (
	release  = `v?(\d+!)?\d+`
	suffixes = `([-_.]?(alpha|beta|preview|pre|a|b|c|rc)[-_.]?\d*)?(-\d+|[-_.]?(post|rev|r)[-_.]?\d*)?([-_.]?dev[-_.]?\d*)?`
)

type scanner struct{ rest string }

// eat takes what a pattern matches here.
func (s *scanner) eat(pattern *regexp.Regexp) string {
	found := pattern.FindString(s.rest)
	s.rest = s.rest[len(found):]
	return found
}

func (s *scanner) extras() bool {
	if !strings.HasPrefix(s.rest, "[") {
		return true
	}
	s.rest = s.rest[1:]
	s.eat(blanks)
	for more := s.eat(identifier) != ""; more; {
		s.eat(blanks)
		if more = s.eat(comma) != ""; more {
			s.eat(blanks)
			if s.eat(identifier) == "" {
				return false
			}
		}
	}
	closed := strings.HasPrefix(s.rest, "]")
	s.rest = strings.TrimPrefix(s.rest, "]")
	s.eat(blanks)
	return closed
}

// versions takes a list of version specifiers, which may be empty, and may stand
// in parentheses.
func (s *scanner) versions() bool {
	enclosed := s.eat(open) != ""
	s.eat(blanks)
	for s.eat(specifier) != "" {
		s.eat(blanks)
		if s.eat(comma) == "" {
			break
		}
		s.eat(blanks)
	}
	closed := !enclosed || s.eat(shut) != ""
	s.eat(blanks)
	return closed
}

const maxNesting = 200 // of parentheses in a marker

func (s *scanner) marker(depth int) bool {
	for {
		if !s.condition(depth) {
			return false
		}
		if s.eat(connection) == "" {
			return true
		}
	}
}

func (s *scanner) condition(depth int) bool {
	s.eat(blanks)
	if s.eat(open) != "" {
		if depth == maxNesting || !s.marker(depth+1) || s.eat(shut) == "" {
			return false
		}
		s.eat(blanks)
		return true
	}
	if !s.operand() || s.eat(comparison) == "" {
		return false
	}
	s.eat(blanks)
	return s.operand()
}

func (s *scanner) operand() bool {
	taken := s.eat(variable) != ""
	if !taken {
		text := s.eat(literal)
		taken = text != "" && wellEscaped.MatchString(text[:len(text)-1])
	}
	s.eat(blanks)
	return taken
}

// wellEscaped is a literal that Python reads, which it is read by. The names of
// characters (\N) are not looked up.
var wellEscaped = regexp.MustCompile(`^.(?:[^\\\r\n]|\\[^NxuU\r\n]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U000[0-9a-fA-F]{5})*$`)
