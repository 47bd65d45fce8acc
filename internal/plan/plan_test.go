package plan

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the goldens anew")

// Each testdata/*.txtar holds an input.json and the plan.txt that it gives.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			require.NotEmpty(t, archive.Files)
			got := New(readInput(t, archive.Files[0].Data)).String()
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "plan.txt", Data: []byte(got)})
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o644))
				return
			}
			require.Len(t, archive.Files, 2, "run with -update")
			assert.Equal(t, string(archive.Files[1].Data), got)
		})
	}
}

// readInput fills in the defaults that every golden would otherwise repeat.
func readInput(t *testing.T, data []byte) Input {
	t.Helper()
	in := Input{
		PythonVersion: "3.11", Life: Life{Timeout: time.Hour},
		JupyterPort: 8888, RPCPort: 8080, VSCodePort: 8443,
		Downloader: []string{"huggingface_hub==1.33.0"},
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&in))
	return in
}

// Code of others reads the environment of whatever runs beside it.
func TestCodeOfOthersWaitsForClonesWithAToken(t *testing.T) {
	input := Input{
		Repos: []Repo{
			{Name: "a", Target: "/workspace/a", Install: "pip install ."},
			{Name: "b", Target: "/workspace/b", Token: true},
			{Name: "c", Target: "/workspace/c", Token: true, Install: "make"},
			{Name: "d", Target: "/workspace/d", Dockerfile: "Dockerfile"},
		},
		Docker: true, Notebook: true, VSCode: true,
	}
	waiting := map[string]bool{}
	for _, step := range New(input).Steps {
		if slices.Contains(step.Needs, StepClone(1)) && slices.Contains(step.Needs, StepClone(2)) {
			waiting[step.ID] = true
		}
	}
	assert.Equal(t, map[string]bool{StepInstall(0): true, StepInstall(2): true, StepContainer(3): true, StepJupyter: true, StepVSCode: true}, waiting)
}

func TestStepsNeedOnlyEarlierOnes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		before, titles := make(map[string]bool), make(map[string]bool)
		for _, step := range New(readInput(t, archive.Files[0].Data)).Steps {
			assert.False(t, before[step.ID], "%s: %s twice", file, step.ID)
			assert.False(t, titles[step.Title], "%s: %s twice", file, step.Title)
			titles[step.Title] = true
			for _, need := range step.Needs {
				assert.True(t, before[need], "%s: %s needs %s", file, step.ID, need)
			}
			before[step.ID] = true
		}
	}
}

func TestClonesOverSSHWaitForTheirKey(t *testing.T) {
	p := New(Input{
		Repos: []Repo{{Name: "a", Target: "/workspace/a", SSH: true}, {Name: "b", Target: "/workspace/b", SSH: true}, {Name: "c", Target: "/workspace/c"}},
		Files: []Mount{{Target: "/root/.ssh/id_ed25519"}, {Target: "/workspace/b/.env"}},
	})
	needs := map[string][]string{}
	for _, step := range p.Steps {
		needs[step.ID] = step.Needs
	}
	assert.Equal(t, []string{StepCreate, StepFiles}, needs[StepClone(0)])
	assert.Equal(t, []string{StepCreate}, needs[StepClone(1)], "files go into it")
	assert.Equal(t, []string{StepCreate}, needs[StepClone(2)])
	assert.Equal(t, []string{StepCreate, StepClone(1)}, needs[StepFiles])
}

// What bills begins when everything that can be had without it is there.
func TestModelsAreDownloadedBeforeTheSandboxIsCreated(t *testing.T) {
	p := New(Input{Models: []Model{{Name: "a/b"}, {Name: "c/d", Base: "a/b"}}})
	for _, step := range p.Steps {
		if step.ID == StepCreate {
			assert.Equal(t, []string{StepImage, StepModel(0), StepModel(1)}, step.Needs)
		}
	}
}

func TestAdaptersShareTheirBase(t *testing.T) {
	p := New(Input{Models: []Model{
		{Name: "org/one", Variable: "one", Base: "org/base"},
		{Name: "org/two", Variable: "two", Base: "org/base"},
		{Name: "org/three", Variable: "three", Base: "org/base", Hidden: true},
	}})
	assert.Equal(t, []Volume{
		{Repository: "org/one", Variables: []string{"one"}},
		{Repository: "org/base", Variables: []string{"one", "two"}},
		{Repository: "org/two", Variables: []string{"two"}},
		{Repository: "org/three", Variables: []string{"three"}, Hidden: true},
		{Repository: "org/base", Variables: []string{"three"}, Hidden: true},
	}, p.Volumes)
}

func TestHiddenModelsAreNotNamed(t *testing.T) {
	text := New(Input{Models: []Model{{Name: "secretive/thing", Variable: "model", Base: "secretive/parent", Hidden: true}}}).String()
	assert.NotContains(t, text, "secretive")
	assert.NotContains(t, text, "thing")
	assert.NotContains(t, text, "parent")
}

func TestArgumentsReachInstallersUntouched(t *testing.T) {
	hostile := []string{`torch; rm -rf /`, `$(id)`, "a\nRUN id", "<<EOF", `"quoted" \ back`, "it's", "naïve"}
	p := New(Input{PythonPackages: hostile, SetupCommands: []string{"cat <<EOF\n$HOME\nEOF"}})
	require.Len(t, p.Layers, 2)
	for _, layer := range p.Layers {
		require.Len(t, layer.Commands, 1)
		assert.NotContains(t, layer.Commands[0], "\n")
		assert.NotContains(t, layer.Commands[0], "<<")
	}
	argv := runArguments(t, p.Layers[0].Commands[0])
	assert.Equal(t, hostile, argv[len(argv)-len(hostile):])
	assert.Equal(t, []string{"/bin/bash", "-e", "-c", "cat <<EOF\n$HOME\nEOF"}, runArguments(t, p.Layers[1].Commands[0]))
}

func runArguments(t *testing.T, command string) []string {
	t.Helper()
	text, isRun := strings.CutPrefix(command, "RUN ")
	require.True(t, isRun)
	var argv []string
	require.NoError(t, json.Unmarshal([]byte(text), &argv))
	return argv
}

func TestPlanSharesNothingWithItsInput(t *testing.T) {
	in := Input{
		Resources: Resources{Regions: []string{"us"}},
		Network:   Network{CIDRs: []string{"203.0.113.0/24"}},
		Env:       map[string]string{"A": "1"}, Tags: map[string]string{"t": "1"},
		Secrets:        []string{"S"},
		PythonPackages: []string{"torch"},
		Models:         []Model{{Name: "a/b", Include: []string{"*.bin"}}},
		Repos:          []Repo{{Name: "r"}}, Files: []Mount{{"a", "/b"}},
	}
	p := New(in)
	want := p.String()
	in.Regions[0], in.CIDRs[0], in.Env["A"], in.Env["B"], in.Tags["t"] = "x", "x", "x", "x", "x"
	in.Secrets[0], in.PythonPackages[0], in.Models[0].Include[0] = "x", "x", "x"
	in.Repos[0].URL, in.Files[0].Source = "x", "x"
	assert.Equal(t, want, p.String())
}

func TestRequirementNames(t *testing.T) {
	for requirement, name := range map[string]string{
		"Jupyter-Server>=2": "jupyter-server", "jupyter_server": "jupyter-server", "a.b[c]==1": "a-b",
		"peft @ git+https://example.com/x": "peft", "git+https://example.com/x": "git",
	} {
		assert.Equal(t, name, projectName(requirement))
	}
}

// The script runs with the real dpkg-query and an apt-get that only notes
// what it is asked for.
func TestAptScript(t *testing.T) {
	query, err := exec.LookPath("dpkg-query")
	if err != nil {
		t.Skip("no dpkg on this machine: ", err)
	}
	for name, test := range map[string]struct{ packages, asked []string }{
		"all there": {[]string{"dpkg", "bash"}, nil},
		"one missing": {
			[]string{"dpkg", "no-such-package", "other=1:2.0"},
			[]string{"update", "install --yes --no-install-recommends -- dpkg no-such-package other=1:2.0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			notes := filepath.Join(bin, "notes")
			require.NoError(t, os.Symlink(query, filepath.Join(bin, "dpkg-query")))
			require.NoError(t, os.WriteFile(filepath.Join(bin, "apt-get"), []byte("#!/bin/sh\necho \"$*\" >>\"$NOTES\"\n"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(bin, "rm"), []byte("#!/bin/sh\n"), 0o755))

			argv := runArguments(t, New(Input{SystemPackages: test.packages}).Layers[0].Commands[0])
			command := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			command.Env = []string{"PATH=" + bin, "NOTES=" + notes}
			output, err := command.CombinedOutput()
			require.NoError(t, err, "%s", output)

			asked, err := os.ReadFile(notes)
			if test.asked == nil {
				require.ErrorIs(t, err, os.ErrNotExist)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, strings.Join(test.asked, "\n")+"\n", string(asked))
		})
	}
}
