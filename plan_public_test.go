package seer_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func planned(t *testing.T) (*hubtest.Server, seer.SandboxConfig) {
	t.Helper()
	hub := hubtest.NewServer(t)
	hub.Add(hubtest.Model{ID: "org/small", Files: map[string][]byte{
		"config.json": []byte("{}"), "model.safetensors": make([]byte, 1<<20), "pytorch_model.bin": make([]byte, 2<<20),
	}})
	hub.Add(hubtest.Model{ID: "org/secret-name", Files: map[string][]byte{"config.json": []byte("{}"), "model.safetensors": make([]byte, 3<<20)}})
	hub.Add(hubtest.Model{ID: "org/closed", Gated: "manual", Files: map[string][]byte{"model.safetensors": make([]byte, 10)}})
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_TOKEN", "")
	t.Setenv("PLAN_KEY", "its-value")
	return hub, seer.SandboxConfig{
		GPU: "A100", GPUCount: 2, CPU: 4, MemoryMiB: 8192, Timeout: 2 * time.Hour,
		Models: []seer.ModelConfig{
			{Name: "org/small"}, {Name: "org/secret-name", VarName: "target", Hidden: true},
		},
		Repos:          []seer.RepoConfig{{URL: "org/repo", Branch: "dev", Install: "make"}},
		PythonPackages: []string{"torch"},
		EncryptedPorts: []int{9000},
		Secrets:        []string{"PLAN_KEY"},
		Env:            map[string]string{"MODE": "its-value"},
	}
}

func TestPlanTellsWhatStartWouldDo(t *testing.T) {
	hub, config := planned(t)
	p, err := config.Plan(t.Context(), seer.WithBackend(seer.Modal()))
	require.NoError(t, err)

	assert.Equal(t, "python:3.11-slim-bookworm", p.Base)
	require.Len(t, p.Layers, 2)
	assert.Equal(t, "system packages", p.Layers[0].Title, "git, for the repository")
	assert.Equal(t, seer.PlanUnknown, p.Layers[1].Cached)
	require.Len(t, p.Models, 2)
	assert.Equal(t, seer.PlanYes, p.Models[0].Access)
	assert.Equal(t, int64(1<<20+2), p.Models[0].Bytes, "one format of the weights")
	assert.Len(t, p.Models[0].Revision, 40)
	assert.Equal(t, "(hidden 2)", p.Models[1].Name)
	assert.Equal(t, []string{"target"}, p.Models[1].Variables)
	assert.Equal(t, []seer.PlanPort{{Number: 8888, Purpose: "Jupyter"}, {Number: 9000, Purpose: "yours"}}, p.Ports)
	assert.Equal(t, []string{"MODE", "PLAN_KEY"}, p.Variables)
	assert.Equal(t, "clone repo", p.Steps[len(p.Steps)-2].Title)
	assert.Equal(t, []string{"create sandbox"}, p.Steps[len(p.Steps)-2].After)
	require.NotNil(t, p.GPU)
	assert.Equal(t, seer.PlanYes, p.GPU.Fits)
	assert.InDelta(t, 80, p.GPU.MemoryGiB, 0.01)

	// 2 GPUs, 4 cores and 8 GiB for an hour.
	assert.InDelta(t, 3600*(2*0.000583+4*0.00003942+8*0.00000672), p.Cost.Hourly, 1e-9)
	assert.InDelta(t, 2*p.Cost.Hourly, p.Cost.Most, p.Cost.Startup+1e-9)
	assert.NotEmpty(t, p.Cost.AsOf)

	data, err := json.Marshal(p)
	require.NoError(t, err)
	var back seer.Plan
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, p, &back)
	assert.Contains(t, string(data), `"timeout":"2h"`)
	for _, text := range []string{string(data), p.String()} {
		assert.NotContains(t, text, "secret-name", "hidden")
		assert.NotContains(t, text, "its-value")
	}
	assert.Contains(t, p.String(), "org/small@")
	assert.Contains(t, p.String(), "2 files, 1.0 MiB to fetch from "+p.Models[0].From+" unless cached")
	assert.Equal(t, strings.TrimPrefix(hub.URL, "http://"), p.Models[0].From)
	assert.Zero(t, hub.Count("/resolve/"), "no file was downloaded")
}

func TestPlanTellsWhatItCannotKnow(t *testing.T) {
	_, config := planned(t)
	config.GPU, config.GPUCount = "Z9000", 0
	config.Models = []seer.ModelConfig{{Name: "org/closed"}, {Name: "org/none", VarName: "target", Hidden: true}}
	p, err := config.Plan(t.Context(), seer.WithBackend(seer.Modal()))
	require.NoError(t, err)
	assert.Equal(t, seer.PlanNo, p.Models[0].Access)
	assert.Contains(t, p.Models[0].Problem, "gated")
	assert.Equal(t, seer.PlanUnknown, p.Models[1].Access)
	assert.NotEmpty(t, p.Models[1].Problem)
	assert.NotContains(t, p.String(), "org/none")
	assert.Equal(t, seer.PlanUnknown, p.GPU.Fits)
	assert.False(t, p.Cost.Known)
	assert.Contains(t, p.String(), "no such GPU")
}

func TestPlanDoesNotWaitForAHubThatHangs(t *testing.T) {
	t.Parallel()
	hub := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hub.Close()
	env := filepath.Join(write(t, map[string]string{"env": "HF_ENDPOINT=" + hub.URL + "\n"}), "env")
	config := seer.SandboxConfig{GPU: "A100", Models: []seer.ModelConfig{{Name: "org/small"}, {Name: "org/secret-name", VarName: "target", Hidden: true}}}
	p, err := config.Plan(within(t, patience), seer.WithBackend(seer.Modal()), seer.WithEnvFile(env))
	require.NoError(t, err)
	for _, m := range p.Models {
		assert.Equal(t, seer.PlanUnknown, m.Access)
		assert.NotEmpty(t, m.Problem)
	}
	assert.Equal(t, seer.PlanUnknown, p.GPU.Fits)
	assert.NotContains(t, p.String(), "secret-name", "hidden")
}

func TestPlanUsesOtherPrices(t *testing.T) {
	_, config := planned(t)
	prices := seer.Prices{AsOf: "2030-01", Source: "our contract", CPU: 1, GPUs: map[string]seer.GPUPrice{"A100": {PerSecond: 2, MemoryGiB: 0.001}}}
	p, err := config.Plan(t.Context(), seer.WithBackend(seer.Modal()), seer.WithPrices(prices))
	require.NoError(t, err)
	assert.InDelta(t, 3600*(2*2+4), p.Cost.Hourly, 1e-6)
	assert.Equal(t, "our contract", p.Cost.Source)
	assert.Equal(t, seer.PlanNo, p.GPU.Fits)
}

func TestPlanProvisionsNothing(t *testing.T) {
	server := seertest.NewServer(t)
	p, err := seer.SandboxConfig{SetupCommands: []string{"true"}}.Plan(t.Context(), seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	for _, call := range server.Calls() {
		assert.Contains(t, []string{"AuthTokenGet", "ImageLookup"}, call.RPC)
	}
	assert.Nil(t, p.GPU)
	assert.Contains(t, p.String(), "costs nothing")
	_, err = seer.SandboxConfig{Timeout: -1}.Plan(t.Context(), seer.WithBackend(server.Backend()))
	var bad *seer.ConfigError
	require.ErrorAs(t, err, &bad)
}

func layersCached(t *testing.T, config seer.SandboxConfig, opts ...seer.Option) []string {
	t.Helper()
	p, err := config.Plan(t.Context(), opts...)
	require.NoError(t, err)
	cached := make([]string, len(p.Layers))
	for i, layer := range p.Layers {
		cached[i] = layer.Cached
	}
	return cached
}

func TestPlanTellsWhichLayersAreBuilt(t *testing.T) {
	server := quietServer(t)
	backend := seer.WithBackend(server.Backend())
	config := seer.SandboxConfig{SetupCommands: []string{"one", "two", "three"}}
	assert.Equal(t, []string{seer.PlanNo, seer.PlanNo, seer.PlanNo}, layersCached(t, config, backend))
	startOn(t, server, config)
	assert.Equal(t, []string{seer.PlanYes, seer.PlanYes, seer.PlanYes}, layersCached(t, config, backend))
	config.SetupCommands = []string{"one", "other", "three"}
	assert.Equal(t, []string{seer.PlanYes, seer.PlanNo, seer.PlanNo}, layersCached(t, config, backend), "what lies on a new layer is new")

	server.Fail("ImageLookup", errors.New("injected"), 1)
	assert.Equal(t, []string{seer.PlanUnknown, seer.PlanUnknown, seer.PlanUnknown}, layersCached(t, config, backend))
	refusing := quietServer(t)
	refusing.Fail("AuthTokenGet", errors.New("injected"), 1)
	assert.Equal(t, []string{seer.PlanUnknown, seer.PlanUnknown, seer.PlanUnknown},
		layersCached(t, config, seer.WithBackend(refusing.Backend())), "a backend that cannot be asked fails no plan")
}

func TestPlanTellsWhichModelsAreThere(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	const id = "acme-labs/Sparrow-7B"
	commit := w.Add(hubtest.Model{ID: id, Files: modelFiles(id)})
	w.Add(hubtest.Model{ID: "acme-labs/Secret-1B", Files: modelFiles("acme-labs/Secret-1B")})
	config := seer.SandboxConfig{Models: []seer.ModelConfig{{Name: id}, {Name: "acme-labs/Secret-1B", VarName: "target", Hidden: true}}}
	plan := func() *seer.Plan {
		p, err := config.Plan(t.Context(), w.options()...)
		require.NoError(t, err)
		return p
	}
	for _, m := range plan().Models {
		assert.Equal(t, seer.PlanNo, m.Cached)
		assert.Positive(t, m.Fetch)
		assert.Equal(t, m.Bytes, m.Fetch)
	}
	assert.Zero(t, w.rpcs("SandboxCreate"))
	w.start(t, config.Models)
	before, served := len(w.server.Calls()), w.Served()
	for _, m := range plan().Models {
		assert.Equal(t, seer.PlanYes, m.Cached)
		assert.Positive(t, m.Bytes)
		assert.Zero(t, m.Fetch)
	}
	assert.Contains(t, plan().String(), "cached")
	assert.Equal(t, served, w.Served(), "nothing is downloaded")
	for _, call := range w.server.Calls()[before:] {
		assert.NotContains(t, call.Request, "CREATE_IF_MISSING", call.RPC)
		assert.NotContains(t, []string{"SandboxCreate", "ImageGetOrCreate"}, call.RPC)
	}

	config.Models = []seer.ModelConfig{{Name: id, Revision: commit}}
	w.Fail(hubtest.Fault{Path: "/api/", Status: 503})
	m := plan().Models[0]
	assert.Equal(t, seer.PlanYes, m.Cached, "a commit needs no hub")
	assert.Contains(t, m.String(), "cached; the hub says")

	w.Heal()
	w.Add(hubtest.Model{ID: "acme-labs/Secret-2B", Files: map[string][]byte{"Secret-2B.Q4.gguf": nil, "Secret-2B.Q8.gguf": nil}})
	config.Models = []seer.ModelConfig{{Name: "acme-labs/Secret-2B", Hidden: true}}
	assert.NotEmpty(t, plan().Models[0].Problem)
	assert.NotContains(t, strings.ToLower(plan().String()), "secret")
}

// What a backend's machine cannot give is said by whoever looks at the config,
// before anything is started there.
func TestTheWrongMachineIsSaidAtOnce(t *testing.T) {
	started := false
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		started = true
		return seer.Endpoint{}, errors.New("no server")
	}, nil).Describe(func() seer.Endpoint {
		return seer.Endpoint{NoGPU: true, NoApt: true, Pythons: []string{"3.11"}}
	})
	for field, config := range map[string]seer.SandboxConfig{
		"GPU":            {GPU: "A100"},
		"PythonVersion":  {PythonVersion: "3.12"},
		"SystemPackages": {SystemPackages: []string{"jq"}},
	} {
		_, planErr := config.Plan(t.Context(), seer.WithBackend(backend))
		_, startErr := seer.NewSandbox(config, seer.WithBackend(backend)).Start(t.Context())
		for _, err := range []error{config.Validate(seer.WithBackend(backend)), planErr, startErr} {
			var bad *seer.ConfigError
			require.ErrorAs(t, err, &bad, field)
			require.Len(t, bad.Problems, 1)
			assert.Equal(t, field, bad.Problems[0].Field)
			assert.Equal(t, field == "GPU", errors.Is(err, seer.ErrNoGPU))
		}
	}
	assert.False(t, started)

	require.NoError(t, seer.SandboxConfig{GPU: "A100"}.Validate(seer.WithBackend(seer.Modal())))
	server := seertest.NewServer(t)
	require.ErrorIs(t, seer.SandboxConfig{GPU: "A100"}.Validate(seer.WithBackend(server.Backend())), seer.ErrNoGPU)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
	require.NoError(t, seer.SandboxConfig{GPU: "A100"}.Validate(seer.WithBackend(server.Backend())))
}
