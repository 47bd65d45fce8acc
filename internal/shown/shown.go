// Package shown makes text of strangers fit to be shown to people. A terminal
// takes orders from what it shows: to move the cursor, to change its title, to
// answer as if somebody had typed.
package shown

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text returns a text of any number of lines with every control character but
// newline and tab written out, as "\x1b" or "\u009b", and so every byte that is
// no text and every character that turns the direction of writing. A carriage
// return before a newline goes.
func Text(text string) string {
	return quote(strings.ReplaceAll(text, "\r\n", "\n"), "\n\t")
}

// Line is Text for what must stay one line: newlines and tabs are written out too.
func Line(text string) string { return quote(text, "") }

func quote(text, kept string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return refused(r, kept) }) {
		return text
	}
	var b strings.Builder
	for i, size := 0, 0; i < len(text); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == utf8.RuneError || !refused(r, kept):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// refused holds for control characters (C0, DEL and C1), for those that turn
// the direction of writing, and for bytes that are no text.
func refused(r rune, kept string) bool {
	switch {
	case strings.ContainsRune(kept, r):
		return false
	case r < ' ', r >= 0x7f && r < 0xa0, r == utf8.RuneError:
		return true
	default:
		return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
}
