package rpc

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
)

//go:embed python/__main__.py python/client.py python/seer_rpc/*.py
var python embed.FS

// Files returns the server's files by slash-separated path. Written below one
// folder, they are run with `python <folder>`, or with
// `python <folder> --config <file>`; see [Settings].
func Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	paths, err := fs.Glob(python, "python/seer_rpc/*.py")
	if err != nil {
		return nil, fmt.Errorf("list server files: %w", err)
	}
	for _, path := range append(paths, "python/__main__.py") {
		data, err := python.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read server file: %w", err)
		}
		files[path[len("python/"):]] = data
	}
	return files, nil
}

// Settings is what the server reads when it starts: the first line of its
// standard input, or a file of mode 0600 named with --config.
type Settings struct {
	// Token is the control token. Whoever has it may run code as the server.
	Token string `json:"token"`
	// Host is the address to listen on; "" is every interface.
	Host string `json:"host,omitempty"`
	// Port is the port to listen on; 0 is any free one, see [ParseReady].
	Port int `json:"port"`
}

// Line returns the settings as the one line that the server reads.
func (s Settings) Line() ([]byte, error) {
	line, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode server settings: %w", err)
	}
	return append(line, '\n'), nil
}

// ParseReady returns the port from the line that the server prints on its
// standard output once it listens.
func ParseReady(line []byte) (int, error) {
	var ready struct {
		Port int `json:"port"`
	}
	if err := json.Unmarshal(line, &ready); err != nil || ready.Port == 0 {
		return 0, fmt.Errorf("read server's first line: not a ready message: %.100q", line)
	}
	return ready.Port, nil
}
