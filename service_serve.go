package seer

import (
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/plainfile"
	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// ServeOptions adjusts [ScopedSandbox.Serve].
type ServeOptions struct {
	// Name is what agents import: a Python identifier of at most 64 ASCII
	// characters. "" = the interface file's name without ".py".
	Name string
	// Workspace holds helper libraries that the interface file imports, and
	// files that it reads. It takes no CustomInitCode: the interface file is
	// that.
	Workspace *Workspace
	// Timeout bounds each call. 0 = the config's RPCTimeout.
	Timeout time.Duration
	// Tracebacks tells callers the traceback of a call that raised. Otherwise
	// it is in the service's log alone.
	Tracebacks bool
	// Arrays sends numpy arrays and torch tensors to callers of the Library as
	// arrays, in binary. Otherwise everybody gets lists.
	Arrays bool
}

const maxServiceName = 64

// Serve runs a Python file in the sandbox and lets others call the functions
// that it marks with @expose. It returns once the file is loaded, models and
// all; what the file prints meanwhile goes to [WithProgress]. A file that
// cannot be served is a *[ServeError] with Python's traceback.
//
// Several services run side by side. Serving a name again replaces its file:
// calls that run may finish, new calls go to the new file once it is loaded,
// and should that fail the old one stays. Clients of the old file call the new
// one. Until then both files are in memory, with what they loaded.
func (s *ScopedSandbox) Serve(ctx context.Context, interfaceFile string, opts *ServeOptions) (*Service, error) {
	var o ServeOptions
	if opts != nil {
		o = *opts
	}
	if o.Name == "" {
		o.Name = strings.TrimSuffix(filepath.Base(interfaceFile), ".py")
	}
	setDefault(&o.Timeout, s.config.withDefaults().RPCTimeout)
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("serve %s: %w", interfaceFile, err)
	}
	source, err := plainfile.Read(ctx, interfaceFile)
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	spec := rpc.Spec{
		Name: o.Name, Filename: interfaceFile, Source: string(source), Dir: sandboxWorkspace,
		Env: o.Workspace.environ(), Models: s.modelTable(), Timeout: o.Timeout, Tracebacks: o.Tracebacks, Arrays: o.Arrays,
	}
	step := "serve " + o.Name
	began := time.Now()
	s.events.report(Event{Kind: EventStarted, Step: step, Time: began})
	service, err := s.serve(ctx, spec, o.Workspace, func(line string) { s.events.output(step, line) })
	if err != nil {
		s.events.report(Event{Kind: EventFailed, Step: step, Err: err, Elapsed: time.Since(began)})
		return nil, err
	}
	s.events.report(Event{Kind: EventDone, Step: step, Elapsed: time.Since(began)})
	service.timeout = o.Timeout
	return service, nil
}

func (s *ScopedSandbox) serve(ctx context.Context, spec rpc.Spec, workspace *Workspace, log func(string)) (*Service, error) {
	server, err := s.functions(ctx)
	if err != nil {
		return nil, err
	}
	if workspace != nil {
		place := servicePlace{sandboxPlace{s.Sandbox}, path.Join("/opt/seer/services", spec.Name, rand.Text())}
		if err := workspace.apply(ctx, place); err != nil {
			return nil, fmt.Errorf("serve %s: %w", spec.Filename, err)
		}
		spec.PythonPath = []string{place.dir}
	}
	spec.Token = server.serviceToken(spec.Name)
	description, err := server.control().Load(ctx, spec, log)
	if err != nil {
		return nil, s.serviceError("serve "+spec.Filename, err)
	}
	return newService(s, server, description)
}

func (o ServeOptions) validate() error {
	v := validator{}
	if !variableName.MatchString(o.Name) || pythonKeyword(o.Name) || len(o.Name) > maxServiceName {
		v.problem("Name", quoted(o.Name), "write a name that Python can import, of at most %d letters, digits and underscores, no digit first", maxServiceName)
	}
	if o.Timeout < 0 {
		v.problem("Timeout", o.Timeout.String(), "write how long a call may take; 0 means the config's RPCTimeout")
	}
	if o.Workspace.initCode() != "" {
		v.problem("Workspace.CustomInitCode", "", "put it into the interface file, which runs once")
	}
	if len(v.problems) > 0 {
		return &ConfigError{Problems: v.problems}
	}
	return nil
}

// servicePlace keeps the libraries of one Serve from those of others.
type servicePlace struct {
	sandboxPlace
	dir string
}

func (p servicePlace) libraries() string { return p.dir }

func (p servicePlace) publish(ctx context.Context, names []string) error {
	cmd := p.sandbox.Command("python", append([]string{"-c", publishScript, p.dir, "here"}, names...)...)
	cmd.Env = []string{"PYTHONPATH=" + p.dir}
	_, err := cmd.Output(ctx)
	return err
}
