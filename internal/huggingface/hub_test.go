package huggingface_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	modelID = "acme-labs/Sparrow-7B"
	secret  = "hf_secretsecretsecret"
)

// newHub starts a hub and a client for it whose connections end with the test.
func newHub(t *testing.T) (*hubtest.Server, *huggingface.Client) {
	t.Helper()
	transport := &http.Transport{}
	hub := hubtest.NewServer(t)
	t.Cleanup(transport.CloseIdleConnections)
	return hub, &huggingface.Client{Endpoint: hub.URL, HTTPClient: &http.Client{Transport: transport}, RetryPause: time.Millisecond}
}

func sparrow() map[string][]byte {
	return map[string][]byte{
		"config.json":       []byte(`{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}`),
		"README.md":         []byte("# Sparrow"),
		"model.safetensors": []byte(strings.Repeat("weights ", 1000)),
		"sub dir/a+b?.json": []byte("{}"),
	}
}

func TestResolve(t *testing.T) {
	hub, client := newHub(t)
	first := hub.Add(hubtest.Model{ID: modelID, Files: sparrow()})
	files := sparrow()
	files["config.json"] = []byte("{}")
	second := hub.Add(hubtest.Model{ID: modelID, Files: files})
	hub.Tag(modelID, "refs/pr/1", first)

	for _, test := range []struct{ revision, commit string }{
		{"", second}, {"main", second}, {first, first}, {"refs/pr/1", first},
	} {
		repo, err := client.Resolve(t.Context(), modelID, test.revision)
		require.NoError(t, err)
		assert.Equal(t, test.commit, repo.Commit, "revision %q", test.revision)
		assert.Len(t, repo.Files, 4)
	}

	repo, err := client.Resolve(t.Context(), modelID, first)
	require.NoError(t, err)
	weights := repo.Files[2]
	assert.Equal(t, "model.safetensors", weights.Path)
	assert.EqualValues(t, 8000, weights.Size)
	assert.Len(t, weights.SHA256, 64)
	assert.Len(t, repo.Files[0].Blob, 40)
	data, err := client.ReadFile(t.Context(), repo, "sub dir/a+b?.json")
	require.NoError(t, err)
	assert.Equal(t, "{}", string(data))
	data, err = client.ReadFile(t.Context(), repo, "model.safetensors")
	require.NoError(t, err)
	assert.Len(t, data, 8000)
}

// Mirrors leave sizes and hashes out of model descriptions; the tree has them.
func TestResolveByTree(t *testing.T) {
	hub, client := newHub(t)
	hub.Add(hubtest.Model{ID: modelID, Files: sparrow()})
	direct, err := client.Resolve(t.Context(), modelID, "")
	require.NoError(t, err)
	hub.SetOptions(hubtest.Options{NoBlobs: true, PageSize: 2})
	byTree, err := client.Resolve(t.Context(), modelID, "")
	require.NoError(t, err)
	assert.Equal(t, direct, byTree)
	assert.Equal(t, 3, hub.Count("/tree/"), "5 entries in pages of 2")
}

func TestResolveErrors(t *testing.T) {
	for name, test := range map[string]struct {
		model    hubtest.Model
		token    string
		revision string
		is       []error
		text     string
	}{
		"unknown without a token": {is: []error{huggingface.ErrNotFound, huggingface.ErrNoToken}},
		"unknown":                 {token: secret, is: []error{huggingface.ErrNotFound}},
		"private without a token": {model: hubtest.Model{ID: modelID, Private: true}, is: []error{huggingface.ErrNotFound, huggingface.ErrNoToken}},
		"private":                 {model: hubtest.Model{ID: modelID, Private: true}, token: secret, is: []error{huggingface.ErrNotFound}},
		"refused token":           {model: hubtest.Model{ID: modelID}, token: "hf_wrong", is: []error{huggingface.ErrUnauthorized}},
		"gated without a token":   {model: hubtest.Model{ID: modelID, Gated: "auto"}, is: []error{huggingface.ErrGated, huggingface.ErrNoToken}, text: "/" + modelID},
		"gated":                   {model: hubtest.Model{ID: modelID, Gated: "manual"}, token: secret, is: []error{huggingface.ErrGated}, text: "/" + modelID},
		"revision":                {model: hubtest.Model{ID: modelID}, revision: "v9", is: []error{huggingface.ErrRevisionNotFound}, text: `"v9"`},
	} {
		t.Run(name, func(t *testing.T) {
			hub, client := newHub(t)
			hub.AddToken(secret)
			if test.model.ID != "" {
				test.model.Files = sparrow()
				hub.Add(test.model)
			}
			client.Token = test.token
			_, err := client.Resolve(t.Context(), modelID, test.revision)
			require.Error(t, err)
			for _, is := range test.is {
				require.ErrorIs(t, err, is)
			}
			assert.Contains(t, err.Error(), modelID)
			assert.Contains(t, err.Error(), test.text)
			assert.NotContains(t, err.Error(), "hf_")
			var typed *huggingface.Error
			require.ErrorAs(t, err, &typed)
			hidden := typed.Hide("hidden model")
			require.ErrorIs(t, hidden, test.is[0])
			assert.NotContains(t, strings.ToLower(hidden.Error()), "sparrow")
		})
	}
}

func TestGatedWithAccess(t *testing.T) {
	hub, client := newHub(t)
	hub.Add(hubtest.Model{ID: modelID, Gated: "manual", Files: map[string][]byte{"model.safetensors": []byte("w")}})
	hub.AddToken(secret, modelID)
	client.Token = secret
	repo, err := client.Resolve(t.Context(), modelID, "")
	require.NoError(t, err)
	assert.True(t, repo.Gated)
	_, err = client.ReadFile(t.Context(), repo, "model.safetensors")
	require.NoError(t, err)
	for _, r := range hub.Requests() {
		assert.Equal(t, !r.CDN, r.Authorization == "Bearer "+secret, "%s %s", r.Method, r.Path)
	}
}

func TestPassingFailures(t *testing.T) {
	hub, client := newHub(t)
	hub.Add(hubtest.Model{ID: modelID, Files: sparrow()})
	for _, fault := range []hubtest.Fault{
		{Times: 2, Status: 503},
		{Times: 1, Status: 429, Header: http.Header{"Retry-After": {"0"}}},
		{Times: 1, CutAfter: 10},
		{Times: 2, CutAfter: 300},
	} {
		hub.Fail(fault)
		before := len(hub.Requests())
		_, err := client.Resolve(t.Context(), modelID, "")
		require.NoError(t, err, "%+v", fault)
		assert.Equal(t, fault.Times+1, len(hub.Requests())-before)
	}
}

func TestLastingFailures(t *testing.T) {
	hub, client := newHub(t)
	hub.Add(hubtest.Model{ID: modelID, Files: sparrow()})

	hub.Fail(hubtest.Fault{Status: 502})
	_, err := client.Resolve(t.Context(), modelID, "")
	require.ErrorIs(t, err, huggingface.ErrUnavailable)

	hub.Heal()
	hub.Fail(hubtest.Fault{Status: 429, Header: http.Header{"Ratelimit": {`"api";r=0;t=251`}}})
	_, err = client.Resolve(t.Context(), modelID, "")
	require.ErrorIs(t, err, huggingface.ErrRateLimited)
	var typed *huggingface.Error
	require.ErrorAs(t, err, &typed)
	assert.Equal(t, 251*time.Second, typed.RetryAfter, "longer than we wait, so it is the caller's to wait")

	client.Endpoint = "http://127.0.0.1:1"
	_, err = client.Resolve(t.Context(), modelID, "")
	require.ErrorIs(t, err, huggingface.ErrOffline)
	assert.Contains(t, err.Error(), modelID)
}

func TestAdapterBase(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string][]byte
		fails bool
	}{
		"same":            {files: map[string][]byte{"adapter_config.json": []byte(`{"base_model_name_or_path": "Acme-Labs/sparrow-7b"}`)}},
		"another":         {files: map[string][]byte{"adapter_config.json": []byte(`{"base_model_name_or_path": "acme-labs/Wren-7B"}`)}, fails: true},
		"a former name":   {files: map[string][]byte{"adapter_config.json": []byte(`{"base_model_name_or_path": "acme-labs/Sparrow-7B-old"}`)}},
		"a directory":     {files: map[string][]byte{"adapter_config.json": []byte(`{"base_model_name_or_path": "/home/me/base"}`)}},
		"none":            {files: map[string][]byte{"adapter_config.json": []byte(`{"base_model_name_or_path": null}`)}},
		"no adapter file": {files: map[string][]byte{"config.json": []byte(`{}`)}},
	} {
		t.Run(name, func(t *testing.T) {
			hub, client := newHub(t)
			hub.Add(hubtest.Model{ID: "me/adapter", Files: test.files})
			hub.Add(hubtest.Model{ID: modelID, Files: map[string][]byte{"config.json": nil}})
			hub.Rename("acme-labs/Sparrow-7B-old", modelID)
			repo, err := client.Resolve(t.Context(), "me/adapter", "")
			require.NoError(t, err)
			err = client.CheckBase(t.Context(), repo, modelID)
			if !test.fails {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, huggingface.ErrWrongBase)
			for _, name := range []string{"me/adapter", "acme-labs/Wren-7B", modelID} {
				assert.Contains(t, err.Error(), name)
			}
			var typed *huggingface.Error
			require.ErrorAs(t, err, &typed)
			assert.NotContains(t, typed.Hide("x").Error(), "acme")
		})
	}
}
