//go:build linux

package escape_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	seer "github.com/ajobi-uhc/seer-go"
)

// events are what an agent's code writes to every descriptor of its
// interpreter, as Python expressions: what the interpreter would have said, at
// another time, and what it would never say.
var events = map[string]string{
	"done before it is done":  `b'{"event":"done"}\n'`,
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
		attempt{name: "a list of files is nonsense", program: func(ctx context.Context, p *program) string {
			return p.replaced(ctx, "find", `printf 'd\0-1\0-1\0x\0../../etc\0\0f\099999999999\0\0\0\0\0'; exit 0`, func(s *seer.Sandbox) {
				_, _ = fs.ReadDir(s.FS(ctx), "tmp")
				_ = fs.WalkDir(s.FS(ctx), "tmp", func(string, fs.DirEntry, error) error { return nil })
			})
		}},
		attempt{name: "what a sandbox says of itself never ends", program: func(ctx context.Context, p *program) string {
			return p.flood(ctx, "cat", func(s *seer.Sandbox) {
				if found, err := seer.FromID(ctx, s.SandboxID(), seer.WithBackend(p.backend)); err == nil {
					_ = found.Close()
				}
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

// flood is replaced by output without a line's end, of 200 MB.
func (p *program) flood(ctx context.Context, name string, use func(*seer.Sandbox)) string {
	return p.grown(150<<20, func() string {
		return p.replaced(ctx, name, `head -c 200000000 /dev/zero | tr '\0' x`, use)
	})
}
