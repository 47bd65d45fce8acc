package jupyter

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRenderTerminal(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"plain":                   {"a\nb\n", "a\nb\n"},
		"windows lines":           {"a\r\nb\r\n", "a\nb\n"},
		"overwritten":             {"loading\rdone", "doneing"},
		"erased":                  {"loading\r\x1b[Kdone", "done"},
		"whole line erased":       {"loading\x1b[2K\rdone", "done"},
		"backspace":               {"ab\b\bx", "xb"},
		"backspace at the border": {"\b\bx", "x"},
		"colours":                 {"\x1b[1;31mred\x1b[0m plain", "red plain"},
		"two bars":                {"a 0%\nb 0%\x1b[A\ra 9%\n\rb 5%\n", "a 9%\nb 5%\n"},
		"above the top":           {"\x1b[9Ax", "x"},
		"below the bottom":        {"a\x1b[9Bb", "ab"},
		"link":                    {"\x1b]8;;http://x\x1b\\text\x1b]8;;\a", "text"},
		"cut sequence":            {"a\x1b[3", "a"},
		"cut escape":              {"a\x1b", "a"},
		"wide characters":         {"äö\rü", "üö"},
		"column":                  {"abc\x1b[1GX", "Xbc"},
		"beyond the end":          {"\x1b[3Cx", "   x"},
		"an absurd count":         {"\x1b[99999999999999999999Dx", "x"},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, renderTerminal(test.in)) })
	}
}

func FuzzRenderTerminal(f *testing.F) {
	f.Add("a\r\x1b[A\x1b[2Kb\b\n")
	f.Add("\x1b]8;;x\x1b\\")
	f.Fuzz(func(t *testing.T, s string) {
		assert.NotContains(t, renderTerminal(s), "\x1b")
	})
}
