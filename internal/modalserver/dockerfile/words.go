package dockerfile

import (
	"os"
	"strings"
)

// Pair is a name and its value.
type Pair struct{ Name, Value string }

// Words splits text at blanks outside of quotes. Quotes are removed; a
// backslash keeps the character after it, but in single quotes.
func Words(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	runes := []rune(text)
	for n := 0; n < len(runes); n++ {
		c := runes[n]
		switch {
		case c == '\\' && quote != '\'' && n+1 < len(runes):
			n++
			if runes[n] == '$' { // stays for Expand
				word.WriteRune('\\')
			}
			word.WriteRune(runes[n])
			inWord = true
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, &Error{Instruction: text, Problem: "has a quote that does not end"}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// Pairs reads the arguments of ENV: NAME=value ..., or the older NAME value.
func Pairs(args string) ([]Pair, error) {
	name, value := cutWord(args)
	if !strings.Contains(name, "=") {
		if value == "" {
			return nil, &Error{Instruction: "ENV", Problem: name + " has no value"}
		}
		return []Pair{{Name: name, Value: value}}, nil
	}
	words, err := Words(args)
	if err != nil {
		return nil, err
	}
	pairs := make([]Pair, 0, len(words))
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return nil, &Error{Instruction: "ENV", Problem: word + " is not NAME=value"}
		}
		pairs = append(pairs, Pair{Name: name, Value: value})
	}
	return pairs, nil
}

// Expand replaces $NAME, ${NAME}, ${NAME:-default} and ${NAME:+other} by what
// lookup says. A backslash keeps the dollar.
func Expand(text string, lookup func(name string) string) string {
	parts := strings.Split(text, `\$`)
	for i, part := range parts {
		parts[i] = os.Expand(part, func(name string) string {
			if name, other, ok := strings.Cut(name, ":-"); ok {
				if value := lookup(name); value != "" {
					return value
				}
				return other
			}
			if name, other, ok := strings.Cut(name, ":+"); ok {
				if lookup(name) == "" {
					return ""
				}
				return other
			}
			return lookup(name)
		})
	}
	return strings.Join(parts, "$")
}
