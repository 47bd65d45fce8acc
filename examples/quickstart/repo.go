package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// projectDir is the folder beside this file, wherever the program is run from.
func projectDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "project")
}

// servedRepo is a git repository of our own on a loopback port, so that the
// quickstart works where no git host can be reached.
type servedRepo struct {
	url     string // as a sandbox reaches it
	address string // as this machine does
	close   func()
}

func serveRepo() (*servedRepo, error) {
	dir, err := os.MkdirTemp("", "seer-quickstart-")
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*servedRepo, error) {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err := makeRepo(dir); err != nil {
		return fail(err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)                   //nolint:errcheck // it always ends with ErrServerClosed
	port := listener.Addr().(*net.TCPAddr).Port //nolint:errcheck // a TCP listener has a TCP address
	return &servedRepo{
		url:     "http://host.seer.internal:" + strconv.Itoa(port) + "/hello.git",
		address: listener.Addr().String(),
		close: func() {
			_ = server.Close()
			_ = os.RemoveAll(dir)
		},
	}, nil
}

// makeRepo makes dir/hello.git with one commit.
func makeRepo(dir string) error {
	tree, bare := filepath.Join(dir, "tree"), filepath.Join(dir, "hello.git")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "hello.py"), []byte("print('hello')\n"), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main", tree},
		{"-C", tree, "add", "."},
		{"-C", tree, "-c", "user.name=seer", "-c", "user.email=seer@example.com", "commit", "--quiet", "-m", "Say hello"},
		{"clone", "--quiet", "--bare", tree, bare},
		{"-C", bare, "update-server-info"},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil { //nolint:noctx // local and instant
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}
