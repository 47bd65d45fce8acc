package modalserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	modal "github.com/modal-labs/libmodal/modal-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// dialing returns a runtime whose sandboxes serve what listens at an address.
func dialing(address string) *scripted.Runtime {
	return scripted.New(shell, scripted.WithDialer(func(ctx context.Context, _ string, _ uint16) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}))
}

// shout answers one line in full, then its end of file.
func shout(t *testing.T) string {
	t.Helper()
	listener, err := listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				data, _ := io.ReadAll(conn)
				fmt.Fprintf(conn, "%s!", data)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestTunnelsCarryTLSAndPlaintext(t *testing.T) {
	server := serve(t, Config{Runtime: dialing(shout(t))})
	sb := start(t, dial(t, server), &modal.SandboxCreateParams{EncryptedPorts: []int{8888}, UnencryptedPorts: []int{9999}})
	tunnels, err := sb.Tunnels(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Len(t, tunnels, 2)
	roots := x509.NewCertPool()
	certificate, err := x509.ParseCertificate(server.tls.Certificates[0].Certificate[0])
	require.NoError(t, err)
	roots.AddCert(certificate)
	host, port, err := tunnels[9999].TCPSocket()
	require.NoError(t, err)
	plain := &net.Dialer{}
	secure := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	for name, test := range map[string]struct {
		dialer interface {
			DialContext(ctx context.Context, network, address string) (net.Conn, error)
		}
		host string
		port int
	}{
		"TLS on the encrypted port":       {secure, tunnels[8888].Host, tunnels[8888].Port},
		"plaintext on the encrypted port": {plain, tunnels[8888].Host, tunnels[8888].Port},
		"plaintext":                       {plain, host, port},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := test.dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(test.host, strconv.Itoa(test.port)))
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, "hello")
			require.NoError(t, err)
			require.NoError(t, crowd.CloseWrite(conn))
			got, err := io.ReadAll(conn)
			require.NoError(t, err)
			assert.Equal(t, "hello!", string(got))
		})
	}
	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	_, err = plain.DialContext(t.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	require.Error(t, err, "a tunnel ends with its sandbox")
}

// greet says something first, and then what it heard up to the end of file.
func greet(t *testing.T) string {
	t.Helper()
	listener, err := listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "220 ready\n")
				heard, _ := io.ReadAll(conn)
				fmt.Fprintf(conn, "heard %s\n", heard)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestTunnelsOfServersThatSpeakFirst(t *testing.T) {
	server := serve(t, Config{Runtime: dialing(greet(t))})
	sb := start(t, dial(t, server), &modal.SandboxCreateParams{EncryptedPorts: []int{2525}, UnencryptedPorts: []int{25}})
	tunnels, err := sb.Tunnels(t.Context(), time.Minute)
	require.NoError(t, err)
	host, port, err := tunnels[25].TCPSocket()
	require.NoError(t, err)
	for name, address := range map[string]string{
		"plain":                          net.JoinHostPort(host, strconv.Itoa(port)),
		"plain on a port for encryption": net.JoinHostPort(tunnels[2525].Host, strconv.Itoa(tunnels[2525].Port)),
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		reader := bufio.NewReader(conn)
		line, err := reader.ReadString('\n')
		require.NoError(t, err, name)
		assert.Equal(t, "220 ready\n", line, name)
		_, err = io.WriteString(conn, "hello")
		require.NoError(t, err)
		require.NoError(t, crowd.CloseWrite(conn))
		rest, err := io.ReadAll(reader)
		require.NoError(t, err)
		assert.Equal(t, "heard hello\n", string(rest), name)
		require.NoError(t, conn.Close())
	}
	secure := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // Whose certificate it is another test asks.
	conn, err := secure.DialContext(t.Context(), "tcp", net.JoinHostPort(tunnels[2525].Host, strconv.Itoa(tunnels[2525].Port)))
	require.NoError(t, err)
	require.NoError(t, crowd.CloseWrite(conn))
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "220 ready\nheard \n", string(all))
	require.NoError(t, conn.Close())
}

// What the sandbox encrypts itself passes untouched through a port that is not
// to be encrypted.
func TestTunnelsLeaveTLSOfTheSandboxAlone(t *testing.T) {
	inside := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "its own") }))
	t.Cleanup(inside.Close)
	server := serve(t, Config{Runtime: dialing(inside.Listener.Addr().String())})
	sb := start(t, dial(t, server), &modal.SandboxCreateParams{UnencryptedPorts: []int{443}})
	tunnels, err := sb.Tunnels(t.Context(), time.Minute)
	require.NoError(t, err)
	host, port, err := tunnels[443].TCPSocket()
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+net.JoinHostPort(host, strconv.Itoa(port)), nil)
	require.NoError(t, err)
	answer, err := inside.Client().Do(request) // trusts the certificate of inside alone
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, "its own", string(body))
	inside.Client().CloseIdleConnections()
}

func TestAdvertisedHost(t *testing.T) {
	server := serve(t, Config{AdvertisedHost: "local.modal.host:443"})
	sb := start(t, dial(t, server), &modal.SandboxCreateParams{EncryptedPorts: []int{8888}})
	tunnels, err := sb.Tunnels(t.Context(), time.Minute)
	require.NoError(t, err)
	assert.Equal(t, "https://local.modal.host", tunnels[8888].URL())
}

func TestConnectTokens(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s?%s user=%s auth=%s", r.URL.Path, r.URL.RawQuery, r.Header.Get(connectUserHeader), r.Header.Get("Authorization"))
	}))
	t.Cleanup(inside.Close)
	server := serve(t, Config{Runtime: dialing(inside.Listener.Addr().String())})
	client := dial(t, server)
	sb := start(t, client, nil)
	credentials, err := sb.CreateConnectToken(t.Context(), &modal.SandboxCreateConnectTokenParams{UserMetadata: "ann lee"})
	require.NoError(t, err)
	foreign, err := start(t, client, nil).CreateConnectToken(t.Context(), nil)
	require.NoError(t, err)
	get := func(url, token string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		request.Close = true
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(bufio.NewReader(answer.Body))
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	code, body := get(credentials.URL+"/path?q=1", credentials.Token)
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "/path?q=1 user=ann lee auth=", body)
	code, body = get(credentials.URL+"/path?"+connectParameter+"="+credentials.Token, "")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "/path? user=ann lee auth=", body)
	for _, token := range []string{"", "x.y.z", foreign.Token} {
		code, _ = get(credentials.URL, token)
		assert.Equal(t, http.StatusUnauthorized, code)
	}
}
