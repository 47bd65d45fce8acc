package jupyter

import (
	"strings"
	"unicode/utf8"
)

// renderTerminal returns what a terminal would show after printing s: a
// carriage return or backspace lets later text overwrite earlier text, colours
// vanish, and moving the cursor up and erasing work, which is what progress
// bars use.
func renderTerminal(s string) string {
	if !strings.ContainsAny(s, "\r\b\x1b") {
		return s
	}
	t := terminal{lines: [][]rune{nil}}
	for len(s) > 0 {
		switch s[0] {
		case '\n':
			t.down()
			t.col = 0
			s = s[1:]
		case '\r':
			t.col = 0
			s = s[1:]
		case '\b':
			t.col = max(t.col-1, 0)
			s = s[1:]
		case '\x1b':
			s = s[t.escape(s):]
		default:
			r, size := utf8.DecodeRuneInString(s)
			t.put(r)
			s = s[size:]
		}
	}
	return t.String()
}

// terminal is a screen of unlimited size.
type terminal struct {
	lines    [][]rune
	row, col int
}

func (t *terminal) down() {
	if t.row++; t.row == len(t.lines) {
		t.lines = append(t.lines, nil)
	}
}

func (t *terminal) put(r rune) {
	line := t.lines[t.row]
	for len(line) < t.col {
		line = append(line, ' ')
	}
	if t.col == len(line) {
		line = append(line, r)
	} else {
		line[t.col] = r
	}
	t.lines[t.row] = line
	t.col++
}

// escape obeys or skips the escape sequence that s begins with and returns its
// length in bytes.
func (t *terminal) escape(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		end := 2
		for end < len(s) && (s[end] < 0x40 || s[end] > 0x7e) {
			end++
		}
		if end == len(s) {
			return end
		}
		t.control(s[end], s[2:end])
		return end + 1
	case ']': // a title or a link, ended by BEL or ESC \
		for i := 2; i < len(s); i++ {
			if s[i] == '\a' {
				return i + 1
			}
			if s[i] == '\x1b' && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
		}
		return len(s)
	}
	return 2
}

func (t *terminal) control(final byte, params string) {
	switch final {
	case 'A':
		t.row = max(t.row-count(params), 0)
	case 'B':
		for range min(count(params), len(t.lines)-1-t.row) {
			t.row++
		}
	case 'C':
		t.right(t.col + count(params))
	case 'D':
		t.col = max(t.col-count(params), 0)
	case 'G':
		t.right(count(params) - 1)
	case 'K':
		t.erase(params)
	}
}

// right moves the cursor, no further than a line can be wide: a few bytes must
// not stand for many.
func (t *terminal) right(col int) {
	t.col = min(col, max(widest, len(t.lines[t.row])))
}

func (t *terminal) erase(params string) {
	line := t.lines[t.row]
	switch params {
	case "", "0":
		if t.col < len(line) {
			t.lines[t.row] = line[:t.col]
		}
	case "2":
		t.lines[t.row] = nil
	}
}

// widest is how far the cursor can be sent, in columns or rows.
const widest = 1000

// count is the number in a control sequence, 1 when absent.
func count(params string) int {
	n := 0
	for _, c := range []byte(params) {
		if c < '0' || c > '9' {
			return 1
		}
		n = min(10*n+int(c-'0'), widest)
	}
	return max(n, 1)
}

func (t *terminal) String() string {
	var b strings.Builder
	for i, line := range t.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, r := range line {
			b.WriteRune(r)
		}
	}
	return b.String()
}
