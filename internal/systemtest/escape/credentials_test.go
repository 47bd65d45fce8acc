//go:build linux

package escape_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// credentialAttempts look for what is the owner's where an agent's code runs.
var credentialAttempts = []attempt{
	{name: "the token of another repository, by an install", owner: tokenByInstall},
	{name: "the owner's environment in the sandbox's", python: `
for name, value in os.environ.items():
    if name.startswith(("MODAL_", "HF_", "AWS_", "GITHUB_", "SSH_")) or name in ("SEER_HOME", W["variable"]): out(name)
for path in glob.glob("/proc/[0-9]*/environ"):
    each([path], lambda p: out(p) if (W["variable"] + "=") in open(p, errors="replace").read() else None)
`},
	{name: "the owner's environment in a build", owner: func(t *testing.T, w *world) string {
		sandbox := w.start(t, seer.SandboxConfig{SetupCommands: []string{"set +e; env >/built; cat /proc/[0-9]*/environ >>/built 2>/dev/null; cat " + w.secret + " >>/built; true # " + rand.Text()}})
		return w.leaked(w.plant(t, sandbox, "cat /built"))
	}},
	{name: "a secret of the sandbox in a build", owner: func(t *testing.T, w *world) string {
		sandbox := w.start(t, seer.SandboxConfig{Secrets: []string{markerVariable}, SetupCommands: []string{"set +e; env >/built; cat /proc/[0-9]*/environ >>/built 2>/dev/null; true # " + rand.Text()}})
		return w.leaked(w.plant(t, sandbox, "cat /built"))
	}},
	{name: "a secret of the sandbox in what others see of it", owner: func(t *testing.T, w *world) string {
		sandbox := w.start(t, seer.SandboxConfig{Secrets: []string{markerVariable}})
		snapshot, err := sandbox.Snapshot(t.Context(), "")
		require.NoError(t, err)
		again, err := seer.FromSnapshot(t.Context(), snapshot, seer.SandboxConfig{}, seer.WithBackend(w.server.Backend()))
		require.NoError(t, err)
		defer w.end(t, again)
		return w.leaked(w.plant(t, again, "env; cat /proc/[0-9]*/environ; grep -rsah marker- /root /run /etc /tmp /workspace /dev/shm; true"))
	}},
	{name: "a secret of the sandbox in an argument", owner: func(t *testing.T, w *world) string {
		sandbox := w.start(t, seer.SandboxConfig{Secrets: []string{markerVariable}})
		return w.leaked(w.plant(t, sandbox, "cat /proc/[0-9]*/cmdline; true"))
	}},
	{name: "the token of the server in the sandbox", owner: func(t *testing.T, w *world) string {
		endpoint := w.server.Endpoint()
		text := w.plant(t, w.agent, "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; grep -rsah 'as-[A-Z0-9]\\{20\\}' /run /etc /tmp /root /dev/shm; true")
		if strings.Contains(text, endpoint.TokenSecret) || strings.Contains(text, endpoint.TokenID) {
			return "it is there"
		}
		return ""
	}},
	{name: "files of the owner that are open to all, by a build", owner: func(t *testing.T, w *world) string {
		open := filepath.Join(t.TempDir(), "open.txt")
		require.NoError(t, os.WriteFile(open, []byte(w.markers["a file of the owner"]), 0o644))
		sandbox := w.start(t, seer.SandboxConfig{SetupCommands: []string{"set +e; cat " + open + " >/built; ls -R /home /root /tmp >>/built; true # " + rand.Text()}})
		return w.leaked(w.plant(t, sandbox, "cat /built "+open+"; true"))
	}},
}

// tokenByInstall has the install of one repository look at the clone of
// another, which takes its time and needs a token.
func tokenByInstall(t *testing.T, w *world) string {
	dir := t.TempDir()
	git := func(args ...string) string {
		output, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, output)
		return strings.TrimSpace(string(output))
	}
	tree := filepath.Join(dir, "tree")
	git("init", "--quiet", "--initial-branch=main", tree)
	require.NoError(t, os.WriteFile(filepath.Join(tree, "file"), []byte("x"), 0o644))
	git("-C", tree, "add", ".")
	git("-C", tree, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "x")
	for _, repo := range []string{"public/tool.git", "private/tool.git"} {
		git("clone", "--quiet", "--bare", tree, filepath.Join(dir, "repos", repo))
	}
	backend := &cgi.Handler{
		Path:   filepath.Join(git("--exec-path"), "git-http-backend"),
		Env:    []string{"GIT_PROJECT_ROOT=" + filepath.Join(dir, "repos"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		Logger: log.New(io.Discard, "", 0),
	}
	token := os.Getenv(gitTokenVariable)
	certificate, ca := certificate(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, given, _ := r.BasicAuth()
		if strings.HasPrefix(r.URL.Path, "/private/") {
			if given != token {
				rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			select { // long enough for who is there to look
			case <-time.After(1500 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		backend.ServeHTTP(rw, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	address := server.Listener.Addr().String()
	url := "https://host.seer.internal:" + address[strings.LastIndex(address, ":")+1:]
	host := seertest.NewServer(t, seertest.AllowHost(address))
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{
		Repos: []seer.RepoConfig{
			{URL: url + "/public/tool", Install: `for n in $(seq 30); do cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; grep -rsah t0ken- /tmp /root /run /dev/shm; sleep 0.1; done >/tmp/seen; true`},
			{URL: url + "/private/tool", TokenEnv: gitTokenVariable, Target: "/src/private"},
		},
		SetupCommands: []string{"cat >/etc/ssl/git-host.pem <<'EOF'\n" + ca + "EOF\n"},
		Env:           map[string]string{"GIT_SSL_CAINFO": "/etc/ssl/git-host.pem"},
	}, seer.WithBackend(host.Backend())).Start(t.Context())
	require.NoError(t, err)
	defer w.end(t, sandbox)
	seen := w.plant(t, sandbox, "cat /tmp/seen; cat /src/private/.git/config")
	if strings.Contains(seen, token) || strings.Contains(seen, base64.StdEncoding.EncodeToString([]byte("x-access-token:"+token))) {
		return "the install has the token"
	}
	return ""
}

// certificate is one for the host as sandboxes call it, and its authority as PEM.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "git host"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"host.seer.internal"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
