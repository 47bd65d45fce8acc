package modalserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/dockerfile"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// layer is what a build is to make, checked as far as that is possible without
// the image below.
type layer struct {
	key          string
	from         string
	instructions []dockerfile.Instruction // FROM left out
	bases        map[string]string        // image IDs by the names that instructions use
	secretEnv    []string                 // for the steps of this layer alone
	buildArgs    map[string]string
	registry     runtime.PullOptions
	files        []contextFile // what COPY can name
}

// planLayer reads a request, and refuses what the server cannot do before
// anything is built.
func (s *Server) planLayer(r *pb.ImageGetOrCreateRequest) (*layer, error) {
	image := r.GetImage()
	if err := s.checkGPU(image.GetGpuConfig()); err != nil {
		return nil, err
	}
	if image.HasBuildFunction() || image.GetBuildFunctionDef() != "" {
		return nil, status.Error(codes.Unimplemented, "ImageGetOrCreate: build functions not implemented")
	}
	instructions, err := dockerfile.Parse(strings.Join(image.GetDockerfileCommands(), "\n"))
	if err != nil {
		return nil, invalid("dockerfile commands: %v", err)
	}
	l := &layer{bases: map[string]string{}, buildArgs: image.GetBuildArgs()}
	for _, base := range image.GetBaseImages() {
		l.bases[base.GetDockerTag()] = base.GetImageId()
	}
	if err := l.take(instructions); err != nil {
		return nil, err
	}
	if l.secretEnv, err = s.environ(image.GetSecretIds()); err != nil {
		return nil, err
	}
	if l.registry, err = s.registryOptions(image.GetImageRegistryConfig()); err != nil {
		return nil, err
	}
	if l.files, err = s.contextOf(image); err != nil {
		return nil, err
	}
	l.key, err = layerKey(baseRecipe, l.from, l.instructions, l.bases, r.GetBuilderVersion(), envNames(l.secretEnv),
		l.buildArgs, image.GetImageRegistryConfig().GetRegistryAuthType(), digestOf(l.files))
	return l, err
}

// baseRecipe grows when runtimes make something else of the same base, so that
// stores do not go on with what they built before.
const baseRecipe = 2

// take sorts out the instructions.
func (l *layer) take(instructions []dockerfile.Instruction) error {
	args := maps.Clone(l.buildArgs)
	for _, i := range instructions {
		if err := checkInstruction(i); err != nil {
			return err
		}
		switch {
		case i.Name == "FROM" && l.from != "":
			return invalid("FROM: more than one stage is not implemented by this server")
		case i.Name == "FROM":
			l.from = dockerfile.Expand(i.Args, func(name string) string { return args[name] })
		case l.from == "" && i.Name == "ARG":
			name, value, _ := strings.Cut(i.Args, "=")
			if _, given := args[name]; !given {
				if args == nil {
					args = map[string]string{}
				}
				args[name] = value
			}
		case l.from == "":
			return invalid("%s: comes before FROM", i.Name)
		default:
			l.instructions = append(l.instructions, i)
		}
	}
	if l.from == "" {
		return invalid("dockerfile commands have no FROM")
	}
	return nil
}

func checkInstruction(i dockerfile.Instruction) error {
	switch i.Name {
	case "FROM":
		if len(strings.Fields(i.Args)) != 1 {
			return invalid("FROM: one image is needed, and nothing else: %q", i.Args)
		}
	case "RUN":
		if strings.HasPrefix(i.Args, "<<") {
			return invalid("RUN: here-documents are not implemented by this server")
		}
	case "COPY":
		flags := maps.Clone(i.Flags)
		delete(flags, "from")
		return checkNoFlags(i.Name, flags)
	case "ENV", "WORKDIR", "CMD", "ENTRYPOINT", "SHELL", "USER", "ARG", "LABEL", "EXPOSE":
	default:
		return invalid("%s: instruction is not implemented by this server", i.Name)
	}
	if i.Name == "SHELL" && i.Exec == nil {
		return invalid("SHELL: needs a JSON array")
	}
	return checkNoFlags(i.Name, i.Flags)
}

func checkNoFlags(instruction string, flags map[string]string) error {
	if len(flags) == 0 {
		return nil
	}
	return invalid("%s: option --%s is not implemented by this server", instruction, slices.Sorted(maps.Keys(flags))[0])
}

func envNames(env []string) []string {
	names := make([]string, len(env))
	for i, entry := range env {
		names[i], _, _ = strings.Cut(entry, "=")
	}
	return names
}

// registryOptions reads the credentials of a private registry.
func (s *Server) registryOptions(config *pb.ImageRegistryConfig) (runtime.PullOptions, error) {
	switch kind := config.GetRegistryAuthType(); kind {
	case pb.RegistryAuthType_REGISTRY_AUTH_TYPE_UNSPECIFIED, pb.RegistryAuthType_REGISTRY_AUTH_TYPE_PUBLIC:
		return runtime.PullOptions{}, nil
	case pb.RegistryAuthType_REGISTRY_AUTH_TYPE_STATIC_CREDS:
		secret, err := s.findSecret(config.GetSecretId())
		if err != nil {
			return runtime.PullOptions{}, err
		}
		return runtime.PullOptions{Username: secret.Values["REGISTRY_USERNAME"], Password: secret.Values["REGISTRY_PASSWORD"]}, nil
	default:
		return runtime.PullOptions{}, status.Errorf(codes.Unimplemented, "ImageGetOrCreate: %s not implemented", kind)
	}
}

// makeLayer builds a layer.
func (s *Server) makeLayer(ctx context.Context, log io.Writer, l *layer) (runtime.Image, error) {
	base, err := s.baseImage(ctx, log, l, l.from)
	if err != nil {
		return runtime.Image{}, fmt.Errorf("FROM %s: %s", l.from, status.Convert(err).Message())
	}
	if len(l.instructions) == 0 {
		return base, nil
	}
	local, err := unpack(s.spoolDir, l.files)
	if err != nil {
		return runtime.Image{}, fmt.Errorf("unpack local files: %w", err)
	}
	defer func() {
		if err := os.RemoveAll(local); err != nil {
			s.log.WarnContext(ctx, "build context left behind", "error", err)
		}
	}()
	st := &stager{server: s, layer: l, log: log, base: base.ID, local: os.DirFS(local)}
	stages, err := st.run(ctx, base.Config)
	var image runtime.Image
	if err == nil {
		image, err = s.buildStages(ctx, log, base, stages)
	}
	return image, errors.Join(err, st.close())
}

func (s *Server) buildStages(ctx context.Context, log io.Writer, image runtime.Image, stages []*stage) (runtime.Image, error) {
	for n, stage := range stages {
		below := image
		var err error
		image, err = s.runtime.Build(ctx, runtime.BuildSpec{
			Base:    below.ID,
			Steps:   stage.steps,
			Config:  stage.config,
			Env:     stage.env,
			Network: runtime.Network{Private: true},
			Log:     log,
		})
		if n > 0 { // nobody else has seen the image between two stages
			err = errors.Join(stage.explain(err), s.runtime.RemoveImage(ctx, below.ID))
		} else {
			err = stage.explain(err)
		}
		if err != nil {
			return runtime.Image{}, err
		}
	}
	return image, nil
}

// baseImage finds the image that an instruction names: one of the request's
// own, one by ID, or one of a registry.
func (s *Server) baseImage(ctx context.Context, log io.Writer, l *layer, name string) (runtime.Image, error) {
	if id, ok := l.bases[name]; ok {
		return s.runtimeImage(ctx, id)
	}
	if strings.HasPrefix(name, "im-") {
		return s.runtimeImage(ctx, name)
	}
	options := l.registry
	options.Log = log
	return s.runtime.Pull(ctx, name, options)
}

// stage is a run of instructions under the same settings: the runtime builds it in one go.
type stage struct {
	steps   []runtime.Step
	sources []dockerfile.Instruction // of the steps
	config  runtime.ImageConfig
	env     []string // for the steps alone
}

// explain names the instruction that failed.
func (st *stage) explain(err error) error {
	var failed *runtime.StepError
	if errors.As(err, &failed) && failed.Step < len(st.sources) {
		return fmt.Errorf("%s: %s", st.sources[failed.Step], failed.Status)
	}
	return err
}

// stager works through the instructions of a layer.
type stager struct {
	server *Server
	layer  *layer
	log    io.Writer
	base   string          // runtime ID of the image below
	local  fs.FS           // what COPY can name
	viewer runtime.Sandbox // shows the files of other images; nil = not needed yet
	viewed int             // how many of them
	args   []string        // "NAME=value" of ARG
	stages []*stage
}

// run splits the layer where a setting changes that its later steps depend on.
func (st *stager) run(ctx context.Context, config runtime.ImageConfig) ([]*stage, error) {
	st.stages = []*stage{{config: config, env: st.layer.secretEnv}}
	for _, i := range st.layer.instructions {
		if err := st.apply(ctx, i); err != nil {
			return nil, err
		}
	}
	return st.stages, nil
}

func (st *stager) current() *stage { return st.stages[len(st.stages)-1] }

// changed returns the stage for steps under new settings.
func (st *stager) changed() *stage {
	now := st.current()
	if len(now.steps) == 0 {
		return now
	}
	next := &stage{config: now.config, env: now.env}
	st.stages = append(st.stages, next)
	return next
}

func (st *stager) step(i dockerfile.Instruction, step runtime.Step) {
	now := st.current()
	now.steps = append(now.steps, step)
	now.sources = append(now.sources, i)
}

func (st *stager) apply(ctx context.Context, i dockerfile.Instruction) error {
	switch i.Name {
	case "RUN":
		st.step(i, runtime.Step{Run: st.command(i)})
	case "COPY":
		return st.copyFiles(ctx, i)
	case "ENV":
		pairs, err := dockerfile.Pairs(i.Args)
		if err != nil {
			return err
		}
		stage := st.changed()
		for _, pair := range pairs {
			stage.config.Env = append(slices.Clone(stage.config.Env), pair.Name+"="+st.expand(pair.Value))
		}
	case "ARG":
		name, value, _ := strings.Cut(i.Args, "=")
		if given, ok := st.layer.buildArgs[name]; ok {
			value = given
		}
		entry := name + "=" + st.expand(value)
		stage := st.changed()
		stage.env = append(slices.Clone(stage.env), entry)
		st.args = append(st.args, entry)
	case "WORKDIR":
		dir := st.absolute(st.expand(i.Args))
		st.step(i, runtime.Step{Copy: &runtime.Copy{Source: emptyDir{}, Target: dir}})
		st.changed().config.Workdir = dir
	case "USER":
		st.changed().config.User = st.expand(i.Args)
	case "SHELL":
		st.changed().config.Shell = i.Exec
	case "CMD":
		st.current().config.Cmd = st.command(i)
	case "ENTRYPOINT":
		stage := st.current()
		stage.config.Entrypoint, stage.config.Cmd = st.command(i), nil
	}
	return nil // LABEL and EXPOSE change nothing that a sandbox sees
}

// command is an instruction's argv: its exec form, or its text for the shell.
func (st *stager) command(i dockerfile.Instruction) []string {
	if i.Exec != nil {
		return i.Exec
	}
	shell := st.current().config.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), i.Args)
}

// absolute resolves a path against the current working directory.
func (st *stager) absolute(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join("/", st.current().config.Workdir, p)
}

func (st *stager) expand(text string) string {
	return dockerfile.Expand(text, func(name string) string {
		for _, env := range [][]string{st.current().config.Env, st.args} {
			for _, entry := range slices.Backward(env) {
				if n, value, _ := strings.Cut(entry, "="); n == name {
					return value
				}
			}
		}
		return ""
	})
}
