//go:build linux

package escape_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	seer "github.com/ajobi-uhc/seer-go"
)

// events are what an agent's code writes to every descriptor of its
// interpreter, as Python expressions: what the interpreter would have said, at
// another time, and what it would never say.
var events = map[string]string{
	"ready a second time":     `b'{"event":"ready","pid":1}\n'`,
	"ready for ever":          `b'{"event":"ready","pid":1}\n' * 20000`,
	"started a second time":   `b'{"event":"started"}\n'`,
	"done before it is done":  `b'{"event":"done"}\n'`,
	"done and done again":     `b'{"event":"done"}\n{"event":"done"}\n{"event":"started"}\n{"event":"started"}\n' * 100`,
	"everything at once":      `b'{"event":"started"}\n{"event":"ready"}\n{"event":"done"}\n' * 1000`,
	"numbers of no process":   `b'{"event":"ready","pid":-1}\n{"event":"ready","pid":99999999999999999999}\n'`,
	"no objects":              `b'null\n[]\n1\n"x"\n{}\ntrue\n{"event":null}\n{"event":[]}\n'`,
	"deep lists":              `b'{"event":"stream","text":' + b'[' * 100000 + b'\n' + b'[' * 100000 + b'\n'`,
	"deep objects":            `b'{"event":"result","data":' + b'{"a":' * 100000 + b'\n'`,
	"data of the wrong kinds": `b'{"event":"result","data":{"text/plain":1,"image/png":[],"text/html":null,"":{}}}\n{"event":"display","data":null}\n{"event":"error","name":1}\n{"event":"error"}\n'`,
	"pictures that are none":  `b'{"event":"display","data":{"image/png":"%%%","image/jpeg":"AAAA","image/svg+xml":"<svg"}}\n'`,
	"bytes that are no text":  `bytes(range(256)) * 100 + b'\n\xff\xfe{"event":"stream","text":"\xed\xa0\x80"}\n'`,
	"streams without a name":  `b'{"event":"stream","name":"","text":"x"}\n{"event":"stream","name":"stdin","text":"\\ud800"}\n' * 1000`,
}

// protocolAttempts meddle with what the owner's program reads from a sandbox.
func protocolAttempts() []attempt {
	all := []attempt{}
	for _, name := range slices.Sorted(maps.Keys(events)) {
		all = append(all, attempt{name: "the interpreter says: " + name, program: func(ctx context.Context, p *program) string { return p.saying(ctx, events[name]) }})
	}
	return append(all,
		attempt{name: "the interpreter stops answering", program: func(ctx context.Context, p *program) string {
			return p.session(ctx, `import os, signal; os.kill(os.getpid(), signal.SIGSTOP)`)
		}},
		attempt{name: "the interpreter closes its descriptors", program: func(ctx context.Context, p *program) string {
			return p.session(ctx, `import os, time; os.closerange(0, 64); time.sleep(1000)`)
		}},
		attempt{name: "the interpreter ignores every signal", program: func(ctx context.Context, p *program) string {
			return p.session(ctx, "import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True:\n    try: time.sleep(1000)\n    except BaseException: pass")
		}},
		attempt{name: "the interpreter leaves children that hold its output", program: func(ctx context.Context, p *program) string {
			return p.session(ctx, "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(1000)\nos._exit(1)")
		}},
		attempt{name: "a line without an end fills the owner's memory", program: func(ctx context.Context, p *program) string {
			return p.grown(150<<20, func() string { return p.saying(ctx, `b'{"event":"stream","text":"' + b'x' * 200000000`) })
		}},
		attempt{name: "what is printed fills the owner's memory", program: func(ctx context.Context, p *program) string {
			return p.grown(150<<20, func() string {
				return p.session(ctx, "for _ in range(3000): print('x' * 99999)")
			})
		}},
		attempt{name: "results fill the owner's memory", program: func(ctx context.Context, p *program) string {
			return p.grown(150<<20, func() string {
				return p.session(ctx, "for _ in range(300): display('x' * 999999)")
			})
		}},
		attempt{name: "the list of files never ends", program: func(ctx context.Context, p *program) string {
			return p.flood(ctx, "find", func(s *seer.Sandbox) { _, _ = fs.Stat(s.FS(ctx), "tmp") })
		}},
		attempt{name: "a file listing never ends", program: func(ctx context.Context, p *program) string {
			return p.flood(ctx, "find", func(s *seer.Sandbox) { _, _ = fs.ReadDir(s.FS(ctx), "tmp") })
		}},
		attempt{name: "a list of files is nonsense", program: func(ctx context.Context, p *program) string {
			return p.replaced(ctx, "find", `printf 'd\0-1\0-1\0x\0../../etc\0\0f\099999999999\0\0\0\0\0'; exit 0`, func(s *seer.Sandbox) {
				_, _ = fs.ReadDir(s.FS(ctx), "tmp")
				_ = fs.WalkDir(s.FS(ctx), "tmp", func(string, fs.DirEntry, error) error { return nil })
			})
		}},
		attempt{name: "the list of packages never ends", program: func(ctx context.Context, p *program) string {
			return p.flood(ctx, "python", func(s *seer.Sandbox) { _, _ = s.Snapshot(ctx, "") })
		}},
		attempt{name: "what a sandbox says of itself never ends", program: func(ctx context.Context, p *program) string {
			return p.flood(ctx, "cat", func(s *seer.Sandbox) {
				if found, err := seer.FromID(ctx, s.SandboxID(), seer.WithBackend(p.backend)); err == nil {
					_ = found.Close()
				}
			})
		}},
		attempt{name: "a complaint never ends", program: func(ctx context.Context, p *program) string {
			return p.grown(150<<20, func() string {
				_, _ = p.shared(ctx).Exec(ctx, "yes | head -c 200000000 >&2; exit 1")
				return p.alive(ctx)
			})
		}},
		attempt{name: "a command ends while its output goes on", program: func(ctx context.Context, p *program) string {
			return p.own(ctx, seer.SandboxConfig{}, func(s *seer.Sandbox) string {
				limited, cancel := context.WithTimeout(ctx, quick)
				defer cancel()
				_, _ = s.Exec(limited, "(setsid yes >&1 &) ; exit 0")
				return ""
			})
		}},
		attempt{name: "output that its reader does not take", program: func(ctx context.Context, p *program) string {
			return p.own(ctx, seer.SandboxConfig{}, func(s *seer.Sandbox) string {
				read, write, err := os.Pipe()
				if err != nil {
					return err.Error()
				}
				defer func() { _ = read.Close() }()
				limited, cancel := context.WithTimeout(ctx, quick)
				defer cancel()
				cmd := s.Command("head", "-c", "300000000", "/dev/zero")
				cmd.Stdout = write
				if err := cmd.Start(limited); err != nil {
					return err.Error()
				}
				ended := make(chan struct{})
				go func() { defer close(ended); _ = cmd.Wait() }()
				<-limited.Done()
				_ = read.Close()
				_ = write.Close()
				<-ended
				return ""
			})
		}},
	)
}

// quick bounds what an agent would keep for ever.
const quick = 3e9 / 2

// session runs code in a session that it may break. Its end must be in time,
// and the sandbox must not notice.
func (p *program) session(ctx context.Context, code string) string {
	session, err := seer.NewCLISession(ctx, p.shared(ctx), nil, nil)
	if err != nil {
		return err.Error()
	}
	limited, cancel := context.WithTimeout(ctx, quick)
	_, _ = session.Exec(limited, code)
	cancel()
	ending, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	_ = session.Close(ending)
	if ending.Err() != nil {
		return "the session cannot be closed"
	}
	return p.alive(ctx)
}

// saying writes something to every descriptor of an interpreter.
func (p *program) saying(ctx context.Context, what string) string {
	return p.session(ctx, fmt.Sprintf(`
import os
said = %s
for number in range(1, 16):
    try:
        rest = memoryview(said)
        while rest: rest = rest[os.write(number, rest):]
    except OSError: pass
`, what))
}

// replaced has an agent replace a program that the SDK uses, and the owner use it.
func (p *program) replaced(ctx context.Context, name, script string, use func(*seer.Sandbox)) string {
	return p.own(ctx, seer.SandboxConfig{}, func(sandbox *seer.Sandbox) string {
		if _, err := sandbox.Exec(ctx, fmt.Sprintf("rm -f /opt/python/bin/%[1]s; printf '#!/bin/sh\\n%%s\\n' \"$(cat <<'END'\n%[2]s\nEND\n)\" >/opt/python/bin/%[1]s; chmod 755 /opt/python/bin/%[1]s", name, script)); err != nil {
			return err.Error()
		}
		use(sandbox)
		return p.alive(ctx)
	})
}

// flood is replaced by output without a line's end, of 200 MB, of which a bounded part may be kept.
func (p *program) flood(ctx context.Context, name string, use func(*seer.Sandbox)) string {
	return p.grown(250<<20, func() string {
		return p.replaced(ctx, name, `head -c 200000000 /dev/zero | tr '\0' x`, use)
	})
}
