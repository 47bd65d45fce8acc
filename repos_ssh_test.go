package seer_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// The key comes with LocalFiles; git in the sandbox and its ssh are the real ones.
func TestReposOverSSH(t *testing.T) {
	t.Parallel()
	host := newGitHost(t)
	public, key := newSSHKey(t)
	address := host.serveSSH(t, public)
	_, stranger := newSSHKey(t)
	server := seertest.NewServer(t, seertest.AllowHost(address))
	config := func(key, repo string) seer.SandboxConfig {
		_, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		return seer.SandboxConfig{
			LocalFiles: []seer.Mount{{Source: key, Target: "/root/.ssh/id_ed25519"}},
			Repos:      []seer.RepoConfig{{URL: "ssh://git@host.seer.internal:" + port + repo, Branch: "dev"}},
		}
	}
	sandbox := startOn(t, server, config(key, "/private/tool.git"))
	assert.Equal(t, host.heads["dev"], sandbox.RepoHandles()[0].Commit)
	out, err := sandbox.Exec(t.Context(), "cat /workspace/tool/branch; stat -c %a /root/.ssh/id_ed25519")
	require.NoError(t, err)
	assert.Equal(t, "dev\n600\n", out)

	for name, c := range map[string]struct{ key, repo, want string }{
		"another key":     {stranger, "/private/tool.git", "Permission denied"},
		"no such project": {key, "/private/none.git", "does not appear to be a git repository"},
	} {
		_, err := seer.NewSandbox(config(c.key, c.repo), seer.WithBackend(server.Backend())).Start(within(t, patience))
		require.ErrorContains(t, err, c.want, name)
		var failed *seer.StartError
		require.ErrorAs(t, err, &failed, name)
	}
}

// newSSHKey returns a key and the file that holds its private half.
func newSSHKey(t *testing.T) (public ssh.PublicKey, file string) {
	t.Helper()
	half, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	public, err = ssh.NewPublicKey(half)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "id_ed25519")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	return public, file
}

// serveSSH lets who has a key read the host's repositories.
func (h *gitHost) serveSSH(t *testing.T, allowed ssh.PublicKey) (address string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), allowed.Marshal()) {
			return nil, errors.New("not a key that is known")
		}
		return nil, nil //nolint:nilnil // no restrictions
	}}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				h.speakSSH(conn, config)
			})
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, listener.Close())
		serving.Wait()
	})
	return listener.Addr().String()
}

func (h *gitHost) speakSSH(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for request := range requests {
			if request.Type != "exec" {
				_ = request.Reply(false, nil)
				continue
			}
			_ = request.Reply(true, nil)
			var command struct{ Line string }
			_ = ssh.Unmarshal(request.Payload, &command)
			status := struct{ Code uint32 }{}
			if h.uploadPack(strings.Trim(strings.TrimPrefix(command.Line, "git-upload-pack "), "'"), channel) != nil {
				status.Code = 128
			}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
			_ = channel.Close()
		}
	}
}

// uploadPack gives a repository to a git client.
func (h *gitHost) uploadPack(repo string, client ssh.Channel) error {
	pack := exec.Command("git", "-c", "safe.directory=*", "upload-pack", filepath.Join(h.dir, "repos", filepath.Clean(repo)))
	pack.Stdout, pack.Stderr = client, client.Stderr()
	stdin, err := pack.StdinPipe()
	if err != nil {
		return err
	}
	go io.Copy(stdin, client) //nolint:errcheck // ends with the client's last word or with the channel
	return pack.Run()
}
