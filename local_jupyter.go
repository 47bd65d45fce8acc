package seer

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/guard"
	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

// localJupyter is a Jupyter server on this machine, on a port that the system
// chose. It shares no configuration and no token with others.
type localJupyter struct {
	place localPlace

	private string // directory of its files; "" until start
	url     string
	client  *jupyter.Server
	lab     bool // JupyterLab is there
	cmd     *exec.Cmd
	guard   *guard.Guard
	log     tail
	exited  chan struct{}
	stopped sync.Once
	err     error
}

//go:embed python/missing.py
var missingScript string

const serverPatience = time.Minute

func (j *localJupyter) start(ctx context.Context, logger *slog.Logger) (*jupyter.Server, error) {
	if err := j.checkPython(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	if err := j.launch(ctx); err != nil {
		return nil, fmt.Errorf("start Jupyter: %w", err)
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-j.exited:
			stop(fmt.Errorf("it ended:%s", quotedTail(j.log.text())))
		case <-running.Done():
		}
	}()
	config, err := j.address(running)
	if err == nil {
		config.Logger = logger
		j.client, err = jupyter.Await(running, config)
	}
	if err != nil {
		if cause := context.Cause(running); cause != nil && ctx.Err() == nil {
			err = cause
		}
		return nil, fmt.Errorf("start Jupyter: %w", err)
	}
	j.url = strings.TrimSuffix(config.BaseURL, "/") + "/?token=" + config.Token
	return j.client, nil
}

// checkPython asks the interpreter for Jupyter, without importing it.
// JupyterLab is welcome and not needed.
func (j *localJupyter) checkPython(ctx context.Context) error {
	const lab = "jupyterlab"
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, j.place.python, "-c", missingScript, "jupyter_server", "ipykernel", lab)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = j.place.env, j.place.dir, &out, &complaints
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ask %s for Jupyter: %w%s", j.place.python, err, quotedTail(complaints.String()))
	}
	missing := strings.Fields(out.String())
	j.lab = !slices.Contains(missing, lab)
	missing = slices.DeleteFunc(missing, func(name string) bool { return name == lab })
	if len(missing) > 0 {
		return fmt.Errorf("%s has no %s: install with: %s -m pip install %s: %w",
			j.place.python, strings.Join(missing, " and no "), j.place.python, strings.Join(missing, " "), ErrNotFound)
	}
	return nil
}

// newSecret is a password that is easy to copy.
func newSecret() string { return strings.ToLower(rand.Text()) }

func (j *localJupyter) launch(ctx context.Context) (err error) {
	if j.private, err = os.MkdirTemp("", "seer-jupyter-"); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{"IdentityProvider": map[string]string{"token": newSecret()}})
	if err != nil {
		return err
	}
	file := filepath.Join(j.private, "jupyter_server_config.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	args := append(jupyter.ServerArgs("127.0.0.1", 0, j.place.dir), "--config="+file)
	args = append(args, jupyter.SocketArgs(j.runtime())...)
	if j.lab {
		args = append(args, jupyter.LabArg)
	}
	j.cmd = exec.CommandContext(context.WithoutCancel(ctx), j.place.python, args...)
	j.cmd.Dir = j.place.dir
	// Kernels choose the backend of figures themselves.
	j.cmd.Env = slices.DeleteFunc(slices.Clone(j.place.env), func(pair string) bool { return pair == "MPLBACKEND=agg" })
	j.cmd.Env = append(j.cmd.Env, jupyter.RuntimeVariable+"="+j.runtime(),
		"JUPYTER_CONFIG_DIR="+j.private, "JUPYTER_DATA_DIR="+filepath.Join(j.private, "data"), "IPYTHONDIR="+filepath.Join(j.private, "ipython"))
	j.cmd.Stdout, j.cmd.Stderr = &j.log, &j.log
	j.cmd.WaitDelay = outputGrace
	if j.guard, err = guard.Start(j.cmd); err != nil {
		return err
	}
	j.exited = make(chan struct{})
	go func() {
		defer close(j.exited)
		_ = j.cmd.Wait() // the log says more
	}()
	return nil
}

func (j *localJupyter) runtime() string { return filepath.Join(j.private, "runtime") }

// address waits until the server has written where it listens.
func (j *localJupyter) address(ctx context.Context) (jupyter.Config, error) {
	const often = 10 * time.Millisecond
	ticker := time.NewTicker(often)
	defer ticker.Stop()
	for {
		config, err := jupyter.ReadRuntime(j.runtime())
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return config, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return jupyter.Config{}, ctx.Err()
		}
	}
}

// stop ends the server and what it started, and removes its files.
func (j *localJupyter) stop() error {
	j.stopped.Do(func() {
		if j.client != nil {
			j.client.Close()
		}
		if j.exited != nil {
			j.guard.End()
			<-j.exited
		}
		if j.private != "" {
			j.err = os.RemoveAll(j.private)
		}
	})
	return j.err
}

func (j *localJupyter) leave(_ context.Context, name string, data []byte) error {
	return os.WriteFile(filepath.Join(j.runtime(), name), data, 0o600)
}

func (j *localJupyter) libraries() string { return j.place.libraryDir() }

func (j *localJupyter) ended() error {
	select {
	case <-j.exited:
		return fmt.Errorf("the Jupyter server has ended: %w", ErrKernelDied)
	default:
		return nil
	}
}
