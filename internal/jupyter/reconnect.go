package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// connect makes the first connection.
func (k *Kernel) connect(ctx context.Context) error {
	k.linking <- struct{}{}
	defer func() { <-k.linking }()
	return k.dial(ctx)
}

// dial connects and publishes the connection. The caller holds linking.
func (k *Kernel) dial(ctx context.Context) error {
	k.mu.Lock()
	id, session, fresh := k.info.ID, k.session, k.fresh
	k.mu.Unlock()
	var l *link
	var err error
	if fresh {
		l, err = k.dialFresh(ctx, id, session)
	} else {
		l, err = dialLink(ctx, k.server, id, session, &k.messageLimit, k.dispatch)
	}
	if err != nil {
		return err
	}

	k.mu.Lock()
	if k.err != nil || k.session != session {
		err = k.err
		k.mu.Unlock()
		l.close()
		return err
	}
	k.link, k.fresh = l, false
	running := k.running
	k.notify()
	k.wg.Go(func() {
		<-l.done
		k.linkDown(l)
	})
	k.mu.Unlock()
	if running != nil {
		k.barrier(running)
	}
	return nil
}

// dialFresh connects to a process that is still starting and waits until
// messages flow both ways. A process that the server is just replacing may
// come back on other ports, which only a new connection sees.
func (k *Kernel) dialFresh(ctx context.Context, id, session string) (*link, error) {
	for patience := 10 * time.Second; ; patience *= 2 {
		l, err := dialLink(ctx, k.server, id, session, &k.messageLimit, k.dispatch)
		if err != nil {
			return nil, err
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		err = k.handshake(limited, l)
		impatient := limited.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			return l, nil
		}
		l.close()
		if !impatient {
			return nil, err
		}
	}
}

// handshake waits until the kernel has answered a request of this connection
// on both channels that an answer takes. The control channel answers also
// while a cell of another client runs. The subscription to the outputs may
// begin later than the requests do, so they are repeated.
func (k *Kernel) handshake(ctx context.Context, l *link) error {
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	var ids []string
	defer func() { k.forget(ids...) }()
	wait := 500 * time.Millisecond
	for {
		for _, channel := range []string{channelControl, channelShell} {
			id, err := k.probe(l, channel, once)
			if err != nil {
				return fmt.Errorf("wait for kernel: %w", err)
			}
			ids = append(ids, id)
		}
		timer := time.NewTimer(wait)
		wait = min(2*wait, 10*time.Second)
		select {
		case <-ready:
			timer.Stop()
			return nil
		case <-l.done:
			timer.Stop()
			return fmt.Errorf("wait for kernel: %w", l.err)
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for kernel: %w", ended(ctx))
		case <-timer.C:
		}
	}
}

// probe asks the kernel something harmless. then runs, once, in the reader's
// goroutine, when the answer and the message that it is finished have come.
func (k *Kernel) probe(l *link, channel string, then func()) (id string, err error) {
	m := newMessage(channel, "kernel_info_request", emptyObject)
	id = m.header.ID
	var replied, idle bool
	k.mu.Lock()
	k.waiters[id] = func(answer *message) {
		if answer.header.Type == "kernel_info_reply" {
			replied = true
			k.mu.Lock()
			k.process = answer.header.Session
			k.mu.Unlock()
		}
		idle = idle || isIdle(answer)
		if replied && idle {
			k.forget(id)
			then()
		}
	}
	k.mu.Unlock()
	return id, l.write(m)
}

// barrier finds out whether the cell is over. The kernel answers requests in
// order, so when it has answered this one and the end of the cell has not
// come, it never will.
func (k *Kernel) barrier(x *execution) {
	k.mu.Lock()
	l := k.link
	k.mu.Unlock()
	if l == nil {
		return // the next connection begins with one
	}
	id, err := k.probe(l, channelShell, func() { x.box.close(ErrOutputLost) })
	if err != nil {
		k.forget(id)
		return // the connection is gone, and the next begins with one
	}
	x.remember(id)
}

func (k *Kernel) forget(ids ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		delete(k.waiters, id)
	}
}

// linkDown notes that a connection has ended, unless we ended it.
func (k *Kernel) linkDown(l *link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != l {
		return
	}
	k.link = nil
	if k.running != nil {
		// The server keeps what comes from now on, but what was under way may
		// be lost.
		k.running.box.markIncomplete()
	}
	k.notify()
	k.redial()
}

// redial asks keepLinked for a new connection.
func (k *Kernel) redial() {
	select {
	case k.lost <- struct{}{}:
	default:
	}
}

// keepLinked makes the connection again whenever it is lost.
func (k *Kernel) keepLinked(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.lost:
		}
		select {
		case <-ctx.Done():
			return
		case k.linking <- struct{}{}:
		}
		k.relink(ctx)
		<-k.linking
	}
}

func (k *Kernel) relink(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, k.server.config.ReconnectTimeout)
	defer cancel()
	wait := backoff{next: 5 * time.Millisecond, limit: time.Second}
	for {
		k.mu.Lock()
		needed := k.link == nil && k.err == nil
		k.mu.Unlock()
		if !needed {
			return
		}
		err := k.resume(limited)
		switch {
		case err == nil:
			k.server.log.InfoContext(ctx, "connected to kernel again", "kernel", k.ID())
			return
		case errors.Is(err, ErrNotFound):
			k.fail(fmt.Errorf("%w: the server has no such kernel any more", ErrKernelDied))
			return
		case errors.Is(err, ErrUnauthorized):
			k.fail(fmt.Errorf("%w: %w", ErrConnectionLost, err))
			return
		}
		if wait.sleep(limited) != nil {
			if ctx.Err() == nil {
				k.fail(fmt.Errorf("%w: %w", ErrConnectionLost, err))
			}
			return
		}
	}
}

// resume connects under the old identity and so receives what the server kept.
func (k *Kernel) resume(ctx context.Context) error {
	k.mu.Lock()
	id, fresh := k.info.ID, k.fresh
	k.mu.Unlock()
	if !fresh {
		if err := k.awaitBuffer(ctx, id); err != nil {
			return err
		}
	}
	return k.dial(ctx)
}

// awaitBuffer waits until the server has noticed that our connection ended and
// keeps our messages. It does so only for a kernel that nobody else is
// connected to, so the wait is bounded.
func (k *Kernel) awaitBuffer(ctx context.Context, id string) error {
	const patience = 2 * time.Second
	wait := backoff{next: 5 * time.Millisecond, limit: 200 * time.Millisecond}
	for start := time.Now(); ; {
		info, err := k.server.kernel(ctx, id)
		switch {
		case err != nil:
			return err
		case info.Connections == 0, time.Since(start) > patience:
			return nil
		}
		if err := wait.sleep(ctx); err != nil {
			return err
		}
	}
}

// dispatch takes a message from the connection's reader. It must not block.
func (k *Kernel) dispatch(l *link, m *message) {
	// The server signs its own messages with the identity of our connection.
	m.fromServer = m.header.Session == l.session
	if m.channel == channelIOPub && k.lifecycle(l, m) {
		return
	}
	if m.parent.ID == "" {
		return
	}
	k.mu.Lock()
	waiter := k.waiters[m.parent.ID]
	k.mu.Unlock()
	if waiter != nil {
		waiter(m)
	}
}

// lifecycle handles what is about the kernel's process.
func (k *Kernel) lifecycle(l *link, m *message) bool {
	switch m.header.Type {
	case "shutdown_reply":
		var content struct {
			Restart bool `json:"restart"`
		}
		if json.Unmarshal(m.content, &content) == nil && content.Restart {
			k.restartedElsewhere(l)
		} else {
			k.fail(fmt.Errorf("%w: it was shut down", ErrKernelDied))
		}
		return true
	case "status":
		switch statusOf(m) {
		case "restarting":
			k.mu.Lock()
			k.reborn = true
			k.mu.Unlock()
			k.fail(fmt.Errorf("%w: its process ended", ErrKernelDied))
			return true
		case "dead":
			k.fail(fmt.Errorf("%w: its process ended and could not be started again", ErrKernelDied))
			return true
		case "starting":
			k.mu.Lock()
			other := k.link == l && k.process != m.header.Session
			k.mu.Unlock()
			if other {
				k.restartedElsewhere(l)
			}
			return true
		}
	}
	return false
}

// restartedElsewhere connects to the process that another client asked for.
func (k *Kernel) restartedElsewhere(l *link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != l {
		return
	}
	k.renew()
	l.conn.CloseNow() //nolint:errcheck // its reader ends either way
	k.redial()
}

func statusOf(m *message) string {
	var content struct {
		State string `json:"execution_state"`
	}
	if m.header.Type != "status" || json.Unmarshal(m.content, &content) != nil {
		return ""
	}
	return content.State
}

func isIdle(m *message) bool { return statusOf(m) == "idle" }
