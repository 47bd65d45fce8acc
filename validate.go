package seer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate finds everything that is wrong with the config and returns it as
// one *[ConfigError], or nil. It reads the process environment, the .env file
// and the names of local files, and neither connects nor provisions anything.
// Start does the same first. Of the backend it asks
// what is known without connecting, such as this machine's Python versions; what
// only a running server knows, Start finds.
func (c SandboxConfig) Validate(opts ...Option) error {
	o := newOptions(opts)
	secrets, err := newSecretSource(o.envFile, o.logger)
	if err != nil {
		return err
	}
	_, env, err := o.judge(secrets)
	if err != nil && !errors.Is(err, ErrNoBackend) {
		return err
	}
	if problems := c.validate(env); len(problems) > 0 {
		return &ConfigError{Problems: problems}
	}
	return nil
}

// judge says what a config is judged against before anything is connected to,
// and by which backend; ErrNoBackend comes with an env that holds for all.
func (o *options) judge(secrets *secretSource) (*backend, validationEnv, error) {
	env := validationEnv{lookup: secrets.lookup, trouble: secrets.trouble, stat: os.Stat}
	backend, err := chooseBackend(*o)
	if err != nil && !errors.Is(err, ErrNoBackend) {
		return nil, env, err
	}
	env.local = err == nil && backend.name == "local"
	if err == nil && backend.describe != nil {
		env.place = backend.describe()
	}
	o.settlePrices(env.local)
	env.prices = o.prices
	return backend, env, err
}

// validationEnv is what a config is judged against.
type validationEnv struct {
	lookup  secretLookup
	trouble func() string                          // why a name may not be found; nil = no reason
	stat    func(path string) (fs.FileInfo, error) // nil = nothing of this machine is copied
	place   Endpoint                               // what is known of the backend's machine
	prices  *Prices                                // what the backend asks for; nil = nothing
	local   bool                                   // the backend is this machine
	scoped  bool                                   // the sandbox will serve functions
}

// validate returns every problem of the config, in the order of its fields.
func (c SandboxConfig) validate(env validationEnv) []Problem {
	v := validator{env: env, config: c}
	v.resources()
	v.models()
	v.repos()
	v.image()
	v.variables()
	v.mounts()
	v.durations()
	v.budget()
	v.mode()
	v.ports()
	v.network()
	v.tags()
	v.texts()
	return v.problems
}

type validator struct {
	env      validationEnv
	config   SandboxConfig
	problems []Problem
}

func (v *validator) problem(field, value, format string, args ...any) {
	v.problems = append(v.problems, Problem{Field: field, Value: value, Message: fmt.Sprintf(format, args...)})
}

func quoted(text string) string { return strconv.Quote(text) }

func at(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

func atKey(field, key string) string { return fmt.Sprintf("%s[%q]", field, key) }

// sorted goes over a map in the order of its keys.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

var (
	gpuShape    = regexp.MustCompile(`^[A-Za-z0-9-]+[!+]?$`)
	gpuCounted  = regexp.MustCompile(`^([A-Za-z0-9-]+[!+]?):([0-9]+)$`)
	regionShape = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
)

func (v *validator) resources() {
	c := v.config
	if counted := gpuCounted.FindStringSubmatch(c.GPU); counted != nil {
		v.problem("GPU", quoted(c.GPU), "the count has a field of its own: write GPU %q and GPUCount %s", counted[1], counted[2])
	} else if c.GPU != "" && !gpuShape.MatchString(c.GPU) {
		v.problem("GPU", quoted(c.GPU), "write the type alone, such as \"A100\", \"H100\" or \"A100-80GB\"")
	} else if c.GPU != "" && v.env.place.NoGPU {
		v.problems = append(v.problems, Problem{Field: "GPU", Value: quoted(c.GPU), Message: ErrNoGPU.Error(), err: ErrNoGPU})
	}
	switch {
	case c.GPUCount < 0:
		v.problem("GPUCount", strconv.Itoa(c.GPUCount), "a count is not negative; 0 means one GPU")
	case c.GPUCount > 0 && c.GPU == "":
		v.problem("GPUCount", strconv.Itoa(c.GPUCount), "say which GPU with GPU, or leave the count 0 for CPU only")
	}
	if c.CPU < 0 || math.IsNaN(c.CPU) || math.IsInf(c.CPU, 0) {
		v.problem("CPU", fmt.Sprint(c.CPU), "write a number of cores above 0, such as 0.5 or 4; 0 means the backend's default")
	}
	if c.MemoryMiB < 0 {
		v.problem("MemoryMiB", strconv.Itoa(c.MemoryMiB), "write an amount in MiB above 0; 0 means the backend's default")
	}
	for i, region := range c.Regions {
		if !regionShape.MatchString(region) {
			v.problem(at("Regions", i), quoted(region), "write a region such as \"us-east\" or \"eu\"")
		}
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const variableRule = "a variable's name is letters, digits and underscores, and does not begin with a digit"

func (v *validator) variables() {
	c := v.config
	for _, name := range sorted(c.Env) {
		switch value := c.Env[name]; {
		case !variableName.MatchString(name):
			v.problem(atKey("Env", name), "", variableRule)
		case refersTo(value, name):
			v.problem(atKey("Env", name), "", "nothing expands $%s here: write the value in full, or extend the variable where a shell does it, as in export %s=/more:$%s", name, name, name)
		}
	}
	for i, name := range c.Secrets {
		field := at("Secrets", i)
		if _, set := c.Env[name]; set {
			v.problem(field, quoted(name), "Env sets the same variable; list it in one of the two")
		}
		v.secret(field, name)
	}
}

// secret checks that a variable that the config names is there to be read.
func (v *validator) secret(field, name string) {
	if !variableName.MatchString(name) {
		// The value is likely the secret itself, put where its name belongs.
		v.problem(field, "", "give the name of a variable, not its value: %s", variableRule)
		return
	}
	if value, ok := v.env.lookup(name); ok {
		if message := unsendable(value); message != "" {
			v.problem(field, quoted(name), "the variable's value %s", message)
		}
		return
	}
	why := ""
	if v.env.trouble != nil {
		why = v.env.trouble()
	}
	if why != "" {
		why = " (" + why + ")"
	}
	v.problem(field, quoted(name), "no such variable in the environment or the .env file%s; export it or add a line %s=... there", why, name)
}

func (v *validator) durations() {
	c := v.config
	for _, d := range []struct {
		field    string
		value    time.Duration
		lifetime bool // sent to the backend, which counts seconds up to a day
	}{
		{"Timeout", c.Timeout, true},
		{"IdleTimeout", c.IdleTimeout, true},
		{"MaxLifetime", c.MaxLifetime, true},
		{"SnapshotBeforeEnd", c.SnapshotBeforeEnd, false},
		{"WaitTimeout", c.WaitTimeout, false},
		{"RPCTimeout", c.RPCTimeout, false},
	} {
		switch {
		case d.value < 0:
			v.problem(d.field, formatDuration(d.value), "a duration is not negative; 0 means the default")
		case d.lifetime && d.value > maxTimeout:
			v.problem(d.field, formatDuration(d.value), "a sandbox lives at most 24h; snapshot it and go on in another for longer work")
		case d.value != 0 && d.value < time.Millisecond:
			v.problem(d.field, formatDuration(d.value), "a number alone counts nanoseconds: write %d * time.Second in Go, or \"%ds\" in a file", int64(d.value), int64(d.value))
		case d.lifetime && d.value%time.Second != 0:
			v.problem(d.field, formatDuration(d.value), "write whole seconds")
		}
	}
}

// budget checks what the caps of the lifetime leave of it.
func (v *validator) budget() {
	c := v.config.withDefaults()
	if c.Budget < 0 || math.IsNaN(c.Budget) || math.IsInf(c.Budget, 0) {
		v.problem("Budget", fmt.Sprint(c.Budget), "write US dollars above 0; 0 means no cap")
		return
	}
	if c.Budget > 0 {
		paid, known := v.env.prices.pays(c)
		if !known {
			v.problem("Budget", fmt.Sprint(c.Budget), "the prices of %s have none for GPU %q: give it with WithPrices, or cap the sandbox with MaxLifetime", v.env.prices.AsOf, c.GPU)
			return
		}
		if paid < time.Second {
			v.problem("Budget", fmt.Sprint(c.Budget), "pays for less than a second of this sandbox")
			return
		}
	}
	if lifetime := c.lifetime(v.env.prices); c.SnapshotBeforeEnd >= lifetime && c.SnapshotBeforeEnd > 0 && lifetime > 0 {
		v.problem("SnapshotBeforeEnd", formatDuration(c.SnapshotBeforeEnd), "the sandbox lives %s in all: write less than that", formatDuration(lifetime))
	}
}

func (v *validator) mode() {
	c := v.config
	if c.ExecutionMode != ModeCLI && c.ExecutionMode != ModeNotebook {
		v.problem("ExecutionMode", c.ExecutionMode.String(), "use ModeCLI or ModeNotebook")
	}
	if c.DockerInDocker && v.env.local {
		v.problem("DockerInDocker", "true", "the local backend runs no Docker daemon; use the Modal backend, or leave this false")
	}
}

const tagRule = "a tag has 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'"

var tagShape = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

func (v *validator) tags() {
	for _, key := range sorted(v.config.Tags) {
		value := v.config.Tags[key]
		switch {
		case !tagShape.MatchString(key):
			v.problem(atKey("Tags", key), "", "the key is malformed: %s", tagRule)
		case !tagShape.MatchString(value):
			v.problem(atKey("Tags", key), quoted(value), tagRule)
		case strings.HasPrefix(key, tagPrefix):
			v.problem(atKey("Tags", key), quoted(value), "tags that begin with %q are the SDK's own", tagPrefix)
		}
	}
}

func (v *validator) mounts() {
	c := v.config
	targets := make(map[string]string) // field by target
	for i, mount := range c.LocalFiles {
		v.mount(at("LocalFiles", i), mount, false, targets)
	}
	for i, mount := range c.LocalDirs {
		v.mount(at("LocalDirs", i), mount, true, targets)
	}
	for i, file := range c.LocalFiles {
		for _, target := range sorted(targets) {
			if target != file.Target && within(target, file.Target) && targets[file.Target] == at("LocalFiles", i) {
				v.problem(targets[target]+".Target", quoted(target), "%s is a file, and this would lie below it; give one of them another target", at("LocalFiles", i))
			}
		}
	}
	for i, repo := range c.Repos {
		target := repo.target()
		if other, taken := targets[target]; taken && target != "" {
			v.problem(at("Repos", i)+".Target", quoted(target), "%s goes to the same place; give one of them another target", other)
		}
	}
}

func (v *validator) mount(field string, mount Mount, wantDir bool, targets map[string]string) {
	v.source(field+".Source", mount.Source, wantDir)
	if !v.sandboxPath(field+".Target", mount.Target) {
		return
	}
	if other, taken := targets[mount.Target]; taken {
		v.problem(field+".Target", quoted(mount.Target), "%s goes to the same place; give one of them another target", other)
		return
	}
	targets[mount.Target] = field
}

func (v *validator) source(field, source string, wantDir bool) {
	if v.env.stat == nil {
		return
	}
	if source == "" {
		v.problem(field, `""`, "say which %s of this machine", kindName(wantDir))
		return
	}
	info, err := v.env.stat(source)
	switch {
	case err != nil && strings.HasPrefix(source, "~"):
		v.problem(field, quoted(source), "no such %s; ~ stands for nothing here, so write the path in full", kindName(wantDir))
	case errors.Is(err, fs.ErrNotExist):
		v.problem(field, quoted(source), "no such %s on this machine", kindName(wantDir))
	case err != nil:
		v.problem(field, quoted(source), "cannot be looked at: %v", reason(err))
	case info.IsDir() && !wantDir:
		v.problem(field, quoted(source), "is a directory; list it in LocalDirs")
	case !info.IsDir() && wantDir:
		v.problem(field, quoted(source), "is a file; list it in LocalFiles")
	case !wantDir && !info.Mode().IsRegular():
		v.problem(field, quoted(source), "is no regular file")
	}
}

func kindName(dir bool) string {
	if dir {
		return "directory"
	}
	return "file"
}

// reason is a file system's error without the path, which the problem has.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// sandboxPath checks an absolute path of the sandbox and reports whether it
// can be used.
func (v *validator) sandboxPath(field, target string) bool {
	clean := path.Clean("/" + target)
	before := len(v.problems)
	switch {
	case strings.ContainsRune(target, 0): // texts tells
		return false
	case target == "":
		v.problem(field, `""`, "say where it goes in the sandbox, such as \"/workspace/data\"")
	case !strings.HasPrefix(target, "/"):
		v.problem(field, quoted(target), "write the path in full from the sandbox's root, such as %q", path.Join("/workspace", target))
	case target != clean:
		v.problem(field, quoted(target), "write it without \".\", \"..\", double or trailing slashes: %q", clean)
	case reserved(target):
		v.problem(field, quoted(target), "the sandbox's system needs that place; choose another, such as \"/workspace/data\"")
	}
	return len(v.problems) == before
}

func reserved(target string) bool {
	if target == "/" {
		return true
	}
	return slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(place string) bool {
		return within(target, place)
	})
}

// within reports whether a clean path is dir or below it.
func within(target, dir string) bool {
	return target == dir || strings.HasPrefix(target, dir+"/")
}
