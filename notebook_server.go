package seer

import (
	"context"
	_ "embed"
	"errors"
	"net"
	"strconv"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// relayScript reaches a port from inside, where none is open to the outside.
//
//go:embed python/relay.py
var relayScript string

// jupyterRuntime is where the server keeps the connection files of kernels,
// readable by the sandbox's root alone.
const (
	jupyterHome    = "/run/seer/Jupyter"
	jupyterRuntime = jupyterHome + "/runtime"
)

// labNotifications are JupyterLab's settings of the user, who may change them.
// By itself it asks whether it may fetch news.
const labNotifications = "~/.jupyter/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"

// notebookServer is the Jupyter server of a sandbox.
type notebookServer struct {
	client *jupyter.Server // nil until it runs
	url    string          // with the token; "" when no port is open
}

// JupyterURL is the address of the sandbox's notebook server, with the token
// that it asks for: it opens in a browser, and it is a secret. The page is
// JupyterLab where NotebookPackages or the image brings it. It is "" until
// a server runs, which Start sees to in ModeNotebook and the first notebook
// session otherwise, and where the network is blocked.
func (s *Sandbox) JupyterURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jupyter.url
}

// notebookServer returns a client of the sandbox's Jupyter server, which it
// starts, and installs, if need be.
func (s *Sandbox) notebookServer(ctx context.Context, remote *modalclient.Sandbox) (*jupyter.Server, error) {
	s.jupyterStart.Lock()
	defer s.jupyterStart.Unlock()
	s.mu.Lock()
	client := s.jupyter.client
	s.mu.Unlock()
	if client != nil {
		err := client.Check(ctx)
		if err == nil || ctx.Err() != nil {
			return client, err
		}
		s.closeJupyter() // it was ended, or another one took its place
	}
	started, err := s.serveJupyter(ctx, remote)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.jupyter = started
	s.mu.Unlock()
	return started.client, nil
}

// jupyterDaemon is what runs as the sandbox's Jupyter server.
func (s *Sandbox) jupyterDaemon() daemon {
	in := s.planInput()
	runtime := jupyterRuntime
	return daemon{
		Name: "Jupyter", Probe: "jupyter", Port: in.JupyterPort,
		Python: &pythonNeeds{
			Modules: []string{"jupyter_server", "ipykernel"}, Packages: plan.NotebookPackages(in),
			Extras: map[string]string{"jupyterlab": jupyter.LabArg},
		},
		Command:   append(jupyter.ServerArgs(s.listenOn(), in.JupyterPort, sandboxWorkspace), jupyter.SocketArg, "--config="+jupyterHome+"/config.json"),
		Directory: sandboxWorkspace,
		Environ:   map[string]*string{jupyter.RuntimeVariable: &runtime, jupyter.TokenVariable: nil},
		Secret:    []string{"IdentityProvider", "token"},
		// By itself it opens a login shell, where /etc/profile sets another
		// PATH than the image's, without its Python.
		Config:   map[string]any{"ServerApp": map[string]any{"terminado_settings": map[string]any{"shell_command": []string{"bash"}}}},
		Settings: map[string]any{labNotifications: map[string]any{"fetchNews": "false", "checkForUpdates": false}},
	}
}

func (s *Sandbox) serveJupyter(ctx context.Context, remote *modalclient.Sandbox) (notebookServer, error) {
	wanted := s.jupyterDaemon()
	token, base, err := s.runReachable(ctx, remote, wanted)
	if err != nil {
		return notebookServer{}, err
	}
	target := jupyter.Config{BaseURL: base, Token: token, Logger: s.opts.logger}
	server := notebookServer{url: base + "/?token=" + token}
	if base == "" {
		target.BaseURL = "http://127.0.0.1:" + strconv.Itoa(wanted.Port)
		target.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.dialInside(ctx, remote, wanted.Port)
		}
		server.url = ""
	}
	// It answers inside; the way to it may take a moment longer.
	patience := s.config.withDefaults().WaitTimeout
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server.client, err = jupyter.Await(limited, target)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = &TimeoutError{Op: "reach Jupyter", After: patience, Err: err}
	}
	return server, err
}

// dialInside connects to a port of the sandbox over the streams of a command.
func (s *Sandbox) dialInside(ctx context.Context, remote *modalclient.Sandbox, port int) (net.Conn, error) {
	near, far := net.Pipe()
	cmd := s.Command("python", "-c", relayScript, strconv.Itoa(port))
	cmd.remote, cmd.Stdin, cmd.Stdout = remote, far, far
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	if err := cmd.Start(life); err != nil {
		end()
		return nil, errors.Join(err, near.Close(), far.Close())
	}
	go func() {
		defer end()
		if err := cmd.Wait(); err != nil {
			s.opts.logger.Debug("relay ended", "port", port, "error", err)
		}
		_ = far.Close() // a pipe always closes
	}()
	return near, nil
}

// closeJupyter drops the connections to the server, which runs on.
func (s *Sandbox) closeJupyter() {
	s.mu.Lock()
	client := s.jupyter.client
	s.jupyter = notebookServer{}
	s.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

func (l *launch) runJupyter(ctx context.Context, _ func(string)) (string, error) {
	_, err := l.notebookServer(ctx, l.remote)
	return "", err
}
