package modalclient

// tail is a writer that keeps the last bytes of what it is given.
type tail struct {
	limit int
	data  []byte

	dropped bool // some of it is in data no more
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if surplus := len(t.data) - t.limit; surplus > t.limit {
		t.data = append(t.data[:0], t.data[surplus:]...)
		t.dropped = true
	}
	return len(p), nil
}

// cut reports whether something is missing at the front.
func (t *tail) cut() bool { return t.dropped || len(t.data) > t.limit }

func (t *tail) String() string {
	return string(t.data[max(0, len(t.data)-t.limit):])
}
