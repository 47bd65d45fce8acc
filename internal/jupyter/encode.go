package jupyter

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Encode returns the notebook as the content of an .ipynb file.
func (n *Notebook) Encode() []byte {
	data, _ := n.encode()
	return data
}

// encode also returns the version that was encoded.
func (n *Notebook) encode() ([]byte, uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	size := 256 + len(n.metadata)
	for _, c := range n.cells {
		if c.encoded == nil && !c.large() {
			c.encoded = c.appendJSON(nil)
		}
		size += len(c.encoded) + 8
		if c.encoded == nil {
			size += int(c.outputs.bytes() + c.outputs.bytes()/8)
		}
	}
	b := make([]byte, 0, size)
	b = append(b, "{\n \"cells\": ["...)
	for i, c := range n.cells {
		b = appendSeparator(b, i, "\n  ")
		if c.encoded == nil {
			b = c.appendJSON(b)
			continue
		}
		b = append(b, c.encoded...)
	}
	if len(n.cells) > 0 {
		b = append(b, "\n "...)
	}
	b = append(b, "],\n \"metadata\": "...)
	b = append(b, n.metadata...)
	b = append(b, ",\n \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n"...)
	return b, n.version
}

func appendSeparator(b []byte, i int, indent string) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(b, indent...)
}

// large is how many bytes an output, or all of a cell, have that are encoded
// anew each time, instead of being there twice.
const large = 1 << 20

func (c *cell) large() bool { return c.outputs.bytes() > large }

// bytes is how much is kept.
func (s *Outputs) bytes() int64 { return s.size + s.rest }

func (c *cell) appendJSON(b []byte) []byte {
	b = append(b, '{')
	if c.attachments != nil {
		b = appendField(b, "attachments")
		b = append(b, c.attachments...)
	}
	b = appendField(b, "cell_type")
	b = appendString(b, string(c.kind))
	if c.kind == CellCode {
		b = appendField(b, "execution_count")
		b = appendCount(b, c.count)
	}
	b = appendField(b, "id")
	b = appendString(b, c.id)
	b = appendField(b, "metadata")
	b = append(b, c.metadata...)
	if c.kind == CellCode {
		b = appendField(b, "outputs")
		b = append(b, '[')
		for i, pieces := range c.outputs.shown() {
			b = appendSeparator(b, i, "\n    ")
			b = appendOutput(b, pieces)
		}
		b = append(b, ']')
	}
	b = appendField(b, "source")
	var source streamEncoder
	source.write(c.source)
	b = source.appendJSON(b)
	return append(b, "\n  }"...)
}

// appendField begins a field of a cell, and the cell with its first one.
func appendField(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, "\n   \""...)
	b = append(b, name...)
	return append(b, "\": "...)
}

func appendCount(b []byte, count int) []byte {
	if count == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, int64(count), 10)
}

// appendOutput appends an output of one or more pieces, encoding only what is
// new if it is not large.
func appendOutput(b []byte, pieces []*outputEntry) []byte {
	e := pieces[0]
	if e.Type == OutputStream {
		b = append(b, `{"name": `...)
		b = appendString(b, e.Name)
		b = append(b, `, "output_type": "stream", "text": `...)
		if len(pieces) == 1 && len(e.text) <= large {
			e.enc.write(string(e.text[e.enc.written:]))
			return append(e.enc.appendJSON(b), '}')
		}
		e.enc = streamEncoder{}
		b = append(b, '[')
		whole := streamEncoder{encoded: b}
		for _, e := range pieces {
			whole.write(string(e.text))
		}
		b = whole.encoded
		if whole.open {
			b = append(b, '"')
		}
		return append(b, ']', '}')
	}
	if e.json == nil {
		e.json = e.encodeOther()
	}
	return append(b, e.json...)
}

func (e *outputEntry) encodeOther() []byte {
	if e.Type == OutputError {
		return e.encodeError()
	}
	b := []byte(`{"data": {`)
	for i, mime := range e.Data.Types() {
		b = appendSeparator(b, i, "")
		b = appendString(b, mime)
		b = append(b, ": "...)
		b = appendForm(b, mime, e.Data[mime])
	}
	b = append(b, '}')
	if e.Type == OutputResult {
		b = append(b, `, "execution_count": `...)
		b = appendCount(b, e.ExecutionCount)
	}
	b = append(b, `, "metadata": `...)
	b = append(b, objectOr(e.Metadata, emptyObject)...)
	b = append(b, `, "output_type": `...)
	b = appendString(b, string(e.Type))
	return append(b, '}')
}

// jsonType matches the types whose forms are any JSON in the notebook format;
// those of all others are text.
var jsonType = regexp.MustCompile(`^application/(.*\+)?json$`)

// appendForm appends what a kernel showed, which may be anything, as what the
// notebook format has for its type.
func appendForm(b []byte, mime string, form json.RawMessage) []byte {
	if isText(form) || jsonType.MatchString(mime) {
		return append(b, form...)
	}
	return appendString(b, string(form))
}

// isText reports whether raw is a string or a list of strings.
func isText(raw json.RawMessage) bool {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		return true
	}
	var lines []*string
	return json.Unmarshal(raw, &lines) == nil && lines != nil && !slices.Contains(lines, nil)
}

func (e *outputEntry) encodeError() []byte {
	b := []byte(`{"ename": `)
	b = appendString(b, e.Err.Name)
	b = append(b, `, "evalue": `...)
	b = appendString(b, e.Err.Value)
	b = append(b, `, "output_type": "error", "traceback": [`...)
	for i, line := range e.Err.Traceback {
		b = appendSeparator(b, i, "")
		b = appendString(b, line)
	}
	return append(b, "]}"...)
}

// objectOr returns raw if it is a JSON object.
func objectOr(raw, otherwise json.RawMessage) json.RawMessage {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] == '{' {
		return trimmed
	}
	return otherwise
}

func appendString(b []byte, s string) []byte {
	return append(appendQuoted(append(b, '"'), s), '"')
}

// appendQuoted appends the inside of a JSON string.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for len(s) > 0 {
		plain := 0
		for plain < len(s) && s[plain] >= ' ' && s[plain] != '"' && s[plain] != '\\' && s[plain] < utf8.RuneSelf {
			plain++
		}
		b = append(b, s[:plain]...)
		if s = s[plain:]; s == "" {
			break
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		case r == '\u2028' || r == '\u2029': // ends of lines for JavaScript
			b = append(b, `\u202`...)
			b = append(b, hex[r&0xf])
		default:
			b = utf8.AppendRune(b, r) // what is no UTF-8 becomes U+FFFD
		}
		s = s[size:]
	}
	return b
}

// streamEncoder encodes a growing text as the list of its lines, which is how
// notebooks hold text.
type streamEncoder struct {
	encoded []byte // without the quote that ends the last line if that is open
	begun   bool   // there is a line
	open    bool   // the last line has not ended
	written int    // bytes of the text
}

func (s *streamEncoder) write(text string) {
	s.written += len(text)
	for line := range strings.Lines(text) {
		switch {
		case s.open: // its quote is there
		case s.begun:
			s.encoded = append(s.encoded, ",\n     \""...)
		default:
			s.encoded = append(s.encoded, '"')
		}
		s.begun = true
		s.encoded = appendQuoted(s.encoded, line)
		s.open = !strings.HasSuffix(line, "\n")
		if !s.open {
			s.encoded = append(s.encoded, '"')
		}
	}
}

func (s *streamEncoder) appendJSON(b []byte) []byte {
	b = slices.Grow(b, len(s.encoded)+3)
	b = append(b, '[')
	b = append(b, s.encoded...)
	if s.open {
		b = append(b, '"')
	}
	return append(b, ']')
}
