package modalclient

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modal-labs/libmodal/modal-go"
)

const (
	createGrace = 5 * time.Second  // for a create under way when its caller gives up
	cleanUpFor  = 30 * time.Second // for ending a sandbox that nobody will use
)

// CreateSpec describes a sandbox.
type CreateSpec struct {
	// Name is unique among the running sandboxes of an app: Create returns
	// ErrExists while another one has it. Where the answer to a create is lost,
	// the sandbox of that name is ended, whoever made it. "" = one made up.
	Name string

	Image   string   // ID
	Command []string // must stay alive: the sandbox ends with it. Required, as an image's own command need not
	Secrets []Secret

	Timeout     time.Duration // 0 = Modal's 5 minutes; rounded up to whole seconds
	IdleTimeout time.Duration // 0 = none; rounded up to whole seconds
	Workdir     string        // "" = the image's

	GPU       string  // "A100", "A100:2"; "" = none
	CPU       float64 // cores; 0 = the server's default
	MemoryMiB int     // 0 = the server's default

	Volumes []Mount

	EncryptedPorts []int // reached through Tunnels
	BlockNetwork   bool
	CIDRAllowlist  []string // nil = everything; empty = nothing
	Regions        []string // nil = any

	// Kept: where the server KeepsLeases, the sandbox outlives its command and
	// ends with its Lease.
	Kept  bool
	Lease time.Duration // in whole seconds; 0 = none

	DockerInDocker bool
	Verbose        bool
	Tags           map[string]string
}

// Mount places a volume in a sandbox.
type Mount struct {
	Volume   Volume
	Path     string // absolute
	ReadOnly bool
}

// Create asks for a sandbox and returns once the server has accepted it; Ready
// waits until it runs. Whatever goes wrong, ctx's end included, no sandbox is
// left behind that the caller does not know of.
func (c *Client) Create(ctx context.Context, app App, spec CreateSpec) (*Sandbox, error) {
	const op = "create sandbox"
	if len(spec.Command) == 0 {
		return nil, &Error{Op: op, Kind: ErrInvalid, Message: "no command to keep it alive"}
	}
	name := cmp.Or(spec.Name, "seer-"+strings.ToLower(rand.Text()))
	rpcCtx, cancel := context.WithCancel(withCaller(context.WithoutCancel(ctx), ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(createGrace, cancel) })()

	id, err := c.createNamed(rpcCtx, app, name, spec)
	if err != nil {
		var left error
		var clash modal.AlreadyExistsError
		taken := spec.Name != "" && errors.As(err, &clash) // a name made up clashes with nothing but itself
		if !taken && !refused(err) {
			// The answer is lost, not necessarily the sandbox.
			left = c.terminateNamed(ctx, app, name)
		}
		return nil, errors.Join(failure(ctx, op, err), left)
	}
	sandbox := c.sandbox(id)
	if err = context.Cause(ctx); err == nil && len(spec.Tags) > 0 {
		if err = sandbox.SetTags(ctx, spec.Tags); err == nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		cleanUp, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpFor)
		defer cancel()
		return nil, fmt.Errorf("%s: %w", op, errors.Join(err, sandbox.Terminate(cleanUp)))
	}
	return sandbox, nil
}

func (c *Client) createNamed(ctx context.Context, app App, name string, spec CreateSpec) (string, error) {
	params := &modal.SandboxCreateParams{
		Name:           name,
		Command:        spec.Command,
		Timeout:        wholeSeconds(spec.Timeout),
		IdleTimeout:    wholeSeconds(spec.IdleTimeout),
		Workdir:        spec.Workdir,
		GPU:            spec.GPU,
		CPU:            spec.CPU,
		MemoryMiB:      spec.MemoryMiB,
		Volumes:        make(map[string]*modal.Volume, len(spec.Volumes)),
		EncryptedPorts: spec.EncryptedPorts,
		BlockNetwork:   spec.BlockNetwork,
		CIDRAllowlist:  spec.CIDRAllowlist,
		Regions:        spec.Regions,
		Verbose:        spec.Verbose,
	}
	for _, secret := range spec.Secrets {
		params.Secrets = append(params.Secrets, &modal.Secret{SecretID: secret.ID})
	}
	for _, mount := range spec.Volumes {
		volume := &modal.Volume{VolumeID: mount.Volume.ID, Name: mount.Volume.Name}
		if mount.ReadOnly {
			volume = volume.ReadOnly()
		}
		params.Volumes[mount.Path] = volume
	}
	if spec.DockerInDocker {
		params.ExperimentalOptions = map[string]any{"enable_docker": true}
	}
	if spec.CIDRAllowlist != nil && len(spec.CIDRAllowlist) == 0 {
		ctx = context.WithValue(ctx, allowNothing{}, true)
	}
	if spec.Kept && c.KeepsLeases() {
		ctx = withLease(ctx, spec.Lease)
	}
	sandbox, err := c.modal.Sandboxes.Create(ctx, &modal.App{AppID: app.ID, Name: app.Name}, &modal.Image{ImageID: spec.Image}, params)
	if err != nil {
		return "", err
	}
	return sandbox.SandboxID, nil
}

// refused reports whether a failed create certainly made no sandbox: the
// server said no, or the request never left.
func refused(err error) bool {
	var waited *waitedError
	if errors.As(err, &waited) {
		return waited.refused
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var clash modal.AlreadyExistsError
	return !transient(err) && !errors.As(err, &clash)
}

// terminateNamed ends the sandbox of that name, if there is one.
func (c *Client) terminateNamed(ctx context.Context, app App, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpFor)
	defer cancel()
	sandbox, err := c.SandboxByName(ctx, app, name)
	if err != nil {
		return ignoreNotFound(err)
	}
	return sandbox.Terminate(ctx)
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1) / time.Second * time.Second
}
