package seer

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// daemonScript starts a service and waits for it inside the sandbox; its
// docstring says what goes in and out.
//
//go:embed python/daemon.py
var daemonScript string

// endServicesScript ends what such scripts have started.
//
//go:embed python/end_services.py
var endServicesScript string

// plainSecret is what the secrets of services look like. Who is root in the
// sandbox may have made this one: it opens nothing but the sandbox, and must be
// fit to be printed and to be part of a URL.
var plainSecret = regexp.MustCompile(`^[A-Za-z0-9]{16,128}$`)

// daemon is what daemonScript reads.
type daemon struct {
	Name      string             `json:"name"`
	Probe     string             `json:"probe"`
	Port      int                `json:"port"`
	Python    *pythonNeeds       `json:"python"`
	Command   []string           `json:"command"`
	Directory string             `json:"directory"`
	Environ   map[string]*string `json:"environ"`
	Config    map[string]any     `json:"config"`
	Secret    []string           `json:"secret"`
	Settings  map[string]any     `json:"settings"`
}

// daemonsOfStart are the services that Start starts and that begin to boot with
// the sandbox itself. Where a clone is given a token they wait for it, as the
// plan has it: they have packages of others in them.
func (s *Sandbox) daemonsOfStart() []daemon {
	if s.from == nil && slices.ContainsFunc(s.config.Repos, func(r RepoConfig) bool { return r.TokenEnv != "" }) {
		return nil
	}
	var all []daemon
	if s.config.ExecutionMode == ModeNotebook {
		all = append(all, s.jupyterDaemon())
	}
	if s.config.Debug {
		all = append(all, s.vscodeDaemon())
	}
	return all
}

// order is a daemon as daemonScript takes it. Nothing in it is secret.
func (d daemon) order() (string, error) {
	order, err := json.Marshal(d)
	return string(order), err
}

type pythonNeeds struct {
	Modules  []string          `json:"modules"`
	Packages []string          `json:"packages"`
	Extras   map[string]string `json:"extras"`
}

// listenOn is the address inside that the sandbox's services listen on: one
// that tunnels end at, where it may have tunnels.
func (s *Sandbox) listenOn() string {
	if s.config.BlockNetwork {
		return "127.0.0.1"
	}
	return "0.0.0.0"
}

// runReachable is runDaemon, and finds the address of the service's port
// meanwhile; "" = it is not open.
func (s *Sandbox) runReachable(ctx context.Context, remote *modalclient.Sandbox, wanted daemon) (secret, url string, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		secret, err = s.runDaemon(ctx, remote, wanted)
		return err
	})
	group.Go(func() error {
		open, err := s.tunnels(ctx, remote)
		if err != nil {
			return s.callError("find tunnels", err)
		}
		url = open[wanted.Port]
		return nil
	})
	err = group.Wait()
	return secret, url, err
}

// runDaemon starts a service, or finds the one that runs or boots, and returns its secret.
// WaitTimeout bounds it.
func (s *Sandbox) runDaemon(ctx context.Context, remote *modalclient.Sandbox, wanted daemon) (secret string, err error) {
	patience := s.config.withDefaults().WaitTimeout
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	order, err := wanted.order()
	if err != nil {
		return "", err
	}
	// As an argument it is there one round trip sooner than on standard input.
	cmd := s.Command("python", "-c", daemonScript, order)
	cmd.remote = remote
	var answer struct {
		Secret string `json:"secret"`
	}
	err = answerOf(limited, cmd, &answer)
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return "", &TimeoutError{Op: "start " + wanted.Name, After: patience, Err: err}
	case err != nil:
		return "", fmt.Errorf("start %s: %w", wanted.Name, err)
	case !plainSecret.MatchString(answer.Secret):
		return "", fmt.Errorf("start %s: what it calls its secret is none", wanted.Name)
	}
	return answer.Secret, nil
}

// service runs a constant script that starts something in the sandbox. It
// reads one JSON object and writes one.
func (s *Sandbox) service(ctx context.Context, remote *modalclient.Sandbox, script string, in, out any) error {
	request, err := json.Marshal(in)
	if err != nil {
		return err
	}
	cmd := s.Command("python", "-c", script)
	cmd.remote, cmd.Stdin = remote, bytes.NewReader(request)
	return answerOf(ctx, cmd, out)
}

// answerOf runs a command that writes one JSON object.
func answerOf(ctx context.Context, cmd *Cmd, out any) error {
	answer, err := cmd.Output(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	return nil
}

// endServices has the next services begin with new secrets.
func (s *Sandbox) endServices(ctx context.Context, remote *modalclient.Sandbox) error {
	cmd := s.Command("python", "-c", endServicesScript)
	cmd.remote = remote
	if err := cmd.Run(ctx); err != nil {
		return fmt.Errorf("end its services, whose tokens are to be new: %w", err)
	}
	return nil
}

// reconnect finds the services of a sandbox that another program started.
func (s *Sandbox) reconnect(ctx context.Context, remote *modalclient.Sandbox) {
	if s.config.ExecutionMode == ModeNotebook {
		if _, err := s.notebookServer(ctx, remote); err != nil {
			s.opts.logger.WarnContext(ctx, "reconnect to Jupyter", "sandbox", remote.ID(), "error", err)
		}
	}
	if s.config.Debug {
		if err := s.startVSCode(ctx, remote); err != nil {
			s.opts.logger.WarnContext(ctx, "reconnect to VS Code", "sandbox", remote.ID(), "error", err)
		}
	}
}
