package jupyter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
)

// frameEnd is how many bytes are kept of the end of a frame that is too large.
const frameEnd = 1 << 20

// readFrame reads a frame into a buffer: of one with more than limit bytes the
// beginning and the end.
func readFrame(r io.Reader, frame *bytes.Buffer, limit int64) (begin, end []byte, size int64, err error) {
	frame.Reset()
	size, err = frame.ReadFrom(io.LimitReader(r, limit))
	if err != nil || size < limit {
		return frame.Bytes(), nil, size, err
	}
	chunk := make([]byte, frameEnd)
	for {
		n, err := io.ReadFull(r, chunk)
		size += int64(n)
		end = append(end, chunk[:n]...)
		end = end[max(0, len(end)-frameEnd):]
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return frame.Bytes(), end, size, nil
		case err != nil:
			return nil, nil, 0, err
		}
	}
}

var (
	streamText  = regexp.MustCompile(`"text": ?"`)
	streamIsErr = regexp.MustCompile(`"name": ?"stderr"`)
	streamEnd   = regexp.MustCompile(`"\s*}\s*$`)
)

// longText finds what can be shown of a stream whose content was too large to be
// decoded: its name, and the beginning and the end of its text.
func longText(begin, end []byte) (name, head, tail string, found bool) {
	const names = 256 // bytes; what comes before the text
	at := streamText.FindIndex(begin[:min(len(begin), names)])
	last := streamEnd.FindIndex(end)
	if at == nil || last == nil {
		return "", "", "", false
	}
	name = Stdout
	if streamIsErr.Match(begin[:at[0]]) {
		name = Stderr
	}
	const escape = 12 // bytes; two of UTF-16
	begin, end = begin[at[1]:], end[:last[0]]
	for cut := 0; cut <= escape && !found; cut++ {
		head, found = unquoted(begin[:max(0, len(begin)-cut)])
	}
	for cut := 0; cut <= escape && tail == ""; cut++ {
		tail, _ = unquoted(end[min(cut, len(end)):])
	}
	return name, head, tail, found
}

// unquoted decodes the inside of a JSON string.
func unquoted(raw []byte) (text string, ok bool) {
	err := json.Unmarshal(slices.Concat([]byte{'"'}, raw, []byte{'"'}), &text)
	return text, err == nil
}
