//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

// agent answers the host.
type agent struct {
	places   places
	noSetID  bool
	spawner  *spawner
	lookups  *threads
	sessions *sessions
}

// bootRequest comes with the mounts, those of the targets and then the devices,
// and the files of the control group.
type bootRequest struct {
	Settings
	Targets []string
	Tasks   int
}

// files is how many come along.
func (r *bootRequest) files() int { return len(r.Targets) + len(devices) + r.Tasks }

// boot serves the first conversation, which sets the sandbox up.
func boot(control *net.UnixConn) (*agent, error) {
	c, err := self.Accept(control)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	var r request
	fds, err := c.Receive(&r)
	if err != nil {
		self.CloseAll(fds)
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if r.Boot == nil || len(fds) != r.Boot.files() {
		self.CloseAll(fds)
		return nil, errors.New("read configuration: something else came first")
	}
	a, network, err := newAgent(r.Boot, fds)
	if err != nil {
		return nil, errors.Join(err, c.Send(answer{Result: self.Fail(err)}))
	}
	defer func() { _ = unix.Close(network) }()
	return a, c.Send(answer{}, network)
}

func newAgent(r *bootRequest, fds []int) (*agent, int, error) {
	mounts, tasks := fds[:len(fds)-r.Tasks], fds[len(fds)-r.Tasks:]
	defer self.CloseAll(tasks)
	places, network, err := setUp(r, mounts)
	if err != nil {
		return nil, -1, err
	}
	s, err := newSpawner(places, &r.Settings, tasks)
	if err == nil {
		err = places.shieldKernel(r.Privileges)
	}
	if err != nil {
		return nil, -1, errors.Join(err, unix.Close(network))
	}
	a := &agent{
		places:   places,
		noSetID:  r.NoSetID,
		spawner:  s,
		lookups:  newThreads(places.root, &r.Settings),
		sessions: newSessions(places),
	}
	return a, network, nil
}

func (a *agent) serve(control *net.UnixConn) error {
	for {
		c, err := self.Accept(control)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, unix.EMFILE) {
			continue // this conversation is lost, and others end
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
func (a *agent) converse(c self.Conversation) {
	var r request
	fds, err := c.Receive(&r)
	defer func() { self.CloseAll(fds) }()
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
		err = a.serveFile(c, r.File)
	case r.Freeze != nil:
		err = a.freeze(c)
	case r.Mount != nil:
		mounts := fds
		fds = nil // attached
		err = a.mount(c, r.Mount, mounts)
	default:
		err = unix.EOPNOTSUPP
	}
	if err != nil {
		_ = c.Send(answer{Result: self.Fail(err)})
	}
}
