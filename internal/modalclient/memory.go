package modalclient

import (
	"encoding/json"
	"slices"
	"sync"
)

// memory is what the server has said, so that it need not be asked again. It
// may have lost it since: whoever uses it calls Forget when an answer says so.
type memory struct {
	mu     sync.Mutex
	apps   map[string]App    // by name
	images map[string]string // IDs by what they were built from
}

// KnownApp is App for one that this client has found before. It asks nobody.
func (c *Client) KnownApp(name string) (app App, known bool) {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	app, known = c.memory.apps[name]
	return app, known
}

// KnownImage is BuildImage for layers that this client has built before, or
// found built. It asks nobody.
func (c *Client) KnownImage(base string, layers []Layer) (id string, known bool) {
	key, ok := imageKey(base, layers)
	if !ok {
		return "", false
	}
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	id, known = c.memory.images[key]
	return id, known
}

// Forget makes the client ask again.
func (c *Client) Forget() {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	clear(c.memory.apps)
	clear(c.memory.images)
}

func (m *memory) keepApp(app App) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.apps == nil {
		m.apps = make(map[string]App)
	}
	m.apps[app.Name] = app
}

func (m *memory) keepImage(base string, layers []Layer, id string) {
	key, ok := imageKey(base, layers)
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.images == nil {
		m.images = make(map[string]string)
	}
	m.images[key] = id
}

// imageKey tells images apart by their content; false for what is to be built
// every time, or with secrets, whose content is not known here.
func imageKey(base string, layers []Layer) (key string, ok bool) {
	if slices.ContainsFunc(layers, func(l Layer) bool { return l.Force || len(l.Secrets) > 0 }) {
		return "", false
	}
	text, err := json.Marshal([]any{base, layers})
	return string(text), err == nil
}
