// Package dotenv reads .env files: a value is the one that python-dotenv's
// load_dotenv(override=False) would set, whatever quotes, dollars, comments and
// line ends the file has.
package dotenv

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/joho/godotenv"
)

// Parse returns the variables of a .env text, and the numbers of the lines on
// which a statement begins that is none; those are skipped. A ${NAME} in a
// value is what environ has under that name, else what the text has above.
func Parse(text string, environ func(name string) (value string, ok bool)) (values map[string]string, broken []int) {
	s := &scanner{text: lineEnds.Replace(strings.TrimPrefix(text, "\ufeff"))}
	values = map[string]string{}
	for s.skip(unicodeSpace); s.rest() != ""; s.skip(unicodeSpace) {
		start := s.at
		name, value, ok := s.statement()
		switch {
		case !ok || !storable(name) || value != nil && !storable(*value):
			broken = append(broken, 1+strings.Count(s.text[:start], "\n"))
		case name == "": // a comment
		case value == nil: // a name alone takes back what was said of it above
			delete(values, name)
		default:
			values[name] = interpolate(*value, values, environ)
		}
	}
	return values, broken
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// storable reports whether an environment can hold a text that a file has.
func storable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// plain is a statement of which nobody has another opinion: godotenv reads it.
var plain = regexp.MustCompile(`^(export )?[A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_./@%+,-]*$`)

type scanner struct {
	text string
	at   int
}

func (s *scanner) rest() string { return s.text[s.at:] }

// line is what is left of the line.
func (s *scanner) line() string {
	line, _, _ := strings.Cut(s.rest(), "\n")
	return line
}

// skip goes over characters of a kind, and says whether there was one.
func (s *scanner) skip(kind func(rune) bool) bool {
	before := s.at
	s.at = len(s.text) - len(strings.TrimLeftFunc(s.rest(), kind))
	return s.at > before
}

// statement reads to the end of its line. A comment has no name; a name without
// an equals sign has no value.
func (s *scanner) statement() (name string, value *string, ok bool) {
	if line := s.line(); plain.MatchString(line) {
		if pair, err := godotenv.Unmarshal(line); err == nil {
			s.at += len(line)
			for name, text := range pair {
				return name, &text, true
			}
		}
	}
	name, value, ok = s.assignment()
	if comment := strings.TrimLeftFunc(s.line(), unicodeSpace); comment != "" && comment[0] != '#' {
		ok = false
	}
	s.at += len(s.line())
	return name, value, ok
}

func (s *scanner) assignment() (name string, value *string, ok bool) {
	if after, found := strings.CutPrefix(s.rest(), "export"); found && after != "" {
		here := s.at
		if s.at += len("export"); !s.skip(blank) {
			s.at = here
		}
	}
	switch {
	case strings.HasPrefix(s.rest(), "#"):
		return "", nil, true
	case strings.HasPrefix(s.rest(), "'"):
		var closed bool
		name, _, closed = strings.Cut(s.rest()[1:], "'")
		if !closed || name == "" {
			return "", nil, false
		}
		s.at += len(name) + 2
	default:
		here := s.at
		s.skip(func(r rune) bool { return r != '=' && r != '#' && !unicodeSpace(r) })
		if name = s.text[here:s.at]; name == "" {
			return "", nil, false
		}
	}
	s.skip(blank)
	if !strings.HasPrefix(s.rest(), "=") {
		return name, nil, true
	}
	s.at++
	text, ok := s.value(s.skip(blank))
	return name, &text, ok
}

// value reads what follows an equals sign, with or without blanks between.
func (s *scanner) value(spaced bool) (text string, ok bool) {
	switch line := s.line(); {
	case line == "", spaced && line[0] == '#':
		return "", true
	case line[0] == '\'':
		return s.quoted(`'\`)
	case line[0] == '"':
		return s.quoted(`"'\abfnrtv`)
	default:
		s.at += len(line)
		if comment := unquotedComment.FindStringIndex(line); comment != nil {
			line = line[:comment[0]]
		}
		return strings.TrimRightFunc(line, unicodeSpace), true
	}
}

var unquotedComment = regexp.MustCompile(`[\s\x{0b}\x{1c}-\x{1f}\x{85}\p{Z}]#`)

var escapes = strings.NewReplacer("a", "\a", "b", "\b", "f", "\f", "n", "\n", "r", "\r", "t", "\t", "v", "\v")

// quoted reads a value in quotes of the kind that it begins with. A backslash
// before one of the named characters is an escape; before another it is itself,
// and neither of the two ends the value.
func (s *scanner) quoted(escaped string) (text string, ok bool) {
	quote := s.rest()[0]
	var b strings.Builder
	for i := s.at + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == quote:
			s.at = i + 1
			return b.String(), true
		case c == '\\' && i+1 < len(s.text):
			i++
			if next := s.text[i : i+1]; strings.Contains(escaped, next) {
				b.WriteString(escapes.Replace(next))
			} else {
				b.WriteString(`\` + next)
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

var reference = regexp.MustCompile(`\$\{([^}:]*)(?::-([^}]*))?\}`)

func interpolate(value string, above map[string]string, environ func(string) (string, bool)) string {
	return reference.ReplaceAllStringFunc(value, func(text string) string {
		parts := reference.FindStringSubmatch(text)
		if value, ok := environ(parts[1]); ok {
			return value
		}
		if value, ok := above[parts[1]]; ok {
			return value
		}
		return parts[2]
	})
}

// blank is white space within a line.
func blank(r rune) bool { return r != '\n' && unicodeSpace(r) }

// unicodeSpace is what Python counts as white space.
func unicodeSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
