package seer

import (
	"log/slog"
	"time"
)

// Option adjusts where a sandbox runs and how it reports. Options are read
// once, by the function they are given to.
type Option func(*options)

type options struct {
	backend  Backend
	appName  string
	logger   *slog.Logger
	progress func(Event)
	envFile  string
	lease    time.Duration
	prices   *Prices // nil = ListPrices, but nothing on the local backend
	refresh  bool    // a restored sandbox gets its local files anew
	toolText int     // bytes in the result of a tool; 0 = the MCP server's own
	// bytes that a call collects of what comes out of the sandbox; 0 = the defaults
	outputLimit int64
	queue       time.Duration // for a machine; 0 = the default, negative = no limit
	renew       bool          // the services of a sandbox that is found get new tokens
}

const (
	defaultAppName = "seer"
	defaultLease   = 5 * time.Minute
)

func newOptions(opts []Option) options {
	o := options{appName: defaultAppName, logger: slog.Default(), lease: defaultLease}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// WithBackend says where the sandbox runs: [Modal], the local package's New
// or seertest's server. Without it SEER_BACKEND decides.
func WithBackend(backend Backend) Option {
	return func(o *options) { o.backend = backend }
}

// WithAppName names the Modal app that the sandbox belongs to. The default is "seer".
func WithAppName(name string) Option {
	return func(o *options) {
		if name != "" {
			o.appName = name
		}
	}
}

// WithLogger takes the SDK's own log lines. The default is [slog.Default].
// No secret is ever logged.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}

// WithProgress is called with every step of Start: when it begins, what it
// prints, how far it is, when it is done. Calls come one at a time, from a
// goroutine of the SDK, which waits for them: return quickly, and end no
// sandbox from there. See
// [PrintProgress] for one that writes to a terminal.
func WithProgress(report func(Event)) Option {
	return func(o *options) { o.progress = report }
}

// WithEnvFile names the file that Secrets are looked up in after the process
// environment. The default is .env in the working directory, if there is one and
// a name is not in the environment; a file named here must be readable. Values
// are those that python-dotenv's load_dotenv(override=False) would set: quotes,
// escapes, comments and ${NAME} included. A line that is no NAME=value is
// skipped with a warning, and an error only for who needs its name.
func WithEnvFile(path string) Option {
	return func(o *options) { o.envFile = path }
}

// WithRefreshedFiles copies LocalFiles and LocalDirs into a sandbox that starts
// from a snapshot, as they are on this machine now. Without it a snapshot's own
// files stay as they were saved. A file that is in the snapshot and no longer
// here stays; a sandbox that starts from nothing is given its files anyway.
func WithRefreshedFiles() Option {
	return func(o *options) { o.refresh = true }
}

// WithNewTokens lets [FromID] and [ScopedFromID] give the sandbox's services new
// tokens and passwords: whoever has the old ones is locked out. Jupyter, VS Code
// and the server of functions take new ones only as they start, so they are
// ended first, with every kernel and served function. Without it they run on as
// they are, for the agents that use them.
func WithNewTokens() Option {
	return func(o *options) { o.renew = true }
}

// WithToolText says how much text the result of an MCP tool of a service or a
// manager may have, in bytes; of a longer one the middle is left out, and the
// text says so. 0 = 100,000; less than 2000 counts as that.
func WithToolText(size int) Option {
	return func(o *options) { o.toolText = max(size, 0) }
}

// WithOutputLimit sets how many bytes a call collects of what a sandbox sends:
// [Sandbox.Exec] and its like, [Cmd.Output], [Sandbox.ReadFile]. More is an
// error that matches [ErrOutputLimit]. 0 means the defaults: 64 MiB of a
// command's output, 256 MiB of a file. [Cmd.Stdout] and [Sandbox.Download] take
// any amount.
func WithOutputLimit(bytes int64) Option {
	return func(o *options) { o.outputLimit = bytes }
}

const (
	defaultOutputLimit = 64 << 20
	defaultFileLimit   = 256 << 20
)

// WithLease sets how long a sandbox outlives a program that was killed: the
// program renews the lease while it runs, and the sandbox ends by itself when
// it runs out. 0 means the default of 5 minutes; a negative lease is none, so
// that only Timeout ends a forgotten sandbox. [Sandbox.Close] lifts the lease.
// Sandboxes with an IdleTimeout need none and have none.
func WithLease(lease time.Duration) Option {
	return func(o *options) {
		if lease != 0 {
			o.lease = lease
		}
	}
}

// WithQueueTimeout bounds how long Start waits for a machine once the backend has
// accepted the sandbox, for a GPU that is in demand, say. Events tell every
// minute that it waits, and for what. When the time is over, Start removes the
// sandbox and returns an error that matches [context.DeadlineExceeded]. 0 means
// the default of 20 minutes; a negative time is no bound but that of the context.
func WithQueueTimeout(patience time.Duration) Option {
	return func(o *options) { o.queue = patience }
}
