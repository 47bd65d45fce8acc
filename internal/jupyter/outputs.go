package jupyter

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// DefaultOutputLimit is how many bytes of what a piece of code shows are kept
// where nobody asks for another limit.
const DefaultOutputLimit = 16 << 20

const (
	// outputCost is what an output counts beside its bytes, so that very many
	// small ones are bounded too.
	outputCost = 512
	// streamBlock is how many bytes of a stream are left out at once, at least.
	streamBlock = 64 << 10
	// streamPiece is how many bytes of a stream lie together.
	streamPiece = 1 << 20
	// errorText bounds each text of an exception, in bytes.
	errorText = 256 << 10
)

// Outputs collects the outputs of one cell as a notebook shows them. Stream
// chunks grow the stream before them; the cost of a chunk does not depend on
// what is there already. Of more than the limit the beginning and the end stay.
// It is not safe for concurrent use.
type Outputs struct {
	limit    int64 // in bytes; 0 = none
	entries  []*outputEntry
	fixed    int   // how many of the entries are never left out
	size     int64 // of the fixed entries
	rest     int64 // of the others
	omitted  int64 // bytes left out between them
	displays map[string][]*outputEntry
	// pendingClear is set between clear_output(wait=True) and the next output.
	pendingClear bool
}

type outputEntry struct {
	Output
	fixed bool          // it belongs to the beginning, which stays
	text  []byte        // of a stream, in place of Output.Text
	enc   streamEncoder // of a stream, for the notebook file
	json  []byte        // of anything else; nil when it has changed
}

// NewOutputs returns an empty collection that keeps so many bytes; 0 = all.
func NewOutputs(limit int64) *Outputs { return &Outputs{limit: limit} }

// Omitted is how many bytes have been left out.
func (s *Outputs) Omitted() int64 { return s.omitted }

func (s *Outputs) reset() { *s = Outputs{limit: s.limit} }

// Add applies one output and reports whether anything changed. An update of a
// display that is not here changes nothing.
func (s *Outputs) Add(o Output) bool {
	switch o.Type {
	case OutputClear:
		if o.Wait {
			s.pendingClear = true
			return false
		}
		s.reset()
		return true
	case OutputUpdateDisplay:
		return s.update(o)
	}
	if s.pendingClear {
		s.reset()
	}
	switch {
	case o.Omitted > 0:
		s.omit(o.Omitted)
		return true
	case o.Type == OutputStream:
		s.stream(o.Name, o.Text)
	default:
		s.entry(&outputEntry{Output: o})
	}
	s.trim()
	return true
}

// Free is how many bytes fit before something is left out.
func (s *Outputs) Free() int64 { return s.limit - s.size - s.rest }

// head is how much of the limit belongs to the beginning.
func (s *Outputs) head() int64 { return s.limit - s.limit/8 }

// room is how many bytes may still join the beginning.
func (s *Outputs) room() int64 {
	switch {
	case s.limit == 0:
		return 1 << 62
	case s.fixed < len(s.entries) || s.omitted > 0:
		return 0
	}
	return max(s.head()-s.size, 0)
}

func (s *Outputs) stream(name, text string) {
	for text != "" || len(s.entries) == 0 {
		n := s.begin(name, text)
		if text = text[n:]; n == 0 {
			break
		}
	}
	if over := int64(len(text)) - max(s.limit-s.size, 0); over > 0 && s.limit > 0 { // nothing but its end could stay
		n := cutAfter(text, over)
		s.omit(int64(n))
		text = text[n:]
	}
	for len(text) > 0 {
		n := max(cutBefore(text, streamBlock), 1)
		s.block(name, text[:n])
		text = text[n:]
	}
}

// begin adds as much of a text to the beginning as fits there and into one
// piece, and returns how much that was.
func (s *Outputs) begin(name, text string) int {
	room := s.room()
	last := s.last()
	fresh := last == nil || last.Type != OutputStream || last.Name != name || len(last.text) >= streamPiece
	if fresh {
		room -= outputCost
	}
	if room <= 0 {
		return 0
	}
	if fresh {
		next := &outputEntry{Output: Output{Type: OutputStream, Name: name}, fixed: true}
		if last != nil && len(last.text) >= streamPiece {
			next.text = make([]byte, 0, streamPiece)
		}
		last = next
	}
	n := cutBefore(text, min(room, int64(max(streamPiece-len(last.text), utf8.UTFMax))))
	if n == 0 && text != "" {
		return 0
	}
	if fresh {
		s.entries, s.fixed = append(s.entries, last), s.fixed+1
		s.size += outputCost
	}
	last.text = append(last.text, text[:n]...)
	s.size += int64(n)
	return n
}

// block adds a piece of a stream to what may be left out again.
func (s *Outputs) block(name, text string) {
	last := s.last()
	if s.fixed == len(s.entries) || last.Type != OutputStream || last.Name != name || len(last.text)+len(text) > streamBlock {
		last = &outputEntry{Output: Output{Type: OutputStream, Name: name}}
		s.entries = append(s.entries, last)
		s.rest += outputCost
	}
	last.text = append(last.text, text...)
	s.rest += int64(len(text))
}

func (s *Outputs) entry(e *outputEntry) {
	e.Err = e.Err.bounded()
	if cost := e.cost(); cost <= s.room() {
		e.fixed = true
		s.fixed++
		s.size += cost
	} else {
		s.rest += cost
	}
	s.entries = append(s.entries, e)
	if e.DisplayID != "" {
		if s.displays == nil {
			s.displays = make(map[string][]*outputEntry)
		}
		s.displays[e.DisplayID] = append(s.displays[e.DisplayID], e)
	}
}

func (s *Outputs) last() *outputEntry {
	if len(s.entries) == 0 {
		return nil
	}
	return s.entries[len(s.entries)-1]
}

// trim leaves out what is too much, the oldest first.
func (s *Outputs) trim() {
	if s.limit == 0 {
		return
	}
	if s.size+s.rest <= s.limit {
		return
	}
	n, enough := s.fixed, s.limit-s.limit/32 // a little more, so that not every output costs a copy
	for n < len(s.entries) && s.size+s.rest > enough && (n < len(s.entries)-1 || s.entries[n].Type != OutputError) {
		s.drop(s.entries[n])
		n++
	}
	s.cut(n)
}

// omit notes that outputs are missing here: what came after the beginning is
// then no longer the end.
func (s *Outputs) omit(bytes int64) {
	for _, e := range s.entries[s.fixed:] {
		s.drop(e)
	}
	s.cut(len(s.entries))
	s.omitted += bytes
}

func (s *Outputs) drop(e *outputEntry) {
	s.rest -= e.cost()
	s.omitted += e.bytes()
	if e.DisplayID != "" {
		s.displays[e.DisplayID] = slices.DeleteFunc(s.displays[e.DisplayID], func(other *outputEntry) bool { return other == e })
	}
}

// cut removes the entries up to n that were dropped.
func (s *Outputs) cut(n int) {
	if n == s.fixed {
		return
	}
	s.entries = append(s.entries[:s.fixed:s.fixed], s.entries[n:]...)
}

func (s *Outputs) update(o Output) bool {
	if o.DisplayID == "" {
		return false
	}
	shown := s.displays[o.DisplayID]
	for _, e := range shown {
		before := e.cost()
		e.Data, e.Metadata, e.json = o.Data, o.Metadata, nil
		grown := e.cost() - before
		if s.limit > 0 && s.size+s.rest+grown > s.limit {
			s.omitted += e.bytes()
			e.Data, e.Metadata = MIMEBundle{}, nil
			grown = e.cost() - before
		}
		if e.fixed {
			s.size += grown
		} else {
			s.rest += grown
		}
	}
	return len(shown) > 0
}

func (e *outputEntry) cost() int64 { return outputCost + e.bytes() }

// bytes is how much an output shows.
func (e *outputEntry) bytes() int64 {
	if e.Type == OutputStream {
		return int64(len(e.text))
	}
	n := len(e.Metadata) + len(e.DisplayID)
	for mime, form := range e.Data {
		n += len(mime) + len(form)
	}
	if e.Err != nil {
		n += len(e.Err.Name) + len(e.Err.Value)
		for _, line := range e.Err.Traceback {
			n += len(line)
		}
	}
	return int64(n)
}

// shown are the outputs in order, with a word on what was left out: adjacent
// text of one stream is one output, of one or more pieces.
func (s *Outputs) shown() [][]*outputEntry {
	list := make([][]*outputEntry, 0, len(s.entries))
	add := func(e *outputEntry) {
		last := len(list) - 1
		if last >= 0 && e.Type == OutputStream && list[last][0].Type == OutputStream && list[last][0].Name == e.Name {
			list[last] = append(list[last], e)
			return
		}
		list = append(list, []*outputEntry{e})
	}
	for i, e := range s.entries {
		if i == s.fixed && s.omitted > 0 {
			add(s.omission())
		}
		add(e)
	}
	if s.fixed == len(s.entries) && s.omitted > 0 {
		add(s.omission())
	}
	return list
}

// omission tells the reader what is missing, in the stream that was cut.
func (s *Outputs) omission() *outputEntry {
	name := Stdout
	if s.fixed > 0 && s.entries[s.fixed-1].Type == OutputStream {
		name = s.entries[s.fixed-1].Name
	}
	return &outputEntry{Output: Output{Type: OutputStream, Name: name}, text: []byte(omissionText(s.omitted))}
}

func omissionText(bytes int64) string {
	return fmt.Sprintf("\n[... %d bytes of output left out ...]\n", bytes)
}

// Omission is an output that stands for so many bytes which nobody has.
func Omission(bytes int64) Output {
	return Output{Type: OutputStream, Name: Stdout, Text: omissionText(bytes), Omitted: bytes}
}

// List returns the outputs in order.
func (s *Outputs) List() []Output {
	shown := s.shown()
	list := make([]Output, len(shown))
	for i, pieces := range shown {
		list[i] = pieces[0].Output
		if pieces[0].Type == OutputStream {
			list[i].Text = joined(pieces)
		}
	}
	return list
}

func joined(pieces []*outputEntry) string {
	size := 0
	for _, e := range pieces {
		size += len(e.text)
	}
	var b strings.Builder
	b.Grow(size)
	for _, e := range pieces {
		b.Write(e.text)
	}
	return b.String()
}

// bounded is the exception with texts that are not longer than errorText.
func (e *KernelError) bounded() *KernelError {
	if e == nil {
		return nil
	}
	short := &KernelError{Name: cutMiddle(e.Name), Value: cutMiddle(e.Value), Traceback: e.Traceback}
	total := 0
	for _, line := range e.Traceback {
		total += len(line) + 16
	}
	if total > errorText {
		n := len(e.Traceback)
		short.Traceback = []string{cutMiddle(e.Traceback[0])}
		if n > 1 {
			short.Traceback = append(short.Traceback, cutMiddle(e.Traceback[n-1]))
		}
	}
	return short
}

func cutMiddle(text string) string {
	if len(text) <= errorText {
		return text
	}
	head, tail := cutBefore(text, errorText/2), cutAfter(text, int64(len(text)-errorText/2))
	return text[:head] + fmt.Sprintf("[... %d bytes left out ...]", tail-head) + text[tail:]
}

// cutBefore is the last place, at most n bytes into the text, where no
// character is cut in two.
func cutBefore(text string, n int64) int {
	if n >= int64(len(text)) {
		return len(text)
	}
	at := max(int(n), 0)
	for back := 0; at > 0 && back < utf8.UTFMax && !utf8.RuneStart(text[at]); back++ {
		at--
	}
	return at
}

// cutAfter is the first such place, at least n bytes into the text.
func cutAfter(text string, n int64) int {
	at := min(int(n), len(text))
	for forward := 0; at < len(text) && forward < utf8.UTFMax && !utf8.RuneStart(text[at]); forward++ {
		at++
	}
	return at
}
