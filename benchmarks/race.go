//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/local"
)

const (
	scheduling    = 1500 * time.Millisecond // of a GPU on Modal, roughly
	modelDownload = 100 * time.Second       // of S2
	racedFiles    = 50                      // 200 of them would take Python over a minute
	jupyterPort   = 8888
)

// versusPython is S1, S2, S4 and S9 against the flow of the Python library, on
// one server with the delays of a distant one.
func versusPython(ctx context.Context, b *bench) error {
	repos, address, err := serveRepos(ctx, b)
	if err != nil {
		return err
	}
	hub, hosts, err := serveModels(b)
	if err != nil {
		return err
	}
	w, err := distantWorld(append(hosts, address))
	if err != nil {
		return err
	}
	b.later(w.close)
	flow, err := b.python(ctx, w)
	if err != nil {
		return err
	}
	var r *startRace
	for _, played := range []bool{true, false} {
		r = &startRace{bench: b, world: w, flow: flow, hub: hub, played: played}
		if err := r.declare(repos); err != nil {
			return err
		}
		w.slow(0)
		if err := r.prepare(ctx); err != nil {
			return err
		}
		w.slow(modalDelay)
		b.measure = "S1"
		if err := r.starts(ctx); err != nil {
			return err
		}
	}
	return r.files(ctx)
}

// distantWorld is a real world whose sandboxes take a while to be scheduled and
// may reach some addresses of this machine.
func distantWorld(allow []netip.AddrPort) (*world, error) {
	dir, err := local.StateDir()
	if err != nil {
		return nil, err
	}
	rt, err := linux.New(linux.Config{Dir: dir, AllowHosts: allow})
	if err != nil {
		return nil, err
	}
	return newWorldOn(rt, worldOptions{imageDir: filepath.Join(dir, "server"), scheduling: scheduling})
}

// serveRepos serves two small repositories to sandboxes, over git's protocol
// for servers that know nothing of git.
func serveRepos(ctx context.Context, b *bench) ([]seer.RepoConfig, netip.AddrPort, error) {
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	b.later(func() error { return os.RemoveAll(dir) })
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	server := &http.Server{Handler: http.FileServerFS(os.DirFS(dir)), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	b.later(func() error {
		err := server.Close()
		if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
			err = errors.Join(err, stopped)
		}
		return err
	})
	address := netip.MustParseAddrPort(listener.Addr().String())
	var repos []seer.RepoConfig
	for _, name := range []string{"one", "two"} {
		if err := makeRepo(ctx, filepath.Join(dir, "org", name+".git")); err != nil {
			return nil, netip.AddrPort{}, err
		}
		repos = append(repos, seer.RepoConfig{URL: fmt.Sprintf("http://host.seer.internal:%d/org/%s.git", address.Port(), name)})
	}
	return repos, address, nil
}

var racedModels = []string{"org/one", "org/two"}

// serveModels puts two small models on a hub, which Start is told of.
func serveModels(b *bench) (env seer.Option, hosts []netip.AddrPort, err error) {
	hub := hubtest.Start()
	b.later(func() error { hub.Close(); return nil })
	for _, id := range racedModels {
		hub.Add(hubtest.Model{ID: id, Files: map[string][]byte{
			"config.json": []byte("{}"), "model.safetensors": bytes.Repeat([]byte("weights "), 4<<10),
		}})
	}
	for _, address := range []string{hub.URL, hub.CDNURL} {
		hosts = append(hosts, netip.MustParseAddrPort(strings.TrimPrefix(address, "http://")))
	}
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return nil, nil, err
	}
	b.later(func() error { return os.RemoveAll(dir) })
	file := filepath.Join(dir, ".env")
	return seer.WithEnvFile(file), hosts, os.WriteFile(file, []byte("HF_ENDPOINT="+hub.URL+"\n"), 0o600)
}

func makeRepo(ctx context.Context, dir string) error {
	work := dir + ".work"
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main", work},
		{"-C", work, "-c", "user.name=seer", "-c", "user.email=seer@localhost", "commit", "--quiet", "--allow-empty", "-m", "first"},
		{"clone", "--quiet", "--bare", work, dir},
		{"-C", dir, "update-server-info"},
	} {
		if out, err := exec.CommandContext(ctx, "git", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// jupyterScript goes before the real server in Python's path.
//
//go:embed jupyter_server.py
var jupyterScript string

const playedJupyter = "/opt/played"

// startRace races Start against the Python library's.
type startRace struct {
	*bench
	world  *world
	flow   *pythonFlow
	hub    seer.Option
	played bool // Jupyter is, and boots in one second
	config seer.SandboxConfig
	repos  map[string]string // target by URL, as Python clones them
	texts  map[string]string // of the files that Python writes
	image  string
	models map[string]string // volume by path
}

// declare makes the config: models, packages, repositories, ten files, a
// directory of fifty, a notebook.
func (r *startRace) declare(repos []seer.RepoConfig) error {
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return err
	}
	r.later(func() error { return os.RemoveAll(dir) })
	names, err := makeTree(dir, 60)
	if err != nil {
		return err
	}
	r.config = seer.SandboxConfig{
		ExecutionMode:  seer.ModeNotebook,
		PythonPackages: []string{"einops", "tqdm", "httpx"},
		SystemPackages: []string{"jq", "tree"},
		Env:            map[string]string{"GREETING": "hi"},
		Repos:          repos,
	}
	for i, id := range racedModels {
		r.config.Models = append(r.config.Models, seer.ModelConfig{Name: id, VarName: fmt.Sprintf("model%d", i)})
	}
	if r.played {
		r.config.SetupCommands = []string{"mkdir -p " + playedJupyter + "/jupyter_server && cat >" + playedJupyter + "/jupyter_server/__main__.py <<'END'\n" + jupyterScript + "END\n"}
		r.config.Env["PYTHONPATH"] = playedJupyter
	}
	r.repos, r.texts = map[string]string{}, map[string]string{}
	for i, repo := range repos {
		target := "/" + strconv.Itoa(i) + "/repo"
		r.config.Repos[i].Target = target
		r.repos[repo.URL] = target
	}
	for i, name := range names[:10] {
		target := fmt.Sprintf("/workspace/f%d", i)
		r.config.LocalFiles = append(r.config.LocalFiles, seer.Mount{Source: name, Target: target})
		r.texts[target] = strings.Repeat("x", smallSize)
	}
	fifty := filepath.Join(dir, "fifty")
	if err := os.Mkdir(fifty, 0o755); err != nil {
		return err
	}
	for _, name := range names[10:] {
		if err := os.Rename(name, filepath.Join(fifty, filepath.Base(name))); err != nil {
			return err
		}
	}
	r.config.LocalDirs = []seer.Mount{{Source: fifty, Target: "/workspace/fifty"}}
	return nil
}

// prepare builds the image and downloads the models, which both sides then use.
func (r *startRace) prepare(ctx context.Context) error {
	sandbox, err := r.world.start(ctx, r.config, r.hub)
	if err != nil {
		return err
	}
	r.models = map[string]string{}
	for _, model := range sandbox.ModelHandles() {
		r.models[model.Path] = model.Volume
	}
	for _, running := range r.world.server.Sandboxes() {
		if running.ID == sandbox.SandboxID() {
			r.image = running.Image
		}
	}
	return sandbox.Terminate(ctx)
}

// started is what one start cost.
type started struct {
	wall, age time.Duration
	critical  chain
	calls     int
}

// ours starts the program's only sandbox, and another one beside it.
func (r *startRace) ours(ctx context.Context) (first, second started, err error) {
	only, first, err := r.start(ctx)
	if err != nil {
		return first, second, err
	}
	other, second, err := r.start(ctx)
	if err == nil {
		err = other.Terminate(ctx)
	}
	return first, second, errors.Join(err, only.Terminate(ctx))
}

func (r *startRace) start(ctx context.Context) (sandbox *seer.Sandbox, s started, err error) {
	elapsed := map[string]time.Duration{}
	progress := seer.WithProgress(func(e seer.Event) {
		if e.Kind == seer.EventDone {
			elapsed[e.Step] = e.Elapsed
		}
	})
	began := time.Now()
	s.calls, err = r.world.count(func() (err error) {
		sandbox, err = r.world.start(ctx, r.config, r.hub, progress)
		return err
	})
	if err != nil {
		return nil, s, err
	}
	s.wall, s.age = time.Since(began), time.Since(r.world.lastCreate())
	plan, err := r.config.Plan(ctx, seer.WithBackend(r.world.backend), r.hub)
	if err != nil {
		return nil, s, errors.Join(err, sandbox.Terminate(ctx))
	}
	s.critical = criticalPath(plan.Steps, elapsed)
	return sandbox, s, nil
}

// chain is steps that waited for each other.
type chain struct {
	took  time.Duration
	steps []string
}

// criticalPath is the chain of steps that took longest.
func criticalPath(steps []seer.PlanStep, elapsed map[string]time.Duration) chain {
	var longest chain
	ends := map[string]chain{}
	for _, step := range steps { // a step comes after those that it waits for
		var before chain
		for _, title := range step.After {
			if ends[title].took > before.took {
				before = ends[title]
			}
		}
		took := elapsed[step.Title]
		end := chain{before.took + took, slices.Concat(before.steps, []string{step.Title + " " + show(took)})}
		if ends[step.Title] = end; end.took > longest.took {
			longest = end
		}
	}
	return longest
}

func (r *startRace) theirs(context.Context) (s started, err error) {
	s.calls, err = r.world.count(func() (err error) {
		s.wall, err = r.flow.do("start", r.request(r.texts, r.repos, r.models))
		return err
	})
	if err != nil {
		return s, err
	}
	s.age = time.Since(r.world.lastCreate())
	_, err = r.flow.do("end", nil)
	return s, err
}

// request is what the Python flow starts: the same image, and a notebook server
// without a password, as the Python library's is.
func (r *startRace) request(files, repos, volumes map[string]string) map[string]any {
	return map[string]any{
		"image": r.image, "port": jupyterPort, "files": files, "repos": repos, "volumes": volumes, "env": r.config.Env,
		"jupyter": []string{"python", "-m", "jupyter_server", "--ip=0.0.0.0", "--port=" + strconv.Itoa(jupyterPort),
			"--allow-root", "--no-browser", "--IdentityProvider.token="},
	}
}

const startRounds = 5

// starts prints S1, S2 and S9: medians of five rounds, after one that warms up.
func (r *startRace) starts(ctx context.Context) error {
	var ours, beside, theirs []started
	for round := range startRounds + 1 {
		mine, second, err := r.ours(ctx)
		if err != nil {
			return err
		}
		python, err := r.theirs(ctx)
		if err != nil {
			return err
		}
		if round > 0 {
			ours, beside, theirs = append(ours, mine), append(beside, second), append(theirs, python)
		}
	}
	wall := func(s started) time.Duration { return s.wall }
	age := func(s started) time.Duration { return s.age }
	critical := func(s started) time.Duration { return s.critical.took }
	calls := func(s started) time.Duration { return time.Duration(s.calls) }
	what := "Start, notebook, 2 models, 2 repos, 10 files, warm"
	if r.played {
		what += ", Jupyter's boot played: 1 s"
	}
	for _, side := range []struct {
		what string
		ours []started
	}{{what, ours}, {what + ", beside another one", beside}} {
		mine, python, path := middle(side.ours, wall), middle(theirs, wall), middle(side.ours, critical)
		r.row(side.what, show(mine), "Python flow", show(python), ratio(mine, python), "0.59")
		quickest := slices.MinFunc(side.ours, func(a, b started) int { return cmp.Compare(a.critical.took, b.critical.took) })
		r.row(side.what, show(mine), "its critical path, at best: "+strings.Join(quickest.critical.steps, ", "), show(path), ratio(mine, path), "1.1")
	}
	r.measure = "S2"
	mine, python := middle(ours, age), middle(theirs, age)
	what = strings.Replace(what, "Start, notebook", "age of the sandbox", 1)
	r.row(what, show(mine), "Python flow", show(python), ratio(mine, python), "")
	r.row("with models that take 100 s", show(mine), "Python flow, 100 s more", show(python+modelDownload), ratio(mine, python+modelDownload), "0.05")
	r.measure = "S9"
	mine, python = middle(ours, calls), middle(theirs, calls)
	r.row("RPCs of that Start", strconv.Itoa(int(mine)), "Python flow", strconv.Itoa(int(python)), ratio(mine, python), "")
	mine = middle(beside, calls)
	r.row("RPCs of that beside another one", strconv.Itoa(int(mine)), "Python flow", strconv.Itoa(int(python)), ratio(mine, python), "")
	return nil
}

func middle(all []started, of func(started) time.Duration) time.Duration {
	values := make([]time.Duration, len(all))
	for i, one := range all {
		values[i] = of(one)
	}
	return median(values)
}

// files prints S4 and the rest of S9: files and commands in a running sandbox each.
func (r *startRace) files(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return err
	}
	r.later(func() error { return os.RemoveAll(dir) })
	if _, err := makeTree(dir, racedFiles); err != nil {
		return err
	}
	sandbox, err := r.world.start(ctx, seer.SandboxConfig{})
	if err != nil {
		return err
	}
	r.later(func() error { return sandbox.Terminate(context.WithoutCancel(ctx)) })
	if _, err := r.flow.do("start", r.request(nil, nil, nil)); err != nil {
		return err
	}
	r.later(func() error { _, err := r.flow.do("end", nil); return err })

	text := strings.Repeat("x", smallSize)
	names := make([]string, racedFiles)
	for i := range names {
		names[i] = fmt.Sprintf("/data/f%d", i)
	}
	for _, raced := range []struct {
		what, aim string
		ours      func() error
		python    func() (time.Duration, error)
	}{
		{"Exec of `echo hi`", "",
			func() error { _, err := sandbox.Exec(ctx, "echo hi"); return err },
			func() (time.Duration, error) {
				return r.flow.do("exec", map[string]any{"command": []string{"bash", "-c", "echo hi"}})
			}},
		{"WriteFile, three folders deep", "",
			func() error { return sandbox.WriteFile(ctx, "/a/b/c/d", []byte(text)) },
			func() (time.Duration, error) {
				return r.flow.do("write_all", map[string]any{"names": []string{"/a/b/c/d"}, "content": text})
			}},
		{fmt.Sprintf("Upload of %d files of 1 KiB", racedFiles), "0.02",
			func() error { return sandbox.Upload(ctx, dir, "/data") },
			func() (time.Duration, error) {
				return r.flow.do("write_all", map[string]any{"names": names, "content": text})
			}},
	} {
		if err := r.raceCalls(ctx, raced.what, raced.aim, raced.ours, raced.python); err != nil {
			return fmt.Errorf("%s: %w", raced.what, err)
		}
	}
	return nil
}

// raceCalls prints the time of something under S4 and its RPCs under S9.
func (r *startRace) raceCalls(ctx context.Context, what, aim string, ours func() error, python func() (time.Duration, error)) error {
	var mine, theirs int
	medians, err := race(ctx, startRounds,
		side{"seer", func(context.Context) (took time.Duration, err error) {
			began := time.Now()
			mine, err = r.world.count(ours)
			return time.Since(began), err
		}},
		side{"Python flow", func(context.Context) (took time.Duration, err error) {
			theirs, err = r.world.count(func() (err error) { took, err = python(); return err })
			return took, err
		}})
	if err != nil {
		return err
	}
	r.measure = "S4"
	r.row(what+", 40 ms per RPC", show(medians[0]), "Python flow", show(medians[1]), ratio(medians[0], medians[1]), aim)
	r.measure = "S9"
	r.row("RPCs of "+what, strconv.Itoa(mine), "Python flow", strconv.Itoa(theirs), ratio(mine, theirs), "")
	return nil
}
