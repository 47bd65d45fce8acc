//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// agent answers the host.
type agent struct {
	spawner  *spawner
	mounter  *mounter
	sessions *sessions
}

// boot serves the first conversation, which sets the sandbox up.
func boot(control *net.UnixConn) (*agent, error) {
	c, err := accept(control)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	var r request
	if _, err := c.receive(&r); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if r.Boot == nil {
		return nil, errors.New("read configuration: something else came first")
	}
	a, network, err := newAgent(r.Boot)
	if err != nil {
		return nil, errors.Join(err, c.send(answer{Failure: newFailure(err)}))
	}
	defer func() { _ = unix.Close(network) }()
	return a, c.send(answer{}, network)
}

func newAgent(cfg *Config) (*agent, int, error) {
	m, err := newMounter(cfg.Dir)
	if err != nil {
		return nil, -1, err
	}
	network, err := setUp(m, cfg)
	if err != nil {
		return nil, -1, err
	}
	s, err := newSpawner(cfg)
	if err == nil {
		err = shieldKernel(cfg.Privileges)
	}
	if err != nil {
		return nil, -1, errors.Join(err, unix.Close(network))
	}
	return &agent{spawner: s, mounter: m, sessions: newSessions()}, network, nil
}

func (a *agent) serve(control *net.UnixConn) error {
	for {
		c, err := accept(control)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			a.converse(c)
		}()
	}
}

// converse serves one conversation. The host knows by its end if it broke.
func (a *agent) converse(c conversation) {
	var r request
	fds, err := c.receive(&r)
	defer func() { closeAll(fds) }()
	if err != nil {
		return
	}
	switch {
	case r.Exec != nil:
		stdio := fds
		fds = nil // closed as soon as the process has them
		err = a.exec(c, r.Exec, stdio)
	case r.Kill != nil:
		err = a.kill(c, r.Kill)
	case r.Dial != nil:
		err = dial(c, r.Dial)
	case r.File != nil:
		err = serveFile(c, r.File)
	case r.Mount != nil:
		err = a.mount(c, r.Mount)
	case r.Copy != nil:
		err = copyTree(c, r.Copy, fds)
	default:
		err = unix.EOPNOTSUPP
	}
	if err != nil {
		_ = c.send(answer{Failure: newFailure(err)})
	}
}
