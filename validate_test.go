package seer

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testEnv has one file, one directory and one secret.
func testEnv(t *testing.T) validationEnv {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o644))
	return validationEnv{
		lookup: func(name string) (string, bool) {
			value, ok := map[string]string{"TOKEN": "hunter2", "LATIN1": "hunter2\xff", "CUT": "hunter2\x00"}[name]
			return value, ok
		},
		stat: func(path string) (fs.FileInfo, error) { return os.Stat(filepath.Join(root, path)) },
	}
}

// Whatever text of a config is not UTF-8, however deep, is a problem with its
// field; so is a NUL byte. Names of files may have any other byte.
func TestNoTextIsSentThatCannotBe(t *testing.T) {
	for bad, message := range map[string]string{"a\xffb": "is no UTF-8 text", "a\x00b": "holds a NUL byte"} {
		for field, mutate := range textFields(reflect.TypeFor[SandboxConfig](), "") {
			var config SandboxConfig
			mutate(reflect.ValueOf(&config).Elem(), bad)
			var told []string
			for _, p := range config.validate(testEnv(t)) {
				if p.Field == field && p.Message == message {
					told = append(told, p.Message)
				}
			}
			if strings.HasPrefix(field, "Local") && message == "is no UTF-8 text" {
				assert.Empty(t, told, field)
				continue
			}
			assert.Equal(t, []string{message}, told, "%s", field)
		}
	}
}

// textFields are the paths of all texts of a type, with what sets one of them.
func textFields(of reflect.Type, path string) map[string]func(reflect.Value, string) {
	fields := map[string]func(reflect.Value, string){}
	add := func(name string, inner map[string]func(reflect.Value, string), step func(reflect.Value) (reflect.Value, func())) {
		for below, set := range inner {
			fields[name+below] = func(v reflect.Value, text string) {
				next, done := step(v)
				set(next, text)
				done()
			}
		}
	}
	switch of.Kind() {
	case reflect.String:
		fields[""] = func(v reflect.Value, text string) { v.SetString(text) }
	case reflect.Struct:
		for i := range of.NumField() {
			name := of.Field(i).Name
			if path != "" {
				name = "." + name
			}
			add(name, textFields(of.Field(i).Type, "inner"), func(v reflect.Value) (reflect.Value, func()) { return v.Field(i), func() {} })
		}
	case reflect.Slice:
		add("[0]", textFields(of.Elem(), "inner"), func(v reflect.Value) (reflect.Value, func()) {
			v.Set(reflect.MakeSlice(of, 1, 1))
			return v.Index(0), func() {}
		})
	case reflect.Map:
		add(`["K"]`, textFields(of.Elem(), "inner"), func(v reflect.Value) (reflect.Value, func()) {
			item := reflect.New(of.Elem()).Elem()
			return item, func() {
				v.Set(reflect.MakeMap(of))
				v.SetMapIndex(reflect.ValueOf("K"), item)
			}
		})
	}
	return fields
}

func TestConfigErrorMatchesWhatItsProblemsDo(t *testing.T) {
	err := &ConfigError{Problems: SandboxConfig{GPU: "A100"}.validate(validationEnv{place: Endpoint{NoGPU: true}})}
	require.ErrorIs(t, err, ErrNoGPU)
	require.NotErrorIs(t, &ConfigError{Problems: SandboxConfig{GPUCount: -1}.validate(validationEnv{})}, ErrNoGPU)
}

func texts(problems []Problem) []string {
	var list []string
	for _, p := range problems {
		list = append(list, p.String())
	}
	return list
}

func TestValidConfigs(t *testing.T) {
	for name, config := range map[string]SandboxConfig{
		"zero":           {},
		"GPU":            {GPU: "A100", GPUCount: 8},
		"unknown GPU":    {GPU: "Z900-1TB"},
		"exact GPU":      {GPU: "H100!"},
		"longest":        {Timeout: 24 * time.Hour, IdleTimeout: time.Second, MaxLifetime: 24 * time.Hour},
		"all caps":       {Timeout: 2 * time.Hour, MaxLifetime: time.Hour, Budget: 0.001, SnapshotBeforeEnd: 5 * time.Minute},
		"fractions wait": {WaitTimeout: 1500 * time.Millisecond},
		"requirements": {PythonPackages: []string{
			"torch", "torch>=2.4", "torch >= 2.4, < 3", "transformers[torch,sentencepiece]==4.44.0", "a.b_c-d~=1.0",
			"tomli>=1; python_version < '3.11'", "numpy==1.26.*", "torch==2.4.0+cu121", "six (>=1.0)", "x===1.0",
			"git+https://github.com/org/repo@main#egg=repo&subdirectory=python", "repo @ git+ssh://git@github.com/org/repo",
			"thing @ https://example.com/thing-1.0-py3-none-any.whl ; python_version >= '3.9'",
		}},
		"apt":           {SystemPackages: []string{"g++", "libstdc++6", "jq=1.6-2.1", "ffmpeg=7:5.1.6-0+deb12u1", "libc6:arm64", "git/bookworm-backports", "7zip"}},
		"python":        {PythonVersion: "3.12.4"},
		"ports":         {EncryptedPorts: []int{1, 8080, 65535}, JupyterPort: 9999},
		"default moved": {EncryptedPorts: []int{8888}, JupyterPort: 9000},
		"blocked":       {BlockNetwork: true, ExecutionMode: ModeNotebook},
		"cidr":          {CIDRAllowlist: []string{"203.0.113.0/24", "2001:db8::/32", "198.51.100.7/32"}},
		"models":        {Models: []ModelConfig{{Name: "google/gemma-2-9b"}, {Name: "gpt2", VarName: "small"}, {Name: "google/gemma-2-9b", VarName: "again", Revision: "refs/pr/7"}}},
		"wrapped":       {Models: []ModelConfig{{Name: "a/b", LoadAsPEFT: true}}},
		"peft":          {Models: []ModelConfig{{Name: "my-org/my-adapter", IsPEFT: true, BaseModel: "meta-llama/Llama-2-7b", LoadAsPEFT: true, Hidden: true}}},
		"visible base":  {Models: []ModelConfig{{Name: "org/quirky", VarName: "organism", IsPEFT: true, BaseModel: "org/base", Hidden: true}, {Name: "org/base", VarName: "base"}}},
		"repos": {Repos: []RepoConfig{
			{URL: "org/repo", Branch: "feature/x", Commit: "0123abc"}, {URL: "https://example.com/a/b/c.git", TokenEnv: "TOKEN"},
			{URL: "git@host:path/foo.github.io"}, {URL: "org/repo", Target: "/opt/repo-2", Install: "make", InstallOptional: true},
		}},
		"mounts":        {LocalFiles: []Mount{{"file", "/sandbox/path.txt"}, {"file", "/workspace/repo/.env"}}, LocalDirs: []Mount{{"dir", "/workspace"}}, Repos: []RepoConfig{{URL: "org/repo"}}},
		"variables":     {Env: map[string]string{"_A1": "two\nlines"}, Secrets: []string{"TOKEN", "TOKEN"}},
		"tags":          {Tags: map[string]string{strings.Repeat("k", 63): "a.b_c-D9"}},
		"docker remote": {DockerInDocker: true, Repos: []RepoConfig{{URL: "org/repo", Dockerfile: "docker/Dockerfile"}}},
	} {
		t.Run(name, func(t *testing.T) { assert.Empty(t, texts(config.validate(testEnv(t)))) })
	}
}

func TestProblems(t *testing.T) {
	local := func(env *validationEnv) {
		env.local, env.place = true, Endpoint{Pythons: []string{"3.11", "3.13"}, NoGPU: true, NoApt: true}
	}
	scoped := func(env *validationEnv) { env.scoped = true }
	billed := func(env *validationEnv) {
		env.prices = &Prices{AsOf: "2030-01", CPU: 1, GPUs: map[string]GPUPrice{"A100": {PerSecond: 2}}}
	}
	for name, test := range map[string]struct {
		config SandboxConfig
		env    func(*validationEnv)
		want   []string
	}{
		"GPU with count":      {SandboxConfig{GPU: "A100:2"}, nil, []string{`GPU = "A100:2": the count has a field of its own: write GPU "A100" and GPUCount 2`}},
		"GPU malformed":       {SandboxConfig{GPU: "A100 80GB"}, nil, []string{`GPU = "A100 80GB": write the type alone, such as "A100", "H100" or "A100-80GB"`}},
		"GPU count negative":  {SandboxConfig{GPU: "A100", GPUCount: -1}, nil, []string{`GPUCount = -1: a count is not negative; 0 means one GPU`}},
		"GPU count alone":     {SandboxConfig{GPUCount: 2}, nil, []string{`GPUCount = 2: say which GPU with GPU, or leave the count 0 for CPU only`}},
		"CPU negative":        {SandboxConfig{CPU: -0.5}, nil, []string{`CPU = -0.5: write a number of cores above 0, such as 0.5 or 4; 0 means the backend's default`}},
		"CPU no number":       {SandboxConfig{CPU: math.NaN()}, nil, []string{`CPU = NaN: write a number of cores above 0, such as 0.5 or 4; 0 means the backend's default`}},
		"memory negative":     {SandboxConfig{MemoryMiB: -1}, nil, []string{`MemoryMiB = -1: write an amount in MiB above 0; 0 means the backend's default`}},
		"region":              {SandboxConfig{Regions: []string{"us-east", "US East"}}, nil, []string{`Regions[1] = "US East": write a region such as "us-east" or "eu"`}},
		"timeout over a day":  {SandboxConfig{Timeout: 25 * time.Hour}, nil, []string{`Timeout = 25h: a sandbox lives at most 24h; snapshot it and go on in another for longer work`}},
		"timeout negative":    {SandboxConfig{Timeout: -time.Second}, nil, []string{`Timeout = -1s: a duration is not negative; 0 means the default`}},
		"timeout fraction":    {SandboxConfig{Timeout: 1500 * time.Millisecond}, nil, []string{`Timeout = 1.5s: write whole seconds`}},
		"timeout plain 3600":  {SandboxConfig{Timeout: 3600}, nil, []string{`Timeout = 3.6µs: a number alone counts nanoseconds: write 3600 * time.Second in Go, or "3600s" in a file`}},
		"idle fraction":       {SandboxConfig{IdleTimeout: time.Millisecond}, nil, []string{`IdleTimeout = 1ms: write whole seconds`}},
		"lifetime over a day": {SandboxConfig{MaxLifetime: 48 * time.Hour}, nil, []string{`MaxLifetime = 48h: a sandbox lives at most 24h; snapshot it and go on in another for longer work`}},
		"budget negative":     {SandboxConfig{Budget: -1}, billed, []string{`Budget = -1: write US dollars above 0; 0 means no cap`}},
		"budget no number":    {SandboxConfig{Budget: math.Inf(1)}, nil, []string{`Budget = +Inf: write US dollars above 0; 0 means no cap`}},
		"budget, no price":    {SandboxConfig{GPU: "Z9000", Budget: 5}, billed, []string{`Budget = 5: the prices of 2030-01 have none for GPU "Z9000": give it with WithPrices, or cap the sandbox with MaxLifetime`}},
		"budget too low":      {SandboxConfig{GPU: "A100", Budget: 1.5}, billed, []string{`Budget = 1.5: pays for less than a second of this sandbox`}},
		"saved when begun":    {SandboxConfig{SnapshotBeforeEnd: time.Hour}, nil, []string{`SnapshotBeforeEnd = 1h: the sandbox lives 1h in all: write less than that`}},
		"saved, capped":       {SandboxConfig{MaxLifetime: time.Minute, SnapshotBeforeEnd: 5 * time.Minute}, nil, []string{`SnapshotBeforeEnd = 5m: the sandbox lives 1m in all: write less than that`}},
		"saved, not paid":     {SandboxConfig{GPU: "A100", Budget: 120, SnapshotBeforeEnd: 5 * time.Minute}, billed, []string{`SnapshotBeforeEnd = 5m: the sandbox lives 1m in all: write less than that`}},
		"saved negative":      {SandboxConfig{SnapshotBeforeEnd: -time.Minute}, nil, []string{`SnapshotBeforeEnd = -1m: a duration is not negative; 0 means the default`}},
		"waits negative":      {SandboxConfig{WaitTimeout: -1, RPCTimeout: -time.Minute}, nil, []string{`WaitTimeout = -1ns: a duration is not negative; 0 means the default`, `RPCTimeout = -1m: a duration is not negative; 0 means the default`}},

		"blocked with ports": {SandboxConfig{BlockNetwork: true, EncryptedPorts: []int{3000}}, nil, []string{`BlockNetwork = true: EncryptedPorts cannot be reached with the network blocked; remove one of the two`}},
		"blocked with debug": {SandboxConfig{BlockNetwork: true, Debug: true}, nil, []string{`BlockNetwork = true: VS Code of Debug cannot be reached with the network blocked; remove one of the two`}},
		"blocked with CIDR":  {SandboxConfig{BlockNetwork: true, CIDRAllowlist: []string{"203.0.113.0/24"}}, nil, []string{`BlockNetwork = true: CIDRAllowlist allows what this blocks; remove one of the two`}},
		"CIDR": {SandboxConfig{CIDRAllowlist: []string{"example.com", "203.0.113.7", "203.0.113.7/24"}}, nil, []string{
			`CIDRAllowlist[0] = "example.com": write a network such as "203.0.113.0/24"`,
			`CIDRAllowlist[1] = "203.0.113.7": write a network with its length; for this address alone, "203.0.113.7/32"`,
			`CIDRAllowlist[2] = "203.0.113.7/24": has bits set beyond its length; write "203.0.113.0/24"`,
		}},
		"port range": {SandboxConfig{EncryptedPorts: []int{0, 65536}, RPCPort: -1}, nil, []string{
			`RPCPort = -1: a port is a number from 1 to 65535`, `EncryptedPorts[0] = 0: a port is a number from 1 to 65535`, `EncryptedPorts[1] = 65536: a port is a number from 1 to 65535`,
		}},
		"port twice":           {SandboxConfig{EncryptedPorts: []int{3000, 3000}}, nil, []string{`EncryptedPorts[1] = 3000: EncryptedPorts[0] is the same port; give each its own`}},
		"port of Jupyter":      {SandboxConfig{EncryptedPorts: []int{8888}}, nil, []string{`EncryptedPorts[0] = 8888: JupyterPort is the same port; give each its own`}},
		"port of functions":    {SandboxConfig{EncryptedPorts: []int{8080}}, scoped, []string{`EncryptedPorts[0] = 8080: RPCPort is the same port; give each its own`}},
		"port of VS Code, D11": {SandboxConfig{Debug: true, DebugPort: 8080}, scoped, []string{`DebugPort = 8080: RPCPort is the same port; give each its own`}},

		"PEFT without base":        {SandboxConfig{Models: []ModelConfig{{Name: "a/b", IsPEFT: true}}}, nil, []string{`Models[0].BaseModel = "": a PEFT adapter needs its base model; name it`}},
		"base without PEFT":        {SandboxConfig{Models: []ModelConfig{{Name: "a/b", BaseModel: "c/d"}}}, nil, []string{`Models[0].BaseModel = "c/d": only a PEFT adapter has a base model; set IsPEFT too, or remove it`}},
		"model without name":       {SandboxConfig{Models: []ModelConfig{{}}}, nil, []string{`Models[0].Name = "": name the model by its HuggingFace ID, such as "google/gemma-2-9b"`}},
		"model URL":                {SandboxConfig{Models: []ModelConfig{{Name: "https://huggingface.co/a/b"}}}, nil, []string{`Models[0].Name = "https://huggingface.co/a/b": write the HuggingFace ID, such as "google/gemma-2-9b", and no URL or path`}},
		"model path":               {SandboxConfig{Models: []ModelConfig{{Name: "../../etc"}}}, nil, []string{`Models[0].Name = "../../etc": write the HuggingFace ID, such as "google/gemma-2-9b", and no URL or path`}},
		"variable twice":           {SandboxConfig{Models: []ModelConfig{{Name: "a/b", VarName: "m"}, {Name: "a/c", VarName: "m"}}}, nil, []string{`Models[1].VarName = "m": Models[0] has the same name; give each model a name of its own`}},
		"variable twice, default":  {SandboxConfig{Models: []ModelConfig{{Name: "a/b"}, {Name: "a/c"}}}, nil, []string{`Models[1].VarName = "": Models[0] is already called "model", the default; give each model a name of its own`}},
		"variable malformed":       {SandboxConfig{Models: []ModelConfig{{Name: "a/b", VarName: "my model"}}}, nil, []string{`Models[0].VarName = "my model": write a Python name: letters, digits and underscores, no digit first`}},
		"variable is a keyword":    {SandboxConfig{Models: []ModelConfig{{Name: "a/b", VarName: "lambda"}}}, nil, []string{`Models[0].VarName = "lambda": is a word of the Python language; choose another name`}},
		"revision":                 {SandboxConfig{Models: []ModelConfig{{Name: "a/b", Revision: "--upload-pack=x"}}}, nil, []string{`Models[0].Revision = "--upload-pack=x": write the name of a branch, a tag or a commit`}},
		"patterns":                 {SandboxConfig{Models: []ModelConfig{{Name: "a/b", Include: []string{"[a"}, Exclude: []string{""}}}}, nil, []string{`Models[0].Include[0] = "[a": write a pattern of file names in the model's repository, such as "*.safetensors"`, `Models[0].Exclude[0] = "": write a pattern of file names in the model's repository, such as "*.safetensors"`}},
		"hidden, named elsewhere":  {SandboxConfig{Models: []ModelConfig{{Name: "org/Evil-Llama", VarName: "evil_llama", Hidden: true}}, Env: map[string]string{"NOTE": "uses evil.llama"}, SetupCommands: []string{"echo EvilLlama"}, Repos: []RepoConfig{{URL: "org/evil-llama-evals"}}, LocalDirs: []Mount{{Source: ".", Target: "/data/evil_llama"}}}, nil, []string{`Models[0].VarName = "evil_llama": gives the hidden model away; choose a neutral name`, `Env["NOTE"]: names a model that Models[0] hides; the agent could read it`, `SetupCommands[0]: names a model that Models[0] hides; the agent could find it in the image`, `Repos[0]: names a model that Models[0] hides; the agent could find it in the clone`, `LocalDirs[0].Target: names a model that Models[0] hides; the agent could see the path`}},
		"hidden, named by secret":  {SandboxConfig{Models: []ModelConfig{{Name: "org/Token", Hidden: true}}, Secrets: []string{"TOKEN"}}, nil, []string{`Secrets[0]: names a model that Models[0] hides; the agent could read it`}},
		"hidden and shown at once": {SandboxConfig{Models: []ModelConfig{{Name: "org/thing", Hidden: true}, {Name: "Org/Thing", VarName: "same"}}}, nil, []string{`Models[1].Hidden = false: the same model is hidden as Models[0]; hide both or neither`}},

		"repo URL":            {SandboxConfig{Repos: []RepoConfig{{URL: "org/repo"}, {URL: "not a repo"}}}, nil, []string{`Repos[1].URL = "not a repo": is no repository: write https://host/org/repo, ssh://git@host/org/repo, git@host:org/repo or, for GitHub, org/repo`}},
		"repo URL with token": {SandboxConfig{Repos: []RepoConfig{{URL: "https://hunter2@github.com/org/repo"}}}, nil, []string{`Repos[0].URL: holds a user name or token: put the token in a variable and name that in TokenEnv`}},
		"repo URL with query": {SandboxConfig{Repos: []RepoConfig{{URL: "https://github.com/org/repo?token=hunter2"}, {URL: "https://github.com/org/repo#hunter2"}}}, nil, []string{
			`Repos[0].URL: has a query or fragment: give the repository alone, and Branch or Commit for a version of it`,
			`Repos[1].URL: has a query or fragment: give the repository alone, and Branch or Commit for a version of it`,
		}},
		"commit":             {SandboxConfig{Repos: []RepoConfig{{URL: "org/repo", Commit: "main"}}}, nil, []string{`Repos[0].Commit = "main": write a commit's hash, in full or at least 7 hex digits; a branch or tag goes into Branch`}},
		"branch":             {SandboxConfig{Repos: []RepoConfig{{URL: "org/repo", Branch: "a..b"}}}, nil, []string{`Repos[0].Branch = "a..b": write the name of a branch, a tag or a commit`}},
		"repos at one place": {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo"}, {URL: "b/repo"}}}, nil, []string{`Repos[1].Target = "/workspace/repo": Repos[0] is cloned to the same place; give one of them another target`}},
		"repo in repo":       {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo"}, {URL: "b/sub", Target: "/workspace/repo/sub"}}}, nil, []string{`Repos[1].Target = "/workspace/repo/sub": Repos[0] is cloned to /workspace/repo, and one would lie in the other; give one of them another target`}},
		"install empty":      {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo", Install: " "}}}, nil, []string{`Repos[0].Install = " ": write a bash command, or leave it out`}},
		"install timeout":    {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo", InstallTimeout: -time.Second}}}, nil, []string{`Repos[0].InstallTimeout = -1s: a duration is not negative; 0 means 10m`}},
		"nothing to install": {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo", InstallOptional: true}}}, nil, []string{`Repos[0].InstallOptional = true: there is nothing to install; set Install too, or remove it`}},
		"token missing":      {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo", TokenEnv: "NOPE"}}}, nil, []string{`Repos[0].TokenEnv = "NOPE": no such variable in the environment or the .env file; export it or add a line NOPE=... there`}},
		"token over ssh":     {SandboxConfig{Repos: []RepoConfig{{URL: "git@host:a/repo", TokenEnv: "TOKEN"}}}, nil, []string{`Repos[0].TokenEnv = "TOKEN": a token is sent over https only; give an https URL, or remove TokenEnv`}},
		"token itself":       {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo", TokenEnv: "ghp-hunter2"}}}, nil, []string{`Repos[0].TokenEnv: give the name of a variable, not its value: a variable's name is letters, digits and underscores, and does not begin with a digit`}},
		"Dockerfile outside": {SandboxConfig{Repos: []RepoConfig{{URL: "a/repo", Dockerfile: "../Dockerfile"}}}, nil, []string{`Repos[0].Dockerfile = "../Dockerfile": write the Dockerfile's path in the repository, such as "docker/Dockerfile"`}},

		"docker here": {SandboxConfig{DockerInDocker: true, Repos: []RepoConfig{{URL: "a/repo", Dockerfile: "Dockerfile"}}}, local, []string{
			`Repos[0].Dockerfile = "Dockerfile": the local backend runs no Docker containers; use the Modal backend, or remove it`,
			`DockerInDocker = true: the local backend runs no Docker daemon; use the Modal backend, or leave this false`,
		}},
		"python":      {SandboxConfig{PythonVersion: "3"}, nil, []string{`PythonVersion = "3": write a version of Python 3, such as "3.11" or "3.12.4"`}},
		"python here": {SandboxConfig{PythonVersion: "3.12"}, local, []string{`PythonVersion = "3.12": this machine has Python 3.11, 3.13; ask for that, leave it empty, or use the Modal backend`}},

		"pip": {SandboxConfig{PythonPackages: []string{"-r requirements.txt", "torch; rm -rf /", "$(id)", "./src", "", "torch>="}}, nil, []string{
			`PythonPackages[0] = "-r requirements.txt": is an option of pip; list packages alone, and use SetupCommands for the rest`,
			`PythonPackages[1] = "torch; rm -rf /": write one pip requirement, such as "torch", "torch>=2.4" or "transformers[torch]==4.44.0"`,
			`PythonPackages[2] = "$(id)": write one pip requirement, such as "torch", "torch>=2.4" or "transformers[torch]==4.44.0"`,
			`PythonPackages[3] = "./src": is a path; use Repos with Install for a package from source`,
			`PythonPackages[4] = "": write one pip requirement, such as "torch", "torch>=2.4" or "transformers[torch]==4.44.0"`,
			`PythonPackages[5] = "torch>=": write one pip requirement, such as "torch", "torch>=2.4" or "transformers[torch]==4.44.0"`,
		}},
		"pip URL": {SandboxConfig{NotebookPackages: []string{"git+https://hunter2@github.com/org/repo", "git+https://github.com/org/repo | id"}}, nil, []string{
			`NotebookPackages[0]: the URL holds a user name or token, which would end up in build logs; clone the repository with Repos and TokenEnv, and install it from there`,
			`NotebookPackages[1]: write name @ https://... or git+https://..., without white space in the URL and with a space before a marker`,
		}},
		"apt": {SandboxConfig{SystemPackages: []string{"-y", "a b", "foo-", "x;id", ""}}, nil, []string{
			`SystemPackages[0] = "-y": write one apt package, such as "ffmpeg", or with a version, "ffmpeg=7:5.1"`,
			`SystemPackages[1] = "a b": write one apt package, such as "ffmpeg", or with a version, "ffmpeg=7:5.1"`,
			`SystemPackages[2] = "foo-": write one apt package, such as "ffmpeg", or with a version, "ffmpeg=7:5.1"`,
			`SystemPackages[3] = "x;id": write one apt package, such as "ffmpeg", or with a version, "ffmpeg=7:5.1"`,
			`SystemPackages[4] = "": write one apt package, such as "ffmpeg", or with a version, "ffmpeg=7:5.1"`,
		}},
		"setup": {SandboxConfig{SetupCommands: []string{"", "a\x00"}}, nil, []string{
			`SetupCommands[0] = "": write a bash command, or leave it out`, `SetupCommands[1] = "a\x00": holds a NUL byte`,
		}},

		"secret missing":   {SandboxConfig{Secrets: []string{"TOKEN", "HF_TOKEN"}}, nil, []string{`Secrets[1] = "HF_TOKEN": no such variable in the environment or the .env file; export it or add a line HF_TOKEN=... there`}},
		"secret malformed": {SandboxConfig{Secrets: []string{"KEY=hunter2"}}, nil, []string{`Secrets[0]: give the name of a variable, not its value: a variable's name is letters, digits and underscores, and does not begin with a digit`}},
		"secret and env":   {SandboxConfig{Secrets: []string{"TOKEN"}, Env: map[string]string{"TOKEN": "hunter2"}}, nil, []string{`Secrets[0] = "TOKEN": Env sets the same variable; list it in one of the two`}},
		"env":              {SandboxConfig{Env: map[string]string{"1A": "hunter2", "B": "hunter2\x00"}}, nil, []string{`Env["1A"]: a variable's name is letters, digits and underscores, and does not begin with a digit`, `Env["B"]: holds a NUL byte`}},
		"secret not text":  {SandboxConfig{Secrets: []string{"LATIN1", "CUT"}}, nil, []string{`Secrets[0] = "LATIN1": the variable's value is no UTF-8 text`, `Secrets[1] = "CUT": the variable's value holds a NUL byte`}},
		"env of itself": {SandboxConfig{Env: map[string]string{"PATH": "/opt/x/bin:$PATH", "LD_LIBRARY_PATH": "${LD_LIBRARY_PATH:+x}", "HASH": "$2b$PATH", "P": "$PATH"}}, nil, []string{
			`Env["LD_LIBRARY_PATH"]: nothing expands $LD_LIBRARY_PATH here: write the value in full, or extend the variable where a shell does it, as in export LD_LIBRARY_PATH=/more:$LD_LIBRARY_PATH`,
			`Env["PATH"]: nothing expands $PATH here: write the value in full, or extend the variable where a shell does it, as in export PATH=/more:$PATH`,
		}},
		"nanoseconds": {SandboxConfig{Timeout: 60, RPCTimeout: 600}, nil, []string{
			`Timeout = 60ns: a number alone counts nanoseconds: write 60 * time.Second in Go, or "60s" in a file`,
			`RPCTimeout = 600ns: a number alone counts nanoseconds: write 600 * time.Second in Go, or "600s" in a file`,
		}},
		"GPU here":    {SandboxConfig{GPU: "A100"}, local, []string{`GPU = "A100": ` + ErrNoGPU.Error()}},
		"no apt":      {SandboxConfig{SystemPackages: []string{"jq", "git"}}, local, []string{`SystemPackages: this machine has no apt-get to install them with: install them on the machine itself, leave them out, or use the Modal backend`}},
		"tags":        {SandboxConfig{Tags: map[string]string{"a b": "x", "c": strings.Repeat("x", 64), "d": ""}}, nil, []string{`Tags["a b"]: the key is malformed: a tag has 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'`, `Tags["c"] = "` + strings.Repeat("x", 64) + `": a tag has 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'`, `Tags["d"] = "": a tag has 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'`}},
		"tag of ours": {SandboxConfig{Tags: map[string]string{"seer.owner": "me"}}, nil, []string{`Tags["seer.owner"] = "me": tags that begin with "seer." are the SDK's own`}},
		"mode":        {SandboxConfig{ExecutionMode: 7}, nil, []string{`ExecutionMode = ExecutionMode(7): use ModeCLI or ModeNotebook`}},

		"file missing, D24":   {SandboxConfig{LocalFiles: []Mount{{"none", "/a"}}, LocalDirs: []Mount{{"none", "/b"}}}, nil, []string{`LocalFiles[0].Source = "none": no such file on this machine`, `LocalDirs[0].Source = "none": no such directory on this machine`}},
		"file impossible":     {SandboxConfig{LocalFiles: []Mount{{"a\x00b", "/a"}}}, nil, []string{`LocalFiles[0].Source = "a\x00b": holds a NUL byte`}},
		"file in home":        {SandboxConfig{LocalFiles: []Mount{{"~/x", "/a"}}}, nil, []string{`LocalFiles[0].Source = "~/x": no such file; ~ stands for nothing here, so write the path in full`}},
		"file unnamed":        {SandboxConfig{LocalFiles: []Mount{{"", ""}}}, nil, []string{`LocalFiles[0].Source = "": say which file of this machine`, `LocalFiles[0].Target = "": say where it goes in the sandbox, such as "/workspace/data"`}},
		"directory as file":   {SandboxConfig{LocalFiles: []Mount{{"dir", "/a"}}}, nil, []string{`LocalFiles[0].Source = "dir": is a directory; list it in LocalDirs`}},
		"file as directory":   {SandboxConfig{LocalDirs: []Mount{{"file", "/a"}}}, nil, []string{`LocalDirs[0].Source = "file": is a file; list it in LocalFiles`}},
		"relative target":     {SandboxConfig{LocalFiles: []Mount{{"file", "data/x"}}}, nil, []string{`LocalFiles[0].Target = "data/x": write the path in full from the sandbox's root, such as "/workspace/data/x"`}},
		"unclean target":      {SandboxConfig{LocalDirs: []Mount{{"dir", "/workspace/../etc/"}}}, nil, []string{`LocalDirs[0].Target = "/workspace/../etc/": write it without ".", "..", double or trailing slashes: "/etc"`}},
		"reserved targets":    {SandboxConfig{LocalDirs: []Mount{{"dir", "/"}, {"dir", "/proc/1"}}, Repos: []RepoConfig{{URL: "a/b", Target: "/dev"}}}, nil, []string{`Repos[0].Target = "/dev": the sandbox's system needs that place; choose another, such as "/workspace/data"`, `LocalDirs[0].Target = "/": the sandbox's system needs that place; choose another, such as "/workspace/data"`, `LocalDirs[1].Target = "/proc/1": the sandbox's system needs that place; choose another, such as "/workspace/data"`}},
		"two at one place":    {SandboxConfig{LocalFiles: []Mount{{"file", "/a"}}, LocalDirs: []Mount{{"dir", "/a"}}}, nil, []string{`LocalDirs[0].Target = "/a": LocalFiles[0] goes to the same place; give one of them another target`}},
		"below a file":        {SandboxConfig{LocalFiles: []Mount{{"file", "/a"}, {"file", "/a/b"}}, LocalDirs: []Mount{{"dir", "/a/c"}, {"dir", "/ab"}}}, nil, []string{`LocalFiles[1].Target = "/a/b": LocalFiles[0] is a file, and this would lie below it; give one of them another target`, `LocalDirs[0].Target = "/a/c": LocalFiles[0] is a file, and this would lie below it; give one of them another target`}},
		"repo and directory":  {SandboxConfig{LocalDirs: []Mount{{"dir", "/workspace/repo"}}, Repos: []RepoConfig{{URL: "org/repo"}}}, nil, []string{`Repos[0].Target = "/workspace/repo": LocalDirs[0] goes to the same place; give one of them another target`}},
		"NUL in target":       {SandboxConfig{LocalFiles: []Mount{{"file", "/a\x00"}}}, nil, []string{`LocalFiles[0].Target = "/a\x00": holds a NUL byte`}},
		"target of many dots": {SandboxConfig{Repos: []RepoConfig{{URL: "org/repo", Target: "workspace"}}}, nil, []string{`Repos[0].Target = "workspace": write the path in full from the sandbox's root, such as "/workspace/workspace"`}},
	} {
		t.Run(name, func(t *testing.T) {
			env := testEnv(t)
			if test.env != nil {
				test.env(&env)
			}
			got := texts(test.config.validate(env))
			assert.Equal(t, test.want, got)
			assert.NotContains(t, strings.Join(got, "\n"), "hunter2")
		})
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SEER_TEST_TOKEN", "")
	err := SandboxConfig{
		GPUCount: -1, Timeout: 48 * time.Hour, Repos: []RepoConfig{{URL: "org/repo"}, {URL: "::"}},
		Secrets: []string{"SEER_TEST_TOKEN", "SEER_TEST_NO_TOKEN"},
	}.Validate()
	var invalid *ConfigError
	require.ErrorAs(t, err, &invalid)
	assert.Len(t, invalid.Problems, 4)
	assert.Equal(t, `invalid config, 4 problems:
  - GPUCount = -1: a count is not negative; 0 means one GPU
  - Repos[1].URL = "::": is no repository: write https://host/org/repo, ssh://git@host/org/repo, git@host:org/repo or, for GitHub, org/repo
  - Secrets[1] = "SEER_TEST_NO_TOKEN": no such variable in the environment or the .env file; export it or add a line SEER_TEST_NO_TOKEN=... there
  - Timeout = 48h: a sandbox lives at most 24h; snapshot it and go on in another for longer work`, err.Error())
	assert.NoError(t, SandboxConfig{}.Validate())
}

func TestValidateReadsTheEnvFile(t *testing.T) {
	t.Chdir(t.TempDir())
	config := SandboxConfig{Secrets: []string{"SEER_TEST_SECRET"}}
	require.Error(t, config.Validate())
	require.NoError(t, os.WriteFile(".env", []byte("SEER_TEST_SECRET=x\n"), 0o600))
	require.NoError(t, config.Validate())

	err := config.Validate(WithEnvFile("other.env"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile("other.env", []byte("OTHER=x\n"), 0o600))
	var invalid *ConfigError
	require.True(t, errors.As(config.Validate(WithEnvFile("other.env")), &invalid))
}

func TestRestoredSandboxesNeedNoLocalFiles(t *testing.T) {
	env := testEnv(t)
	env.stat = nil
	config := SandboxConfig{LocalFiles: []Mount{{"gone", "/a"}}, LocalDirs: []Mount{{"gone", "b"}}}
	assert.Equal(t, []string{`LocalDirs[0].Target = "b": write the path in full from the sandbox's root, such as "/workspace/b"`}, texts(config.validate(env)))
}

func TestNearestGPU(t *testing.T) {
	for name, want := range map[string]string{
		"A100-80": "A100-80GB", "h1000": "H100", "a10g": "A10", "B2000": "B200", "V100": "A100",
		"something-else-entirely": "",
	} {
		assert.Equal(t, want, nearestGPU(name), name)
	}
}
