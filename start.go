package seer

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// Start provisions what the config declares and returns the sandbox itself,
// running. What does not depend on each other is done side by side; nothing
// that bills by the second exists before everything slow is ready. The error
// is a *[ConfigError] for a bad config, found before anything is provisioned,
// or a *[StartError] that names the step: whatever the steps before it made has
// been removed then. A Sandbox is started once.
func (s *Sandbox) Start(ctx context.Context) (*Sandbox, error) {
	if s == nil {
		return nil, errors.New("start sandbox: it is nil; make one with NewSandbox")
	}
	s.mu.Lock()
	if s.phase != phaseNew {
		s.mu.Unlock()
		return nil, errors.New("start sandbox: already started; make another with NewSandbox")
	}
	s.phase = phaseStarting
	s.mu.Unlock()

	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.undo(ctx, err))
	}
	s.enterRunning()
	return s, nil
}

// undo removes what a failed Start has made, and says what it could not.
func (s *Sandbox) undo(ctx context.Context, cause error) error {
	var errs []error
	s.closeJupyter()
	if s.remote != nil {
		ctx, cancel := withGrace(ctx, endTimeout)
		defer cancel()
		if err := s.remote.Terminate(ctx); err != nil {
			errs = append(errs, fmt.Errorf("sandbox %s may still be running and cost money: %w", s.remote.ID(), publicError(err)))
		} else {
			forgetRecord(s.client, s.remote.ID())
		}
		s.remote.Detach()
	}
	errs = append(errs, s.disconnect())
	s.mu.Lock()
	s.phase, s.cause = phaseEnded, fmt.Errorf("%w: Start failed: %w", ErrTerminated, cause)
	s.mu.Unlock()
	return errors.Join(errs...)
}

func (s *Sandbox) start(ctx context.Context) error {
	secrets, err := newSecretSource(s.opts.envFile, s.opts.logger)
	if err != nil {
		return err
	}
	env, err := s.validated(ctx, secrets)
	if err != nil {
		return err
	}
	planned := plan.New(s.planInput())
	if s.from != nil {
		if err := s.checkSnapshot(ctx); err != nil {
			return err
		}
	} else {
		s.expectRepos(planned.Repos)
	}
	l := &launch{Sandbox: s, plan: planned, env: env, lookup: secrets.lookup}
	if err := l.openHub(ctx); err != nil {
		return err
	}
	defer l.closeHub()
	return runSteps(ctx, l.events, l.steps())
}

// expectRepos says where the repositories will be. Their commits follow.
func (s *Sandbox) expectRepos(planned []plan.Repo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, repo := range planned {
		s.repos = append(s.repos, RepoHandle{Name: repo.Name, URL: repo.URL, Path: repo.Target})
	}
}

// validated checks the config, against the backend too, connects to it, and
// returns the sandbox's environment with the values of its secrets.
func (s *Sandbox) validated(ctx context.Context, secrets *secretSource) (map[string]string, error) {
	backend, world, err := s.opts.judge(secrets)
	if err != nil && !errors.Is(err, ErrNoBackend) {
		return nil, err
	}
	world.scoped = s.scoped
	if !s.copiesFiles() {
		world.stat = nil
	}
	if problems := s.config.validate(world); len(problems) > 0 {
		return nil, &ConfigError{Problems: problems}
	}
	if err != nil {
		return nil, err
	}
	client, endpoint, err := backend.acquire(ctx, s.opts.logger)
	if err != nil {
		return nil, &StartError{Step: "connect to " + backend.name, Err: err}
	}
	s.mu.Lock()
	s.backend, s.client = backend, client
	s.mu.Unlock()

	world.place = endpoint
	if problems := s.config.validate(world); len(problems) > 0 {
		return nil, &ConfigError{Problems: problems}
	}
	env := make(map[string]string, len(s.config.Env)+len(s.config.Secrets))
	maps.Copy(env, s.config.Env)
	for _, name := range s.config.Secrets {
		env[name], _ = secrets.lookup(name) // validate has found it
	}
	return env, nil
}

// launch is a Start under way.
type launch struct {
	*Sandbox
	plan   plan.Plan
	env    map[string]string
	lookup secretLookup
	image  string
	// recalled: the app or the image is what the server said at an earlier Start.
	recalled bool

	hub        *modelHub // nil = no models
	downloader *imageShare
	kept       []ModelHandle // of the snapshot
	volumes    []modelVolume // as the plan has them
}

const stepSecrets = "pass environment"

// steps are the nodes of the plan that this start needs, with what they do.
func (l *launch) steps() []step {
	titles := make(map[string]string, len(l.plan.Steps))
	for _, planned := range l.plan.Steps {
		titles[planned.ID] = planned.Title
	}
	var secret modalclient.Secret
	var steps []step
	if len(l.env) > 0 {
		steps = append(steps, step{name: stepSecrets, run: func(ctx context.Context, _ func(string)) (_ string, err error) {
			secret, err = l.client.Secret(ctx, l.env)
			return "", publicError(err)
		}})
	}
	if len(l.kept) > 0 {
		steps = append(steps, step{name: stepRemount, run: l.remount})
	}
	for _, planned := range l.plan.Steps {
		run := l.action(planned, &secret)
		if run == nil {
			delete(titles, planned.ID)
			continue
		}
		s := step{name: planned.Title, run: run}
		for _, need := range planned.Needs {
			if title, ok := titles[need]; ok {
				s.needs = append(s.needs, title)
			}
		}
		if planned.ID == plan.StepCreate && len(l.env) > 0 {
			s.needs = append(s.needs, stepSecrets)
		}
		if planned.ID == plan.StepCreate && len(l.kept) > 0 {
			s.needs = append(s.needs, stepRemount)
		}
		steps = append(steps, s)
	}
	return steps
}

type action = func(ctx context.Context, log func(line string)) (remark string, err error)

// action is what a step of the plan does; nil when a snapshot has it already,
// and for the downloader's image, which the first model that is not cached builds.
func (l *launch) action(planned plan.Step, secret *modalclient.Secret) action {
	id := planned.ID
	switch id {
	case plan.StepImage:
		return l.buildImage
	case plan.StepCreate:
		return func(ctx context.Context, log func(string)) (string, error) { return l.create(ctx, log, *secret) }
	case plan.StepFiles:
		if l.copiesFiles() {
			return l.copyFiles
		}
	case plan.StepDocker:
		return l.startDocker
	case plan.StepJupyter:
		return l.runJupyter
	case plan.StepVSCode:
		return l.runVSCode
	}
	for i := range l.plan.Volumes {
		if id == plan.StepModel(i) {
			return func(ctx context.Context, log func(string)) (string, error) {
				return l.downloadModel(ctx, planned.Title, log, i)
			}
		}
	}
	for i := range l.plan.Repos {
		switch {
		case id == plan.StepContainer(i):
			return func(ctx context.Context, log func(string)) (string, error) { return l.startContainer(ctx, log, i) }
		case l.from != nil: // it has the rest
		case id == plan.StepClone(i):
			return func(ctx context.Context, _ func(string)) (string, error) { return l.clone(ctx, i) }
		case id == plan.StepInstall(i):
			return func(ctx context.Context, log func(string)) (string, error) { return l.install(ctx, log, i) }
		}
	}
	return nil
}

// buildImage finds the app and the image. What the server said at an earlier
// Start of this program is not asked again, unless it turns out to hold no more.
func (l *launch) buildImage(ctx context.Context, log func(string)) (string, error) {
	remark, err := l.findImage(ctx, log)
	if l.outdated(err) {
		remark, err = l.findImage(ctx, log)
	}
	return remark, err
}

// outdated reports whether an error may come from what was recalled. Whatever
// the error is, nothing is recalled from then on.
func (l *launch) outdated(err error) bool {
	if err == nil || !l.recalled {
		return false
	}
	l.recalled = false
	l.client.Forget()
	return errors.Is(err, modalclient.ErrNotFound) || errors.Is(err, modalclient.ErrState)
}

func (l *launch) findImage(ctx context.Context, log func(string)) (string, error) {
	app, known := l.client.KnownApp(l.opts.appName)
	if !known {
		var err error
		if app, err = l.client.App(ctx, l.opts.appName, true); err != nil {
			return "", publicError(err)
		}
	}
	l.app, l.recalled = app, known
	if l.from != nil {
		l.image = l.from.ImageID
		return "from snapshot", nil
	}
	layers := wireLayers(l.plan.Layers)
	if image, known := l.client.KnownImage(l.plan.Base, layers); known {
		l.image, l.recalled = image, true
		return "cached", nil
	}
	built := false
	lines := &lineWriter{emit: log}
	var err error
	l.image, err = l.images.build(ctx, l.plan.Base, layers, func(ctx context.Context) (string, error) {
		return l.client.BuildImage(ctx, app, l.plan.Base, layers, func(_ int, text string) {
			built = true
			_, _ = lines.Write([]byte(text))
		})
	})
	lines.flush()
	if err != nil {
		return "", buildError(err, l.plan.Base, l.plan.Layers)
	}
	if built {
		return "", nil
	}
	return "cached", nil
}

func wireLayers(planned []plan.Layer) []modalclient.Layer {
	layers := make([]modalclient.Layer, len(planned))
	for i, layer := range planned {
		layers[i] = modalclient.Layer{Commands: layer.Commands}
	}
	return layers
}

func buildError(err error, base string, layers []plan.Layer) error {
	var failed *modalclient.BuildError
	if !errors.As(err, &failed) {
		return publicError(err)
	}
	title := "base " + base
	if failed.Layer < len(layers) {
		title = layers[failed.Layer].Title
	}
	return &BuildError{Layer: title, Log: failed.Log, Err: publicError(failed.Cause)}
}

func (l *launch) create(ctx context.Context, log func(string), secret modalclient.Secret) (string, error) {
	p := l.plan
	volumes, err := l.mounts(ctx)
	if err != nil {
		return "", err
	}
	lease := p.Lease
	if l.client.KeepsLeases() {
		lease = 0 // of the watchdog's
	}
	command, err := watchdogCommand(lease, l.daemonsOfStart())
	if err != nil {
		return "", err
	}
	spec := modalclient.CreateSpec{
		Image:          l.image,
		Command:        command,
		Timeout:        p.Timeout,
		IdleTimeout:    p.Idle,
		GPU:            gpuOnWire(p.GPU, p.GPUCount),
		CPU:            p.CPU,
		MemoryMiB:      p.MemoryMiB,
		Volumes:        volumes,
		BlockNetwork:   p.Blocked,
		CIDRAllowlist:  p.CIDRs,
		Regions:        p.Regions,
		DockerInDocker: p.Docker,
		Kept:           true,
		Lease:          p.Lease,
	}
	if secret.ID != "" {
		spec.Secrets = []modalclient.Secret{secret}
	}
	for _, port := range p.Ports {
		spec.EncryptedPorts = append(spec.EncryptedPorts, port.Number)
	}
	ends := time.Now().Add(p.Timeout) // at the earliest
	remote, err := l.client.Create(ctx, l.app, spec)
	if l.outdated(err) {
		if _, err := l.buildImage(ctx, log); err != nil {
			return "", err
		}
		spec.Image = l.image
		remote, err = l.client.Create(ctx, l.app, spec)
	}
	if err != nil {
		return "", l.createError(err)
	}
	l.mu.Lock()
	l.remote, l.ends = remote, ends
	l.mu.Unlock()
	l.keepRecord(ctx)

	tagged := make(chan error, 1)
	go func() { tagged <- l.tag(ctx) }()
	err = remote.Ready(ctx, modalclient.Queue{Limit: l.opts.queue, For: p.GPU})
	if tagErr := <-tagged; err == nil {
		err = tagErr
	}
	if err != nil {
		return "", publicError(err)
	}
	return remote.ID(), nil
}

// tag marks the sandbox while it waits to be scheduled.
func (l *launch) tag(ctx context.Context) error {
	return l.remote.SetTags(ctx, fleetTags(l.config, l.plan.Lease))
}

// createError adds to a refused GPU the name that was probably meant.
func (l *launch) createError(err error) error {
	if l.plan.GPU != "" && errors.Is(err, modalclient.ErrInvalid) && strings.Contains(strings.ToLower(err.Error()), "gpu") {
		if near := nearestGPU(l.plan.GPU); near != "" && near != l.plan.GPU {
			return fmt.Errorf("%w; did you mean %q?", publicError(err), near)
		}
	}
	return publicError(err)
}

func gpuOnWire(gpu string, count int) string {
	if gpu == "" || count <= 1 {
		return gpu
	}
	return fmt.Sprintf("%s:%d", gpu, count)
}

//go:embed scripts/clone.sh
var cloneScript string

const cloneTimeout = 15 * time.Minute

var gitCommit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func (l *launch) clone(ctx context.Context, i int) (string, error) {
	repo, planned := l.config.Repos[i], l.plan.Repos[i]
	ctx, cancel := context.WithTimeout(ctx, cloneTimeout)
	defer cancel()
	cmd := l.command("bash", "-c", cloneScript, "clone", planned.URL, planned.Branch, planned.Commit, planned.Target)
	if repo.TokenEnv != "" {
		token, _ := l.lookup(repo.TokenEnv) // validate has found it
		cmd.Env = gitCredentials(planned.URL, token)
	}
	out, err := cmd.Output(ctx)
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(out))
	if !gitCommit.MatchString(commit) { // what runs there is not this program's to vouch for
		return "", nil
	}
	l.mu.Lock()
	l.repos[i].Commit = commit
	l.mu.Unlock()
	l.keepRecord(ctx)
	return "at " + commit[:12], nil
}

// copiesFiles reports whether files of this machine go into the sandbox. What
// a snapshot has of them stays as it is unless the caller says otherwise.
func (s *Sandbox) copiesFiles() bool { return s.from == nil || s.opts.refresh }

// copyFiles sends all files and directories as one stream.
func (l *launch) copyFiles(ctx context.Context, _ func(string)) (string, error) {
	return "", l.upload(ctx, l.remote, slices.Concat(l.config.LocalFiles, l.config.LocalDirs))
}

func (l *launch) install(ctx context.Context, log func(string), i int) (string, error) {
	repo, planned := l.config.Repos[i], l.plan.Repos[i]
	timeout := repo.InstallTimeout
	setDefault(&timeout, defaultInstallTimeout)
	installCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	lines := &lineWriter{emit: log}
	cmd := l.command("bash", "-c", repo.Install)
	cmd.Dir = planned.Target
	cmd.Stdout, cmd.Stderr = lines, lines
	err := cmd.Run(installCtx)
	lines.flush()
	if err != nil && repo.InstallOptional && ctx.Err() == nil {
		l.opts.logger.WarnContext(ctx, "install of a repository failed, which its config allows", "repo", planned.Name, "error", err)
		return "failed, but optional", nil
	}
	return "", err
}

// command is Sandbox.Command for a sandbox that is still starting.
func (l *launch) command(name string, args ...string) *Cmd {
	cmd := l.Command(name, args...)
	cmd.remote = l.remote
	return cmd
}
