package jupyter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lateCells is how many finished cells are still listened to, for what their
// threads print.
const lateCells = 64

// Kernel is one client's hold on a kernel. Cells run one at a time, in the
// order in which Execute was called. A cut connection is made again by itself.
type Kernel struct {
	server *Server
	// The three channels are locks that can be waited for with a context, and
	// a flag.
	turn    chan struct{} // held by the cell that runs
	linking chan struct{} // held while a connection is made
	lost    chan struct{} // filled when the connection ended by itself
	stop    context.CancelFunc
	wg      sync.WaitGroup

	messageLimit atomic.Int64 // bytes

	mu         sync.Mutex
	info       KernelInfo
	notebook   SessionInfo // zero without a notebook
	session    string      // identity of our websocket
	process    string      // identity of the kernel's process
	fresh      bool        // the next connection is to a new process
	reborn     bool        // the server replaces the dead process already
	link       *link       // nil while there is no connection
	err        error       // why no cell can run; nil when cells can
	closed     bool
	died       chan struct{} // closed when err is set
	changed    chan struct{} // closed when link or err changes
	generation int           // counts restarts
	running    *execution
	waiters    map[string]func(*message) // by the id of our request
	late       []string                  // ids of finished cells, oldest first
}

// StartKernel starts a kernel from the spec of this name; "" is the server's
// default. Its working directory is cwd below the server's root directory.
func (s *Server) StartKernel(ctx context.Context, name, cwd string) (*Kernel, error) {
	var info KernelInfo
	late, cancel := untilAnswered(ctx)
	defer cancel()
	if err := s.call(late, http.MethodPost, "/api/kernels", startRequest(name, cwd), &info); err != nil {
		return nil, fmt.Errorf("start kernel %q: %w", name, err)
	}
	k, err := s.open(ctx, info, SessionInfo{})
	if err != nil {
		s.discard(ctx, kernelPath(info.ID))
		return nil, fmt.Errorf("start kernel %q: %w", name, err)
	}
	return k, nil
}

func startRequest(name, cwd string) map[string]string {
	request := map[string]string{"path": cwd}
	if name != "" {
		request["name"] = name
	}
	return request
}

// OpenNotebook binds a kernel to the notebook at path, below the server's root
// directory, so that a person who opens it sees the same kernel. If it has one
// already, that is the kernel.
func (s *Server) OpenNotebook(ctx context.Context, path, kernelName string) (*Kernel, error) {
	return s.openNotebook(ctx, path, kernelName, func(SessionInfo) {})
}

// NewNotebook is OpenNotebook for one that has no kernel yet: a call that fails leaves none.
func (s *Server) NewNotebook(ctx context.Context, path, kernelName string) (*Kernel, error) {
	return s.openNotebook(ctx, path, kernelName, func(made SessionInfo) {
		s.discard(ctx, sessionPath(made.ID))
	})
}

func (s *Server) openNotebook(ctx context.Context, path, kernelName string, undo func(SessionInfo)) (*Kernel, error) {
	late, cancel := untilAnswered(ctx)
	defer cancel()
	session, err := s.openSession(late, path, kernelName)
	if err != nil {
		return nil, fmt.Errorf("open notebook %s: %w", path, err)
	}
	k, err := s.open(ctx, session.Kernel, session)
	if err != nil {
		undo(session)
		return nil, fmt.Errorf("open notebook %s: %w", path, err)
	}
	return k, nil
}

// untilAnswered ends some time after ctx: a kernel that is being started will
// be there, answer or not, and can be ended only by who learns its ID.
func untilAnswered(ctx context.Context) (late context.Context, cancel func()) {
	const patience = 5 * time.Second
	if ctx.Err() != nil {
		return ctx, func() {}
	}
	late, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(patience, func() { end(context.Cause(ctx)) })
	})
	return late, func() { stop(); end(nil) }
}

func (s *Server) openSession(ctx context.Context, path, kernelName string) (SessionInfo, error) {
	type spec struct {
		Name string `json:"name,omitempty"`
	}
	request := struct {
		Path   string `json:"path"`
		Name   string `json:"name"`
		Type   string `json:"type"`
		Kernel spec   `json:"kernel"`
	}{Path: path, Name: path, Type: "notebook", Kernel: spec{kernelName}}
	var session SessionInfo
	err := s.call(ctx, http.MethodPost, "/api/sessions", request, &session)
	return session, err
}

// Attach connects to a kernel that runs already, also while a cell of another
// client runs on it.
func (s *Server) Attach(ctx context.Context, kernelID string) (*Kernel, error) {
	info, err := s.kernel(ctx, kernelID)
	if err != nil {
		return nil, fmt.Errorf("attach to kernel %s: %w", kernelID, err)
	}
	k, err := s.open(ctx, info, SessionInfo{})
	if err != nil {
		return nil, fmt.Errorf("attach to kernel %s: %w", kernelID, err)
	}
	return k, nil
}

func (s *Server) open(ctx context.Context, info KernelInfo, notebook SessionInfo) (*Kernel, error) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	k := &Kernel{
		server:   s,
		turn:     make(chan struct{}, 1),
		linking:  make(chan struct{}, 1),
		lost:     make(chan struct{}, 1),
		stop:     stop,
		info:     info,
		notebook: notebook,
		session:  newID(),
		fresh:    true,
		died:     make(chan struct{}),
		changed:  make(chan struct{}),
		waiters:  make(map[string]func(*message)),
	}
	k.messageLimit.Store(s.config.MaxMessageBytes)
	if err := k.connect(ctx); err != nil {
		stop()
		k.wg.Wait()
		return nil, err
	}
	k.wg.Go(func() { k.keepLinked(background) })
	return k, nil
}

// discard removes what a failed call made, as far as that is possible.
func (s *Server) discard(ctx context.Context, path string) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := s.call(ctx, http.MethodDelete, path, nil, nil); err != nil {
		s.log.WarnContext(ctx, "remove kernel", "path", path, "error", err)
	}
}

// ID returns the server's name for the kernel. It changes only when Restart
// finds that the server has given the kernel up.
func (k *Kernel) ID() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.info.ID
}

// Name returns the name of the kernel's spec, such as "python3".
func (k *Kernel) Name() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.info.Name
}

// Died returns a channel that is closed when no cell can run any more: the
// kernel died, the server cannot be reached, or Close was called. After a
// Restart there is a new channel.
func (k *Kernel) Died() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.died
}

// Err returns why no cell can run, or nil.
func (k *Kernel) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// Interrupt raises KeyboardInterrupt in the cell that runs, whoever's it is. As
// with any signal, Python misses one that comes in the instant in which a call
// begins to wait, until that call returns.
func (k *Kernel) Interrupt(ctx context.Context) error {
	path := kernelPath(k.ID()) + "/interrupt"
	if err := k.server.call(ctx, http.MethodPost, path, nil, nil); err != nil {
		return fmt.Errorf("interrupt kernel: %w", err)
	}
	k.nudge()
	return nil
}

// nudge sends the kernel something. A kernel that awaits notices the signal
// of an interrupt only when its event loop has something to do.
func (k *Kernel) nudge() {
	k.mu.Lock()
	running, l := k.running, k.link
	k.mu.Unlock()
	switch {
	case running != nil:
		k.barrier(running)
	case l != nil:
		if id, err := k.probe(l, channelShell, func() {}); err != nil {
			k.forget(id)
		}
	}
}

// Restart gives the kernel a new process, also after it died. The cell that
// runs and those that wait end with [ErrKernelRestarted].
func (k *Kernel) Restart(ctx context.Context) error {
	select {
	case k.linking <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("restart kernel: %w", ctx.Err())
	}
	defer func() { <-k.linking }()

	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return fmt.Errorf("restart kernel: %w", ErrClosed)
	}
	old := k.renew()
	if k.err != nil {
		k.err, k.died = nil, make(chan struct{})
	}
	k.mu.Unlock()
	if old != nil {
		old.close()
	}
	err := k.replaceProcess(ctx)
	if err == nil {
		err = k.dial(ctx)
	}
	if err != nil {
		err = fmt.Errorf("restart kernel: %w", err)
		k.fail(err)
		return err
	}
	return nil
}

// renew ends what belongs to the old process and returns its connection. The
// caller holds mu.
func (k *Kernel) renew() *link {
	old := k.link
	k.link, k.session, k.fresh = nil, newID(), true
	k.generation++
	if k.running != nil {
		k.running.box.close(ErrKernelRestarted)
	}
	k.notify()
	return old
}

// replaceProcess restarts the kernel, or starts another where the server has
// none any more.
func (k *Kernel) replaceProcess(ctx context.Context) error {
	k.mu.Lock()
	info, notebook, reborn := k.info, k.notebook, k.reborn
	k.reborn = false
	k.mu.Unlock()
	if reborn {
		return nil // a second restart would race with the server's own
	}
	err := k.server.call(ctx, http.MethodPost, kernelPath(info.ID)+"/restart", nil, nil)
	if err == nil {
		return nil
	}
	// The server does not tell a kernel that it has given up from one that it
	// cannot restart.
	if _, gone := k.server.kernel(ctx, info.ID); !errors.Is(gone, ErrNotFound) {
		return err
	}
	if notebook.Path != "" {
		notebook, err = k.server.openSession(ctx, notebook.Path, info.Name)
		info = notebook.Kernel
	} else {
		err = k.server.call(ctx, http.MethodPost, "/api/kernels", startRequest(info.Name, ""), &info)
	}
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.info, k.notebook = info, notebook
	k.mu.Unlock()
	return nil
}

// Shutdown ends the kernel and closes k.
func (k *Kernel) Shutdown(ctx context.Context) error {
	k.mu.Lock()
	path := kernelPath(k.info.ID)
	if k.notebook.ID != "" {
		path = sessionPath(k.notebook.ID)
	}
	k.mu.Unlock()
	k.Close()
	err := k.server.call(ctx, http.MethodDelete, path, nil, nil)
	var refused *APIError
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("shut down kernel: %w", err)
	}
	return nil
}

// Close lets go of the kernel, which runs on. Cells end with [ErrClosed]. It
// may be called again.
func (k *Kernel) Close() {
	k.mu.Lock()
	first := !k.closed
	k.closed = true
	k.mu.Unlock()
	if first {
		k.fail(ErrClosed)
	}
	k.stop()
	k.wg.Wait()
}

// fail makes err the answer to the cell that runs and all later ones.
func (k *Kernel) fail(err error) {
	k.mu.Lock()
	if errors.Is(k.err, ErrClosed) {
		k.mu.Unlock()
		return
	}
	if k.err == nil {
		close(k.died)
	}
	k.err = err
	old := k.link
	k.link = nil
	if k.running != nil {
		k.running.box.close(err)
	}
	k.notify()
	k.mu.Unlock()
	if old != nil {
		old.conn.CloseNow() //nolint:errcheck // its reader ends either way
	}
}

// spawn runs f in a goroutine that Close waits for, unless k is closed.
func (k *Kernel) spawn(f func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.wg.Go(f)
	return true
}

// notify wakes whoever waits for link or err. The caller holds mu.
func (k *Kernel) notify() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// newID returns 128 random bits in hexadecimal.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// newMessage returns a request and its id.
func newMessage(channel, kind string, content json.RawMessage) *message {
	return &message{channel: channel, content: content, header: header{
		ID:       newID(),
		Type:     kind,
		Username: "seer",
		Version:  protocolVersion,
		Date:     time.Now().UTC().Format(time.RFC3339Nano),
	}}
}
