package seer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

// fullConfig has every field set but BlockNetwork, which excludes others.
func fullConfig() SandboxConfig {
	return SandboxConfig{
		GPU: "A100", GPUCount: 2, CPU: 4.5, MemoryMiB: 16384, Regions: []string{"us-east"},
		Models: []ModelConfig{
			{Name: "google/gemma-2-9b", Revision: "main", Exclude: []string{"*.gguf"}},
			{Name: "my-org/my-adapter", VarName: "adapter", Hidden: true, IsPEFT: true, LoadAsPEFT: true, BaseModel: "meta-llama/Llama-2-7b"},
		},
		Repos: []RepoConfig{
			{URL: "https://github.com/org/repo"},
			{
				URL: "org/tools", Install: "pip install -e .", InstallTimeout: 20 * time.Minute, InstallOptional: true,
				Branch: "main", Commit: "0123456789abcdef0123456789abcdef01234567",
				Dockerfile: "docker/Dockerfile", TokenEnv: "GIT_TOKEN", Target: "/workspace/private",
			},
		},
		PythonVersion: "3.10", PythonPackages: []string{"torch", "transformers"}, SystemPackages: []string{"ffmpeg"},
		NotebookPackages: []string{"matplotlib"}, SetupCommands: []string{`echo "ready" > /etc/motd`},
		Env: map[string]string{"DEBUG": "1"}, Secrets: []string{"HF_TOKEN"},
		LocalFiles: []Mount{{Source: "./local.txt", Target: "/sandbox/path.txt"}},
		LocalDirs:  []Mount{{Source: "./data", Target: "/workspace/data"}},
		Timeout:    90 * time.Minute, IdleTimeout: 10 * time.Minute, MaxLifetime: 12 * time.Hour,
		Budget: 12.5, SnapshotBeforeEnd: 5 * time.Minute,
		WaitTimeout: 90 * time.Second, RPCTimeout: 90 * time.Second,
		ExecutionMode: ModeNotebook, Debug: true, DockerInDocker: true,
		EncryptedPorts: []int{3000, 5000}, JupyterPort: 8889, RPCPort: 8081, DebugPort: 8444,
		CIDRAllowlist: []string{"203.0.113.0/24"}, Tags: map[string]string{"team": "evals"},
	}
}

func TestFullConfigIsFull(t *testing.T) {
	config := reflect.ValueOf(fullConfig())
	for _, field := range reflect.VisibleFields(config.Type()) {
		if field.Name != "BlockNetwork" {
			assert.False(t, config.FieldByIndex(field.Index).IsZero(), field.Name)
		}
		assert.Equal(t, field.Tag.Get("json"), field.Tag.Get("yaml"), field.Name)
	}
}

func TestLoadConfigReadsEveryField(t *testing.T) {
	for _, name := range []string{"full.yaml", "full.json"} {
		t.Run(name, func(t *testing.T) {
			config, err := LoadConfig(filepath.Join("testdata/config", name))
			require.NoError(t, err)
			assert.Equal(t, fullConfig(), config)
		})
	}
}

func TestConfigRoundTrip(t *testing.T) {
	for name, config := range map[string]SandboxConfig{"full": fullConfig(), "zero": {}, "blocked": {BlockNetwork: true}} {
		for extension, marshal := range map[string]func(any) ([]byte, error){
			".json": json.Marshal,
			".yaml": func(v any) ([]byte, error) { return yaml.Dump(v) },
			".yml":  yaml.Marshal,
		} {
			t.Run(name+extension, func(t *testing.T) {
				data, err := marshal(config)
				require.NoError(t, err)
				loaded, err := LoadConfig(writeFile(t, "config"+extension, string(data)))
				require.NoError(t, err, "%s", data)
				assert.Equal(t, config, loaded)

				if extension == ".json" {
					var direct SandboxConfig
					require.NoError(t, json.Unmarshal(data, &direct))
					assert.Equal(t, config, direct)
				} else {
					var direct SandboxConfig
					require.NoError(t, yaml.Load(data, &direct))
					assert.Equal(t, config, direct)
				}
			})
		}
	}
}

func TestLoadConfigErrors(t *testing.T) {
	for name, test := range map[string]struct{ file, content, want string }{
		"unknown key": {
			"c.yaml", "gpu: A100\ngpu_cout: 2\n",
			"invalid config: FILE:2: gpu_cout: unknown key; did you mean gpu_count?",
		},
		"unknown key in JSON": {
			"c.json", "{\n  \"gpu\": \"A100\",\n  \"pyton_packages\": []\n}",
			"invalid config: FILE:3: pyton_packages: unknown key; did you mean python_packages?",
		},
		"unknown key below": {
			"c.yaml", "models:\n  - name: a/b\n    quantize: true\n",
			"invalid config: FILE:3: models[0].quantize: unknown key",
		},
		"Go's name of a field": {
			"c.json", "{\"GPUCount\": 1}",
			"invalid config: FILE:1: GPUCount: unknown key; did you mean gpu_count?",
		},
		"several": {
			"c.yaml", "gpus: A100\ntimeout: 3600\nrepos:\n- url: org/repo\n  instal: x\n",
			"invalid config, 3 problems:\n" +
				"  - FILE:1: gpus: unknown key; did you mean gpu?\n" +
				"  - FILE:2: timeout: duration 3600 has no unit: write 3600s for seconds\n" +
				"  - FILE:5: repos[0].instal: unknown key; did you mean install?",
		},
		"number as duration in JSON": {
			"c.json", "{\"timeout\": 90}",
			"invalid config: FILE:1: timeout: duration 90 has no unit: write 90s for seconds",
		},
		"no duration": {
			"c.yaml", "repos:\n- url: org/repo\n  install_timeout: soon\n",
			"invalid config: FILE:3: repos[0].install_timeout: \"soon\" is no duration: write it as 90s, 30m or 1h30m",
		},
		"wrong kind": {
			"c.yaml", "gpu_count: two\n",
			"invalid config: FILE:1: gpu_count: `two` does not fit here: write a whole number",
		},
		"text for a list": {
			"c.yaml", "python_packages: torch\nrepos: [5]\nenv: x\nlocal_dirs: [7]\ngpu: [a]\n",
			"invalid config, 5 problems:\n" +
				"  - FILE:1: python_packages: `torch` does not fit here: write a list\n" +
				"  - FILE:2: repos[0]: `5` does not fit here: write a mapping of keys to values\n" +
				"  - FILE:3: env: `x` does not fit here: write a mapping of names to values\n" +
				"  - FILE:4: local_dirs[0]: `7` does not fit here: write a mapping of keys to values\n" +
				"  - FILE:5: gpu: does not fit here: write text",
		},
		"two documents": {
			"c.yaml", "gpu: A100\n---\ngpu: H100\n", "invalid config: FILE:2: a second document begins; a file holds one config",
		},
		"syntax": {
			"c.yaml", "gpu: A100\n\tfoo: [\n",
			"invalid config: FILE:2: found a tab character that violates indentation",
		},
		"syntax of JSON": {
			"c.json", "{\n\"gpu\" \"A100\"}", "invalid config: FILE:2: invalid character '\"' after object key",
		},
		"mode": {
			"c.yaml", "execution_mode: jupyter\n",
			"invalid config: FILE:1: execution_mode: \"jupyter\" is no execution mode: write cli or notebook",
		},
		"mount with one part": {
			"c.yaml", "local_files:\n- [./a]\n",
			"invalid config: FILE:2: local_files[0]: a mount has a source and a target, not 1 parts",
		},
		"unknown key of a mount": {
			"c.yaml", "local_files:\n- source: a\n  dest: /b\n",
			"invalid config: FILE:3: local_files[0].dest: unknown key",
		},
		"a list at the top": {
			"c.yaml", "- a\n", "invalid config: FILE:1: a config is a mapping of keys to values",
		},
		"cut JSON": {
			"c.json", "{\n\"gpu\":", "invalid config: FILE:2: the text ends before the config does",
		},
		"JSON goes on": {
			"c.json", "{}\n{}", "invalid config: FILE:2: there is more after the config's closing brace",
		},
		"key given twice": {
			"c.json", "{\"gpu\": \"A100\",\n\"gpu\": \"H100\"}",
			"invalid config: FILE:2: gpu: mapping key \"gpu\" already defined at line 1",
		},
		"extension": {
			"c.toml", "", "load config FILE: extension \".toml\" is none of .yaml, .yml and .json",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, test.file, test.content)
			_, err := LoadConfig(path)
			require.Error(t, err)
			assert.Equal(t, test.want, hidePath(err.Error(), path))
		})
	}
}

func TestLoadConfigWithoutFile(t *testing.T) {
	_, err := LoadConfig("testdata/config/none.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLoadConfigOfNothing(t *testing.T) {
	for _, content := range []string{"", "\n", "# only a comment\n", "---\n", "null\n"} {
		config, err := LoadConfig(writeFile(t, "c.yaml", content))
		require.NoError(t, err, "%q", content)
		assert.Equal(t, SandboxConfig{}, config)
	}
}

func TestLoadConfigKeepsJSONText(t *testing.T) {
	config, err := LoadConfig(writeFile(t, "c.json", `{"env": {"A": "\ud83d\ude00\u0000\ttab"}, "timeout": "0"}`))
	require.NoError(t, err)
	assert.Equal(t, "😀\x00\ttab", config.Env["A"])
}

func TestLoadConfigMerges(t *testing.T) {
	config, err := LoadConfig(writeFile(t, "c.yaml", "models:\n- &a {name: a/b, hidden: true}\n- <<: *a\n  var_name: other\n"))
	require.NoError(t, err)
	assert.Equal(t, []ModelConfig{{Name: "a/b", Hidden: true}, {Name: "a/b", Hidden: true, VarName: "other"}}, config.Models)
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s",
		10 * time.Second: "10s", 24 * time.Hour: "24h", 1500 * time.Millisecond: "1.5s",
		time.Hour + time.Second: "1h0m1s", 10 * time.Minute: "10m", -time.Hour: "-1h",
	} {
		assert.Equal(t, want, formatDuration(d))
		parsed, err := time.ParseDuration(want)
		require.NoError(t, err)
		assert.Equal(t, d, parsed)
	}
}

func FuzzLoadConfig(f *testing.F) {
	for _, name := range []string{"full.yaml", "full.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/config", name))
		require.NoError(f, err)
		f.Add(string(data), filepath.Ext(name) == ".json")
	}
	f.Add("a: &a {<<: *a}", false)
	f.Add("local_dirs: [[a, b], {source: c, target: d}]", false)
	f.Add(`{"timeout": 1e999, "env": {"A": null}}`, true)
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		parse := parseYAML
		if isJSON {
			parse = parseJSON
		}
		root, err := parse([]byte(text))
		if err != nil {
			return
		}
		config, err := decodeConfig(root)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		data, err := json.Marshal(config)
		require.NoError(t, err)
		var again SandboxConfig
		require.NoError(t, json.Unmarshal(data, &again))
		canonical, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(data), string(canonical))
	})
}
