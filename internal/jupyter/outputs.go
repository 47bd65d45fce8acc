package jupyter

import "strings"

// outputs collects the outputs of one cell as a notebook shows them. Stream
// chunks grow the stream before them; the cost of a chunk does not depend on
// what is there already. It is not safe for concurrent use.
type outputs struct {
	entries  []*outputEntry
	displays map[string][]*outputEntry
	// pendingClear is set between clear_output(wait=True) and the next output.
	pendingClear bool
}

type outputEntry struct {
	Output
	text strings.Builder // of a stream, in place of Output.Text
	enc  streamEncoder   // of a stream, for the notebook file
	json []byte          // of anything else; nil when it has changed
}

func (s *outputs) reset() { *s = outputs{} }

// add applies one output and reports whether anything changed. An update of a
// display that is not here changes nothing.
func (s *outputs) add(o Output) bool {
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
	if o.Type == OutputStream {
		s.stream(o)
		return true
	}
	e := &outputEntry{Output: o}
	s.entries = append(s.entries, e)
	if o.DisplayID != "" {
		if s.displays == nil {
			s.displays = make(map[string][]*outputEntry)
		}
		s.displays[o.DisplayID] = append(s.displays[o.DisplayID], e)
	}
	return true
}

func (s *outputs) stream(o Output) {
	if n := len(s.entries); n > 0 {
		if last := s.entries[n-1]; last.Type == OutputStream && last.Name == o.Name {
			last.text.WriteString(o.Text)
			return
		}
	}
	e := &outputEntry{Output: Output{Type: OutputStream, Name: o.Name}}
	e.text.WriteString(o.Text)
	s.entries = append(s.entries, e)
}

func (s *outputs) update(o Output) bool {
	if o.DisplayID == "" {
		return false
	}
	shown := s.displays[o.DisplayID]
	for _, e := range shown {
		e.Data, e.Metadata, e.json = o.Data, o.Metadata, nil
	}
	return len(shown) > 0
}

// list returns the outputs in order.
func (s *outputs) list() []Output {
	list := make([]Output, len(s.entries))
	for i, e := range s.entries {
		list[i] = e.Output
		if e.Type == OutputStream {
			list[i].Text = e.text.String()
		}
	}
	return list
}
