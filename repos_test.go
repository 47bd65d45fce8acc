package seer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// gitHost is git's own HTTP backend behind TLS on a loopback port. Repositories
// below /private ask for a token.
type gitHost struct {
	dir     string
	address string // as this machine reaches it
	url     string // as a sandbox does
	caFile  string
	heads   map[string]string // commit by branch of the public repository

	beforePrivate func() // called before a private repository answers; nil = nothing
}

const gitToken = "t0ken-of-the-private-repo"

func newGitHost(t *testing.T) *gitHost {
	t.Helper()
	h := &gitHost{dir: t.TempDir(), heads: map[string]string{}}
	tree := filepath.Join(h.dir, "tree")
	h.git(t, "init", "--quiet", "--initial-branch=main", tree)
	for _, branch := range []string{"main", "dev"} {
		h.git(t, "-C", tree, "checkout", "--quiet", "-B", branch)
		require.NoError(t, os.WriteFile(filepath.Join(tree, "branch"), []byte(branch+"\n"), 0o644))
		h.git(t, "-C", tree, "add", ".")
		h.git(t, "-C", tree, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", branch)
		h.heads[branch] = h.git(t, "-C", tree, "rev-parse", "HEAD")
	}
	h.git(t, "-C", tree, "checkout", "--quiet", "main")
	for _, repo := range []string{"public/tool.git", "public/foo.github.io.git", "private/tool.git"} {
		h.git(t, "clone", "--quiet", "--bare", tree, filepath.Join(h.dir, "repos", repo))
	}

	execPath := h.git(t, "--exec-path")
	backend := &cgi.Handler{
		Path:   filepath.Join(execPath, "git-http-backend"),
		Env:    []string{"GIT_PROJECT_ROOT=" + filepath.Join(h.dir, "repos"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Logger: log.New(io.Discard, "", 0),
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, token, _ := r.BasicAuth()
		if strings.HasPrefix(r.URL.Path, "/private/") && token != gitToken {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/private/") && h.beforePrivate != nil {
			h.beforePrivate()
		}
		backend.ServeHTTP(w, r)
	})
	h.serve(t, handler)
	return h
}

func (h *gitHost) git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("git", args...).CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// serve listens with a certificate of its own authority for the name that sandboxes use.
func (h *gitHost) serve(t *testing.T, handler http.Handler) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "git host"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"host.seer.internal"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	h.caFile = filepath.Join(h.dir, "ca.pem")
	require.NoError(t, os.WriteFile(h.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) //nolint:errcheck // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	h.address = listener.Addr().String()
	_, port, err := net.SplitHostPort(h.address)
	require.NoError(t, err)
	h.url = "https://host.seer.internal:" + port
}

// config trusts the host's certificate.
func (h *gitHost) config(t *testing.T, repos ...seer.RepoConfig) seer.SandboxConfig {
	t.Helper()
	ca, err := os.ReadFile(h.caFile)
	require.NoError(t, err)
	return seer.SandboxConfig{
		Repos:         repos,
		SetupCommands: []string{"cat >/etc/ssl/git-host.pem <<'EOF'\n" + string(ca) + "EOF\n"},
		Env:           map[string]string{"GIT_SSL_CAINFO": "/etc/ssl/git-host.pem"},
	}
}

func TestRepos(t *testing.T) {
	host := newGitHost(t)
	t.Setenv("SEER_TEST_GIT_TOKEN", gitToken)
	server := seertest.NewServer(t, seertest.AllowHost(host.address))
	config := host.config(t,
		seer.RepoConfig{URL: host.url + "/public/tool/"},
		seer.RepoConfig{URL: host.url + "/public/foo.github.io.git", Install: "cat branch > installed; pwd >> installed"},
		seer.RepoConfig{URL: host.url + "/public/tool.git", Branch: "dev", Target: "/src/dev"},
		seer.RepoConfig{URL: host.url + "/public/tool", Commit: host.heads["main"], Branch: "dev", Target: "/src/pinned"},
		seer.RepoConfig{URL: host.url + "/private/tool", TokenEnv: "SEER_TEST_GIT_TOKEN", Target: "/src/private"},
		seer.RepoConfig{URL: host.url + "/public/tool", Target: "/src/optional", Install: "exit 1", InstallOptional: true},
	)
	sandbox := startOn(t, server, config)

	out, err := sandbox.Exec(t.Context(), `cd /; cat workspace/tool/branch workspace/foo.github.io/installed src/dev/branch src/pinned/branch src/private/branch`)
	require.NoError(t, err)
	assert.Equal(t, "main\nmain\n/workspace/foo.github.io\ndev\nmain\nmain\n", out) // D23

	handles := sandbox.RepoHandles()
	require.Len(t, handles, len(config.Repos))
	assert.Equal(t, "/workspace/tool", handles[0].Path)
	assert.Equal(t, "foo.github.io", handles[1].Name)
	assert.Equal(t, host.heads["dev"], handles[2].Commit)
	assert.Equal(t, host.heads["main"], handles[3].Commit)

	t.Run("the token is nowhere", func(t *testing.T) {
		cmd := sandbox.Command("bash", "-c", `IFS= read -r token; basic=$(printf 'x-access-token:%s' "$token" | base64 -w0)
			for needle in "$token" "$basic"; do printf '%s\n' "$needle" | grep -rsalF -f - /src /workspace /root /tmp /run /etc /home /proc/[0-9]*/environ /proc/[0-9]*/cmdline; done
			git -C /src/private remote -v; env`)
		cmd.Stdin = strings.NewReader(gitToken + "\n")
		out, err := cmd.CombinedOutput(t.Context())
		require.NoError(t, err)
		for _, line := range strings.Split(string(out), "\n") {
			assert.NotContains(t, line, gitToken)
			assert.False(t, strings.HasPrefix(line, "/") && !strings.Contains(line, " "), "found in %s", line)
		}
	})
}

// stealToken looks for a token in all that a process of root can see.
const stealToken = `touch /root/stolen
for round in $(seq 20); do
	cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -a '[A]uthorization: Basic' >>/root/stolen
done
true`

// A repository's install does not see the token of another that is cloned.
func TestAnInstallSeesNoTokenOfAnotherClone(t *testing.T) {
	host := newGitHost(t)
	var said events
	installable := make(chan struct{})
	var once sync.Once
	host.beforePrivate = func() { // what is slow to clone leaves others time to begin
		select {
		case <-installable:
		case <-t.Context().Done():
		}
	}
	t.Setenv("SEER_TEST_GIT_TOKEN", gitToken)
	server := seertest.NewServer(t, seertest.AllowHost(host.address))
	config := host.config(t,
		seer.RepoConfig{URL: host.url + "/public/tool", Install: stealToken},
		seer.RepoConfig{URL: host.url + "/private/tool", TokenEnv: "SEER_TEST_GIT_TOKEN", Target: "/src/private"},
	)
	sandbox := startOn(t, server, config, seer.WithProgress(func(e seer.Event) {
		said.add(e)
		if e.Kind == seer.EventDone && e.Step == "clone tool" {
			once.Do(func() { close(installable) })
		}
	}))
	stolen, err := sandbox.ReadFile(t.Context(), "/root/stolen")
	require.NoError(t, err)
	assert.Empty(t, string(stolen))
	cloned, installed := said.of("clone tool (2)", seer.EventDone), said.of("install tool", seer.EventStarted)
	require.Len(t, cloned, 1)
	require.Len(t, installed, 1)
	assert.False(t, installed[0].Time.Before(cloned[0].Time))
}

func TestRepoFailures(t *testing.T) {
	t.Parallel()
	host := newGitHost(t)
	server := seertest.NewServer(t, seertest.AllowHost(host.address))
	for name, c := range map[string]struct {
		repo seer.RepoConfig
		want string
	}{
		"missing repository":  {seer.RepoConfig{URL: host.url + "/public/nothing"}, "not found"},
		"missing branch":      {seer.RepoConfig{URL: host.url + "/public/tool", Branch: "nope"}, "nope"},
		"no token":            {seer.RepoConfig{URL: host.url + "/private/tool"}, "clone tool"},
		"install fails":       {seer.RepoConfig{URL: host.url + "/public/tool", Install: "echo cannot build >&2; exit 9"}, "cannot build"},
		"install takes long":  {seer.RepoConfig{URL: host.url + "/public/tool", Install: "sleep 60", InstallTimeout: time.Second}, "timed out"},
		"commit that is gone": {seer.RepoConfig{URL: host.url + "/public/tool", Commit: strings.Repeat("ab", 20)}, "clone tool"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := seer.NewSandbox(host.config(t, c.repo), seer.WithBackend(server.Backend())).Start(within(t, patience))
			require.Error(t, err)
			assert.ErrorContains(t, err, c.want)
			var failed *seer.StartError
			require.ErrorAs(t, err, &failed)
			assert.Empty(t, server.Sandboxes())
		})
	}
}

func TestTunnelsReachEachSandboxByItself(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	serve := func(text string) string {
		sandbox := startOn(t, server, seer.SandboxConfig{EncryptedPorts: []int{8000}})
		require.NoError(t, sandbox.WriteFile(t.Context(), "/srv/www/index.html", []byte(text)))
		cmd := sandbox.Command("python", "-u", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", "/srv/www")
		read, stdout, err := os.Pipe()
		require.NoError(t, err)
		cmd.Stdout = stdout
		require.NoError(t, cmd.Start(t.Context()))
		t.Cleanup(func() {
			_ = cmd.Kill()
			_ = cmd.Wait()
			_ = stdout.Close()
			_ = read.Close()
		})
		_, err = read.Read(make([]byte, 100)) // "Serving HTTP on ..."
		require.NoError(t, err)
		url, err := sandbox.URL(t.Context(), 8000)
		require.NoError(t, err)
		return url
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	urls := map[string]string{}
	for i := range 2 {
		text := "sandbox " + strconv.Itoa(i)
		urls[text] = serve(text)
	}
	for text, url := range urls {
		response, err := client.Get(url)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, text, string(body))
	}
}
