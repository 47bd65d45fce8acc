//go:build linux

package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

// pythonClient is the version of Modal's Python client that the Python library
// was written for: later ones have no file API.
const pythonClient = "1.2.6"

//go:embed flow.py
var flowScript string

// pythonFlow is a running flow.py.
type pythonFlow struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader
}

// python starts the Python library's flow against a world; it ends with b.
func (b *bench) python(ctx context.Context, w *world) (*pythonFlow, error) {
	interpreter, err := venvtest.Make(ctx, "modal=="+pythonClient, "requests")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return nil, err
	}
	b.later(func() error { return os.RemoveAll(dir) })
	certificate := filepath.Join(dir, "certificate.pem")
	if err := os.WriteFile(certificate, w.server.Certificate(), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, interpreter, "-c", flowScript)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"MODAL_CONFIG_PATH=" + filepath.Join(dir, "none"),
		"MODAL_SERVER_URL=" + w.server.URL(), "MODAL_TOKEN_ID=" + tokenID, "MODAL_TOKEN_SECRET=" + tokenSecret,
		"MODAL_TASK_COMMAND_ROUTER_INSECURE=1", "MODAL_LOGLEVEL=ERROR",
		"REQUESTS_CA_BUNDLE=" + certificate,
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	flow := &pythonFlow{cmd: cmd, stdin: stdin, answers: bufio.NewReader(stdout)}
	b.later(flow.close)
	return flow, nil
}

func (f *pythonFlow) close() error { return errors.Join(f.stdin.Close(), f.cmd.Wait()) }

// do has one thing done and returns how long it took.
func (f *pythonFlow) do(what string, arguments map[string]any) (time.Duration, error) {
	request := map[string]any{"do": what}
	for name, value := range arguments {
		request[name] = value
	}
	if err := json.NewEncoder(f.stdin).Encode(request); err != nil {
		return 0, err
	}
	line, err := f.answers.ReadBytes('\n')
	if err != nil {
		return 0, fmt.Errorf("python %s: %w", what, err)
	}
	var answer struct {
		Seconds float64
		Error   string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return 0, fmt.Errorf("python %s: %w", what, err)
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("python %s: %s", what, answer.Error)
	}
	return time.Duration(answer.Seconds * float64(time.Second)), nil
}
