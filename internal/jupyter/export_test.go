package jupyter

import "net/http"

// HTTPClientForTest returns a client with the package's own transport, so that
// benchmarks compare messages and not sockets.
func HTTPClientForTest(config Config) *http.Client {
	s, err := newServer(config)
	if err != nil {
		return http.DefaultClient
	}
	return s.client
}
