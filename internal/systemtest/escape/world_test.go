//go:build linux

package escape_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// host is a host with something to lose.
type host struct {
	server    *seertest.Server
	cut       *seer.Sandbox // one without a network
	neighbour *seer.Sandbox // one that nobody attacks from inside

	dir     string            // the owner's, with a secret in it and nothing that may change
	secret  string            // a file that only the owner may read
	target  string            // a file that only the owner may write
	echo    string            // a program of the owner, called sh, that prints its arguments
	markers map[string]string // what must not be seen, by what it is
	hits    atomic.Int32      // of the owner's services on loopback
	facts   string            // what attempts know, as JSON

	mu     sync.Mutex
	before string // what changed() compares with
}

// world is the host as the agent of one sandbox attacks it.
type world struct {
	*host
	t        *testing.T
	agent    *seer.Sandbox
	programs *programs
}

// enter gives an agent a sandbox.
func (h *host) enter(t *testing.T) *world {
	t.Helper()
	w := &world{host: h, t: t, programs: &programs{t: t, dir: t.TempDir()}}
	t.Cleanup(w.programs.close)
	w.agent = w.start(t, seer.SandboxConfig{EncryptedPorts: []int{9000}})
	return w
}

const (
	markerVariable   = "SEER_ESCAPE_MARKER"
	gitTokenVariable = "SEER_ESCAPE_GIT_TOKEN"
)

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{server: seertest.NewServer(t), dir: t.TempDir(), markers: map[string]string{}}
	for _, name := range []string{"a file of the owner", "a variable of the owner", "a service of the owner", "a socket of the owner", "a file of the neighbour", "a variable of the neighbour"} {
		h.markers[name] = "marker-" + rand.Text()
	}
	t.Setenv(markerVariable, h.markers["a variable of the owner"])
	t.Setenv(gitTokenVariable, "t0ken-"+rand.Text())
	h.secret, h.target = filepath.Join(h.dir, "secret.txt"), filepath.Join(h.dir, "target.txt")
	require.NoError(t, os.WriteFile(h.secret, []byte(h.markers["a file of the owner"]), 0o600))
	require.NoError(t, os.WriteFile(h.target, []byte("untouched"), 0o600))

	h.echo = filepath.Join(h.dir, "bin", "sh")
	program, err := os.ReadFile("/usr/bin/echo")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Dir(h.echo), 0o755))
	require.NoError(t, os.WriteFile(h.echo, program, 0o755))
	h.keepDevices(t)

	h.cut = h.start(t, seer.SandboxConfig{BlockNetwork: true})
	h.neighbour = h.start(t, seer.SandboxConfig{EncryptedPorts: []int{9000}, Env: map[string]string{"NEIGHBOUR": h.markers["a variable of the neighbour"]}})
	require.NoError(t, h.neighbour.WriteFile(t.Context(), "/root/marker", []byte(h.markers["a file of the neighbour"])))
	_, err = h.neighbour.Exec(t.Context(), "cd /root && setsid python -m http.server 9000 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 &")
	require.NoError(t, err)
	h.know(t)
	h.before = h.look()
	return h
}

// devices are those of the host that sandboxes are shown.
var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

// keepDevices gives the host's devices their modes back when the test ends.
func (h *host) keepDevices(t *testing.T) {
	t.Helper()
	for _, path := range devices {
		info, err := os.Stat(path)
		require.NoError(t, err)
		t.Cleanup(func() {
			if os.Geteuid() == 0 {
				_ = unix.Removexattr(path, "system.posix_acl_access")
				require.NoError(t, os.Chown(path, 0, 0))
				require.NoError(t, os.Chmod(path, info.Mode()))
			}
		})
	}
}

// start starts a sandbox that ends with the test.
func (h *host) start(t *testing.T, config seer.SandboxConfig, opts ...seer.Option) *seer.Sandbox {
	t.Helper()
	sandbox, err := seer.NewSandbox(config, append([]seer.Option{seer.WithBackend(h.server.Backend())}, opts...)...).Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { h.end(t, sandbox) })
	return sandbox
}

func (h *host) end(t *testing.T, sandbox *seer.Sandbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), attemptLimit)
	defer cancel()
	require.NoError(t, sandbox.Terminate(ctx))
}

// know collects what attempts may know of the host, and opens the owner's services.
func (h *host) know(t *testing.T) {
	t.Helper()
	var root syscall.Stat_t
	require.NoError(t, syscall.Stat("/", &root))
	var this syscall.Utsname
	require.NoError(t, syscall.Uname(&this))
	line, err := os.ReadFile("/proc/cmdline")
	require.NoError(t, err)
	sum := sha256.Sum256(line)
	service := h.listen(t)
	udp := h.listenUDP(t)
	socket, abstract := h.listenUnix(t)
	tunnel, err := h.neighbour.URL(t.Context(), 9000)
	require.NoError(t, err)
	facts, err := json.Marshal(map[string]any{
		"secret": h.secret, "target": h.target, "dir": h.dir, "root": []uint64{root.Dev, root.Ino}, "pid": os.Getpid(),
		"port": service, "udp": udp, "socket": socket, "abstract": abstract, "tunnel": portOf(t, tunnel),
		"server": portOf(t, h.server.Endpoint().ServerURL), "addresses": hostAddresses(t), "cmdline": hex.EncodeToString(sum[:]),
		"variable": markerVariable, "exe": os.Args[0], "home": os.Getenv("SEER_HOME"), "here": filepath.Dir(h.dir),
	})
	require.NoError(t, err)
	h.facts = string(facts)
}

func (h *host) listen(t *testing.T) int {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		h.hits.Add(1)
		fmt.Fprint(rw, h.markers["a service of the owner"])
	}))
	t.Cleanup(server.Close)
	return portOf(t, server.URL)
}

func (h *host) listenUDP(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp4", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if strings.HasPrefix(string(buf[:n]), "agent") {
				h.hits.Add(1)
				_, _ = conn.WriteToUDP([]byte(h.markers["a service of the owner"]), from)
			}
		}
	}()
	address, ok := conn.LocalAddr().(*net.UDPAddr)
	require.True(t, ok)
	return address.Port
}

func (h *host) listenUnix(t *testing.T) (socket, abstract string) {
	t.Helper()
	sockets, err := os.MkdirTemp("", "seer-escape-") //nolint:usetesting // the path of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(sockets)) })
	socket, abstract = filepath.Join(sockets, "s"), "seer-escape-"+rand.Text()
	for _, name := range []string{socket, "@" + abstract} {
		listener, err := net.Listen("unix", name)
		require.NoError(t, err)
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				h.hits.Add(1)
				_, _ = conn.Write([]byte(h.markers["a socket of the owner"]))
				_ = conn.Close()
			}
		}()
	}
	return socket, abstract
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	port, err := strconv.Atoi(parsed.Port())
	require.NoError(t, err)
	return port
}

// hostAddresses are this machine's own, those of loopback left out.
func hostAddresses(t *testing.T) []string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	found := []string{}
	for _, a := range all {
		if network, ok := a.(*net.IPNet); ok && !network.IP.IsLoopback() && network.IP.To4() != nil {
			found = append(found, network.IP.String())
		}
	}
	return found
}

// leaked names a marker that a text contains.
func (h *host) leaked(text string) string {
	for name, marker := range h.markers {
		if strings.Contains(text, marker) {
			return name
		}
	}
	return ""
}

// look describes what no attempt may change.
func (h *host) look() string {
	var seen []string
	_ = filepath.WalkDir(h.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			seen = append(seen, err.Error())
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		content := ""
		if entry.Type().IsRegular() && path != h.echo {
			data, _ := os.ReadFile(path)
			content = string(data)
		}
		seen = append(seen, fmt.Sprintf("%s %v %q", strings.TrimPrefix(path, h.dir), info.Mode(), content))
		return nil
	})
	for _, path := range slices.Concat(devices, []string{"/bin/sh", "/etc/passwd", "/usr/bin/env", os.Args[0]}) {
		var info syscall.Stat_t
		if err := syscall.Stat(path, &info); err == nil {
			seen = append(seen, fmt.Sprintf("%s %o %d %d %d", path, info.Mode, info.Uid, info.Gid, info.Nlink))
		}
	}
	return strings.Join(seen, "\n")
}

// changed says what has changed on the host, and takes it as it is from now on.
func (h *host) changed() string {
	if hits := h.hits.Swap(0); hits > 0 {
		return outf("the owner's services were called %d times", hits)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.look()
	if now == h.before {
		return ""
	}
	before := strings.Split(h.before, "\n")
	h.before = now
	for _, line := range strings.Split(now, "\n") {
		if !slices.Contains(before, line) {
			return "the host has now: " + line
		}
	}
	return "something of the host is gone"
}

// plant runs a command of the agent's that must succeed.
func (h *host) plant(t *testing.T, sandbox *seer.Sandbox, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	text, err := sandbox.Exec(ctx, command)
	require.NoError(t, err)
	return text
}

// renew replaces the sandbox under attack when the agent has ended it, which it may.
func (w *world) renew(t *testing.T) {
	t.Helper()
	if w.alive(t.Context(), w.agent) != "" {
		t.Log("the agent ended its own sandbox")
		w.agent = w.start(w.t, seer.SandboxConfig{EncryptedPorts: []int{9000}})
	}
}

// alive says what is wrong with a sandbox that nobody may have hurt.
func (h *host) alive(ctx context.Context, sandbox *seer.Sandbox) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if text, err := sandbox.Exec(ctx, "echo alive"); err != nil || text != "alive\n" {
		return outf("a sandbox does not answer any more: %q, %v", text, err)
	}
	return ""
}
