package seer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/ajobi-uhc/seer-go"
)

func ExampleSandboxConfig() {
	config := seer.SandboxConfig{
		GPU:            "A100",
		Models:         []seer.ModelConfig{{Name: "google/gemma-2-9b"}},
		PythonPackages: []string{"torch", "transformers"},
		LocalDirs:      []seer.Mount{{Source: "./data", Target: "/workspace/data"}},
		Timeout:        90 * time.Minute,
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(text))
	// Output:
	// {
	//   "gpu": "A100",
	//   "models": [
	//     {
	//       "name": "google/gemma-2-9b"
	//     }
	//   ],
	//   "python_packages": [
	//     "torch",
	//     "transformers"
	//   ],
	//   "local_dirs": [
	//     {
	//       "source": "./data",
	//       "target": "/workspace/data"
	//     }
	//   ],
	//   "timeout": "1h30m"
	// }
}

func ExampleSandboxConfig_yaml() {
	config := seer.SandboxConfig{
		Repos:         []seer.RepoConfig{{URL: "org/repo", Install: "pip install -e ."}},
		Secrets:       []string{"HF_TOKEN"},
		IdleTimeout:   10 * time.Minute,
		ExecutionMode: seer.ModeNotebook,
	}
	text, err := yaml.Dump(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(text))
	// Output:
	// repos:
	// - url: org/repo
	//   install: pip install -e .
	// secrets:
	// - HF_TOKEN
	// idle_timeout: 10m
	// execution_mode: notebook
}

func ExampleLoadConfig() {
	dir, err := os.MkdirTemp("", "seer")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "sandbox.yaml")
	err = os.WriteFile(path, []byte(`
gpu: H100
gpu_count: 2
timeout: 1h30m
models:
  - name: my-org/my-adapter
    is_peft: true
    base_model: meta-llama/Llama-2-7b
local_dirs:
  - [./data, /workspace/data]
`), 0o600)
	if err != nil {
		fmt.Println(err)
		return
	}

	config, err := seer.LoadConfig(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.GPUCount, config.GPU, config.Timeout, config.Models[0].BaseModel, config.LocalDirs[0].Target)
	// Output: 2 H100 1h30m0s meta-llama/Llama-2-7b /workspace/data
}

func ExampleSandboxConfig_Validate() {
	config := seer.SandboxConfig{
		GPU:            "A100:2",
		Models:         []seer.ModelConfig{{Name: "my-org/my-adapter", IsPEFT: true}},
		PythonPackages: []string{"-r requirements.txt"},
		Timeout:        48 * time.Hour,
	}
	err := config.Validate()
	var invalid *seer.ConfigError
	if errors.As(err, &invalid) {
		for _, problem := range invalid.Problems {
			fmt.Println(problem.Field)
		}
	}
	fmt.Println(err)
	// Output:
	// GPU
	// Models[0].BaseModel
	// PythonPackages[0]
	// Timeout
	// invalid config, 4 problems:
	//   - GPU = "A100:2": the count has a field of its own: write GPU "A100" and GPUCount 2
	//   - Models[0].BaseModel = "": a PEFT adapter needs its base model; name it
	//   - PythonPackages[0] = "-r requirements.txt": is an option of pip; list packages alone, and use SetupCommands for the rest
	//   - Timeout = 48h: a sandbox lives at most 24h; snapshot it and go on in another for longer work
}
