//go:build linux

package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// suite is a client's test package.
type suite struct {
	name    string
	pkg     string
	version string
	alone   []string // tests that count their program's goroutines, of which others leave some that end later

	skips []string
	dir   string   // where its sources are
	tests []string // all of them
	test  string   // the compiled tests
}

func suites() []*suite {
	return []*suite{
		{name: "modal-go", pkg: "github.com/modal-labs/libmodal/modal-go/test", version: "v0.7.0"},
		{
			name: "modal-client", pkg: "github.com/modal-labs/modal-client/go/test", version: "v0.11.1",
			alone: []string{"TestClosingAPartlyReadStreamLeavesNothingRunning"},
		},
	}
}

func choose(name string) ([]*suite, error) {
	all := suites()
	if name == "" {
		return all, nil
	}
	var names []string
	for _, s := range all {
		if s.name == name {
			return []*suite{s}, nil
		}
		names = append(names, s.name)
	}
	return nil, fmt.Errorf("suite %q: there is %s", name, strings.Join(names, ", "))
}

//go:embed skip
var skipLists embed.FS

// skipList reads the tests that are left out. Each has a reason behind it.
func skipList(suite string) ([]string, error) {
	text, err := skipLists.ReadFile("skip/" + suite + ".txt")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("skip/%s.txt: %s has no reason", suite, name)
		}
		names = append(names, name)
	}
	return names, nil
}

// prepare compiles the tests in a module of their own: two clients cannot be
// linked into one program, nor into this one.
func (s *suite) prepare(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// The versions that this module links: they are tested, and compiled already.
	project, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(project), name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	s.test = filepath.Join(dir, "tests")
	own := []string{"GOWORK=off", "GOFLAGS="}
	for _, argv := range [][]string{
		{"go", "mod", "edit", "-module", "modalsuite"},
		{"go", "get", "-t", s.pkg + "@" + s.version},
		{"go", "test", "-c", "-vet=off", "-ldflags=-w", "-o", s.test, s.pkg},
	} {
		if err := command(ctx, dir, own, argv...); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	where, err := output(ctx, dir, "go", "list", "-f", "{{.Dir}}", s.pkg)
	if err != nil {
		return err
	}
	s.dir = strings.TrimSpace(where)
	list, err := output(ctx, s.dir, s.test, "-test.list", ".")
	if err != nil {
		return err
	}
	s.tests = strings.Fields(list)
	if s.skips, err = skipList(s.name); err != nil {
		return err
	}
	for _, name := range slices.Concat(s.skips, s.alone) {
		if !slices.Contains(s.tests, name) {
			return fmt.Errorf("%s is no test of %s@%s", name, s.pkg, s.version)
		}
	}
	return nil
}

// run runs the tests with a server's variables.
func (s *suite) run(ctx context.Context, server []string, o options) (*tally, error) {
	left, alone := s.skips, s.alone
	if o.all {
		left = nil
	}
	var args []string
	if o.run != "" {
		args, alone = append(args, "-test.run="+o.run), nil
	}
	if leave := slices.Concat(left, alone); len(leave) > 0 {
		args = append(args, "-test.skip="+anyOf(leave))
	}
	result, err := s.execute(ctx, server, args...)
	if err != nil {
		return nil, err
	}
	for _, name := range alone {
		one, err := s.execute(ctx, server, "-test.run="+anyOf([]string{name}))
		if err != nil {
			return nil, err
		}
		result.add(one)
	}
	result.skipped += len(left)
	return result, nil
}

// anyOf is a pattern for some tests.
func anyOf(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	return "^(" + strings.Join(quoted, "|") + ")$"
}

// execute runs the compiled tests once.
func (s *suite) execute(ctx context.Context, server []string, args ...string) (*tally, error) {
	argv := []string{"tool", "test2json", "-t", s.test, "-test.v=test2json", "-test.parallel=8", "-test.timeout=5m"}
	cmd := exec.CommandContext(ctx, "go", append(argv, args...)...)
	cmd.Dir = s.dir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MODAL_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "MODAL_ENVIRONMENT=libmodal", "MODAL_CONFIG_PATH="+filepath.Join(filepath.Dir(s.test), "none"))
	cmd.Env = append(cmd.Env, server...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	result, err := count(stdout)
	ended := cmd.Wait()
	if exit := (*exec.ExitError)(nil); ended != nil && !errors.As(ended, &exit) { // else the events say so
		err = errors.Join(err, ended)
	}
	if err != nil {
		return nil, fmt.Errorf("run tests: %w\n%s", err, &stderr)
	}
	return result, nil
}

// describe says how it went: what failed in full, the rest in numbers.
func (t *tally) describe(s *suite, took time.Duration) string {
	var text strings.Builder
	for _, name := range t.failed {
		fmt.Fprintf(&text, "--- %s\n%s", name, t.output[name])
	}
	fmt.Fprintf(&text, "%s %s: %d passed, %d failed, %d skipped in %s\n",
		s.name, s.version, t.passed, len(t.failed), t.skipped, took.Round(time.Second))
	return text.String()
}
