package shown_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"a plain\n\ttext, ünïcode 漢 🙂\r\n": "a plain\n\ttext, ünïcode 漢 🙂\n",
		"\x1b]0;owned\x07\x1b[2J":          `\x1b]0;owned\x07\x1b[2J`,
		"10 %\r20 %":                       `10 %\r20 %`,
		"\u009b6n":                         `\u009b6n`,
		"\x9b6n\xff":                       `\x9b6n\xff`,
		"\x00\x7f\b":                       `\x00\x7f\x08`,
		"a\u202eb\u2066":                   `a\u202eb\u2066`,
		"\ufffd":                           "\ufffd",
	} {
		assert.Equal(t, want, shown.Text(text))
	}
	assert.Equal(t, `a\nb\tc\r\n`, shown.Line("a\nb\tc\r\n"))
}

// Whatever comes, a terminal gets no order, and what is shown is shown alike.
func FuzzText(f *testing.F) {
	f.Add("\x1b[2J\u009b\x9b\xe2\x80\xae")
	f.Fuzz(func(t *testing.T, text string) {
		got := shown.Text(text)
		assert.True(t, utf8.ValidString(got))
		assert.False(t, strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }))
		assert.Equal(t, got, shown.Text(got))
	})
}
