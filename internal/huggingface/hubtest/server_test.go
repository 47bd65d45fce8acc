package hubtest_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The real client cannot tell the server from the real hub.
func TestRealClient(t *testing.T) {
	const token = "hf_valid"
	hub := hubtest.NewServer(t)
	hub.AddToken(token, "acme/gated", "acme/private")
	v1 := hub.Add(hubtest.Model{ID: "acme/open", Files: map[string][]byte{"config.json": []byte("{1}")}})
	hub.Tag("acme/open", "v1", v1)
	hub.Add(hubtest.Model{ID: "acme/open", Files: map[string][]byte{
		"config.json": []byte("{}"), "model.safetensors": bytes.Repeat([]byte("w"), 300000), "a b/c.txt": []byte("x"),
	}})
	hub.Add(hubtest.Model{ID: "acme/gated", Gated: "manual", Files: map[string][]byte{"model.safetensors": []byte("secret")}})
	hub.Add(hubtest.Model{ID: "acme/private", Private: true, Files: map[string][]byte{"config.json": []byte("{}")}})
	hub.SetOptions(hubtest.Options{PageSize: 2})

	python := venvtest.Python(t, huggingface.DownloaderPackages()...)
	cmd := exec.CommandContext(t.Context(), python, "testdata/client.py", hub.URL, token)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "ok\n")
	for _, r := range hub.Requests() {
		assert.False(t, r.CDN && r.Authorization != "", "the second host gets no token")
	}
}

func TestRanges(t *testing.T) {
	hub := hubtest.NewServer(t)
	hub.Add(hubtest.Model{ID: "acme/open", Files: map[string][]byte{"model.bin": []byte("0123456789")}})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(url string, header ...string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		var body bytes.Buffer
		_, err = body.ReadFrom(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp, body.String()
	}
	resp, _ := get(hub.URL + "/acme/open/resolve/main/model.bin")
	require.Equal(t, http.StatusFound, resp.StatusCode)
	assert.Equal(t, "10", resp.Header.Get("X-Linked-Size"))
	assert.Len(t, resp.Header.Get("X-Repo-Commit"), 40)
	etag, location := resp.Header.Get("X-Linked-Etag"), resp.Header.Get("Location")
	assert.Len(t, etag, 66)

	for _, test := range []struct {
		header []string
		status int
		body   string
	}{
		{nil, http.StatusOK, "0123456789"},
		{[]string{"Range", "bytes=4-"}, http.StatusPartialContent, "456789"},
		{[]string{"Range", "bytes=4-", "If-Range", etag}, http.StatusPartialContent, "456789"},
		{[]string{"Range", "bytes=4-", "If-Range", `"another"`}, http.StatusOK, "0123456789"},
		{[]string{"Range", "bytes=99-"}, http.StatusRequestedRangeNotSatisfiable, "invalid range: failed to overlap\n"},
		{[]string{"Authorization", "Bearer hf_x"}, http.StatusBadRequest, "only one auth mechanism allowed\n"},
	} {
		resp, body := get(location, test.header...)
		assert.Equal(t, test.status, resp.StatusCode, test.header)
		assert.Equal(t, test.body, body, test.header)
	}
	resp, _ = get(strings.Split(location, "?")[0])
	assert.Equal(t, http.StatusForbidden, resp.StatusCode, "the address has to be signed")
}
