package modalclient

// tail is a writer that keeps the last bytes of what it is given.
type tail struct {
	limit int
	data  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if surplus := len(t.data) - t.limit; surplus > t.limit {
		t.data = append(t.data[:0], t.data[surplus:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	return string(t.data[max(0, len(t.data)-t.limit):])
}
