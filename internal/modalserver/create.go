package modalserver

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/newer"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const (
	defaultTimeout = 300          // seconds
	maxTimeout     = 24 * 60 * 60 // seconds
	dockerOption   = "enable_docker"
)

// stayAlive is the command of a sandbox that was given none and whose image has none.
var stayAlive = [...]string{"sleep", "infinity"}

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// SandboxCreate starts a sandbox and answers once its command runs.
func (s *Server) SandboxCreate(ctx context.Context, r *pb.SandboxCreateRequest) (*pb.SandboxCreateResponse, error) {
	since := &newer.SandboxCreateFields{}
	if err := fieldsSince(r, since); err != nil {
		return nil, err
	}
	sb, err := s.create(ctx, creation{appID: r.GetAppId(), definition: r.GetDefinition(), tags: since.GetTags()})
	if err != nil {
		return nil, err
	}
	return pb.SandboxCreateResponse_builder{SandboxId: sb.id}.Build(), nil
}

// creation is a sandbox as it was asked for.
type creation struct {
	appID      string
	definition *pb.Sandbox
	env        []map[string]string // on top of the definition's secrets
	tags       []*newer.SandboxTag
}

func (s *Server) create(ctx context.Context, c creation) (*sandbox, error) {
	if c.definition == nil {
		return nil, invalid("create sandbox: no definition")
	}
	definition := proto.CloneOf(c.definition)
	app, err := load[named](s.names, kindAppID, c.appID)
	if err != nil {
		return nil, failure("find app "+c.appID, err)
	}
	since := &newer.SandboxFields{}
	if err := fieldsSince(definition, since); err != nil {
		return nil, err
	}
	tags, err := tagMap(c.tags)
	if err != nil {
		return nil, err
	}
	if definition.GetTimeoutSecs() == 0 {
		definition.SetTimeoutSecs(defaultTimeout)
	}
	if err := s.checkDefinition(definition); err != nil {
		return nil, err
	}
	if err := checkSince(definition, since); err != nil {
		return nil, err
	}
	if err := s.checkProxy(definition.GetProxyId()); err != nil {
		return nil, err
	}
	spec, err := s.specify(ctx, definition, append([]map[string]string{since.GetEnvironmentVariables().GetContents()}, c.env...))
	if err != nil {
		return nil, err
	}
	var mounted []contextFile
	for _, id := range definition.GetMountIds() {
		files, err := s.mounts.files(id)
		if err != nil {
			return nil, err
		}
		mounted = append(mounted, files...)
	}
	if len(mounted) > 0 {
		spec.Prepare = func(ctx context.Context, inside runtime.Files) error { return place(ctx, inside, mounted) }
	}
	if on, err := strconv.ParseBool(since.GetExperimentalOptionsV2()[dockerOption]); err == nil && on {
		spec.Docker = true
	}
	lease, err := requestedLease(ctx)
	if err != nil {
		return nil, err
	}
	spec.Stays = lease != nil
	outputs := newPool(s.spoolDir, s.outputs)
	sb := &sandbox{
		id:          spec.ID,
		taskID:      newID("ta-"),
		appID:       app.ID,
		environment: app.Environment,
		definition:  definition,
		tags:        tags,
		lease:       lease,
		workdir:     spec.Workdir,
		pool:        outputs,
		stdout:      newSpool(outputs, true),
		stderr:      newSpool(outputs, true),
		files:       newFileBook(),
		done:        make(chan struct{}),
		active:      time.Now(),
		execs:       map[string]*exec{},
	}
	if err := s.reserve(sb); err != nil {
		return nil, err
	}
	if err := s.start(ctx, sb, spec); err != nil {
		s.forget(sb)
		return nil, err
	}
	s.log.InfoContext(ctx, "sandbox started", "sandbox", sb.id, "app", app.Name, "name", definition.GetName())
	return sb, nil
}

// start runs the sandbox; until then it is known to nobody but its name.
func (s *Server) start(ctx context.Context, sb *sandbox, spec runtime.Spec) error {
	tunnels, err := s.openTunnels(sb)
	if err != nil {
		return err
	}
	run, err := s.runtime.Start(ctx, spec)
	if err != nil {
		closeTunnels(tunnels)
		if errors.Is(err, runtime.ErrNotFound) {
			return status.Errorf(codes.NotFound, "start sandbox: %v", err)
		}
		return sb.answer("start sandbox", err)
	}
	for _, warning := range run.Warnings() {
		s.log.WarnContext(ctx, "sandbox runs without a promise kept", "sandbox", sb.id, "warning", warning)
	}
	sb.run, sb.tunnels = run, tunnels
	main := run.Main()
	sb.stdin = newStdin(main.Stdin())
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.abandon(sb)
		return errClosing()
	}
	defer s.mu.Unlock()
	s.sandboxes[sb.id], s.tasks[sb.taskID] = sb, sb
	for _, work := range []func(){
		sb.stdin.pump,
		func() { sb.stdout.fill(main.Stdout()) },
		func() { sb.stderr.fill(main.Stderr()) },
		func() { sb.watch(s) },
	} {
		s.work.Go(work)
	}
	for _, t := range tunnels {
		s.work.Go(func() { t.serve(run) })
	}
	return nil
}

// abandon ends a sandbox that nobody has heard of yet.
func (s *Server) abandon(sb *sandbox) {
	closeTunnels(sb.tunnels)
	if err := sb.run.Terminate(context.Background()); err != nil {
		s.log.WarnContext(s.ctx, "sandbox left something behind", "sandbox", sb.id, "error", err)
	}
}

func (s *Server) checkDefinition(d *pb.Sandbox) error {
	if name := d.GetName(); name != "" {
		if err := checkName("sandbox", name); err != nil {
			return err
		}
	}
	if d.GetTimeoutSecs() > maxTimeout {
		return invalid("timeout of %d seconds is over the limit of %d (24 hours)", d.GetTimeoutSecs(), maxTimeout)
	}
	if dir := d.GetWorkdir(); dir != "" && !path.IsAbs(dir) {
		return invalid("workdir must be an absolute path, not %q", dir)
	}
	if err := s.checkGPU(d.GetResources().GetGpuConfig()); err != nil {
		return err
	}
	if err := checkPlacement(d); err != nil {
		return err
	}
	blocked := d.GetBlockNetwork() || d.GetNetworkAccess().GetNetworkAccessType() == pb.NetworkAccess_BLOCKED
	if blocked && len(d.GetOpenPorts().GetPorts()) > 0 {
		return invalid("open ports cannot be used when the network is blocked")
	}
	for _, port := range d.GetOpenPorts().GetPorts() {
		if port.GetPort() == 0 || port.GetPort() > 65535 {
			return invalid("port %d is not between 1 and 65535", port.GetPort())
		}
	}
	return checkUnsupported(d)
}

// checkGPU refuses GPUs, but for a runtime that only plays commands.
func (s *Server) checkGPU(gpu *pb.GPUConfig) error {
	if s.playGPUs || gpu.GetCount() == 0 && gpu.GetGpuType() == "" {
		return nil
	}
	return status.Errorf(codes.FailedPrecondition, "no GPU on this host: %s was asked for, and this server runs sandboxes without any", gpu.GetGpuType())
}

// checkPlacement refuses clouds and regions that do not exist anywhere. Where
// one does, it makes no difference here.
func checkPlacement(d *pb.Sandbox) error {
	clouds := []string{"", "auto", "aws", "gcp", "oci"}
	if cloud := d.GetCloudProviderStr(); !slices.Contains(clouds, strings.ToLower(cloud)) {
		return invalid("unknown cloud provider %q", cloud)
	}
	areas := []string{"af", "ap", "asia", "au", "ca", "eu", "jp", "me", "mx", "sa", "uk", "us"}
	for _, region := range d.GetSchedulerPlacement().GetRegions() {
		if area, _, _ := strings.Cut(strings.ToLower(region), "-"); !slices.Contains(areas, area) {
			return invalid("unknown region %q", region)
		}
	}
	return nil
}

// checkUnsupported refuses what this server cannot do, rather than to leave it out silently.
func checkUnsupported(d *pb.Sandbox) error {
	var asked []string
	for _, feature := range []struct {
		name string
		on   bool
	}{
		{"cloud bucket mounts", len(d.GetCloudBucketMounts())+len(d.GetS3Mounts()) > 0},
		{"network file systems", len(d.GetNfsMounts()) > 0},
		{"memory snapshots", d.GetEnableSnapshot()},
		{"custom domains", d.GetCustomDomain() != ""},
		{"a private cluster network", d.GetI6PnEnabled()},
	} {
		if feature.on {
			asked = append(asked, feature.name)
		}
	}
	for name, on := range d.GetExperimentalOptions() {
		if on && name != dockerOption {
			asked = append(asked, "experimental option "+name)
		}
	}
	if len(asked) > 0 {
		return status.Errorf(codes.Unimplemented, "SandboxCreate: %s not implemented by this server", strings.Join(asked, ", "))
	}
	return nil
}

// checkSince refuses, as checkUnsupported, what clients can ask for since
// modal-go v0.7.0 and this server does not do or does not even know.
func checkSince(d *pb.Sandbox, since *newer.SandboxFields) error {
	for name, value := range since.GetExperimentalOptionsV2() {
		if on, err := strconv.ParseBool(value); name != dockerOption && (err != nil || on) {
			return status.Errorf(codes.Unimplemented, "SandboxCreate: experimental option %s not implemented by this server", name)
		}
	}
	parts := []proto.Message{since, d.GetNetworkAccess(), d.GetResources()}
	for _, mount := range d.GetVolumeMounts() {
		parts = append(parts, mount)
	}
	for _, part := range parts {
		if number, _, n := protowire.ConsumeTag(part.ProtoReflect().GetUnknown()); n > 0 {
			name := strings.TrimSuffix(string(part.ProtoReflect().Descriptor().Name()), "Fields")
			return status.Errorf(codes.Unimplemented, "SandboxCreate: field %d of %s not implemented by this server", number, name)
		}
	}
	return nil
}

func (s *Server) checkProxy(id string) error {
	if id == "" {
		return nil
	}
	for _, known := range s.proxies {
		if known == id {
			return nil
		}
	}
	return status.Errorf(codes.NotFound, "proxy %s not found", id)
}

// specify turns a definition into what the runtime is to start.
func (s *Server) specify(ctx context.Context, d *pb.Sandbox, further []map[string]string) (runtime.Spec, error) {
	image, err := s.runtimeImage(ctx, d.GetImageId())
	if err != nil {
		return runtime.Spec{}, err
	}
	network, err := networkOf(d)
	if err != nil {
		return runtime.Spec{}, err
	}
	network.Open = s.isTunnel
	volumes, err := s.volumeMounts(d.GetVolumeMounts())
	if err != nil {
		return runtime.Spec{}, err
	}
	env, err := s.environ(d.GetSecretIds(), further...)
	if err != nil {
		return runtime.Spec{}, err
	}
	resources := d.GetResources()
	memory := resources.GetMemoryMbMax()
	if memory == 0 {
		memory = resources.GetMemoryMb()
	}
	return runtime.Spec{
		ID:       newID("sb-"),
		Image:    image.ID,
		Command:  commandOf(image.Config, d.GetEntrypointArgs()),
		Env:      append(env, ptyEnv(d.GetPtyInfo())...),
		Workdir:  cmp.Or(d.GetWorkdir(), image.Config.Workdir),
		PTY:      ptyOf(d.GetPtyInfo()),
		Volumes:  volumes,
		Network:  network,
		CPU:      float64(resources.GetMilliCpuMax()) / 1000,
		MemoryMB: int64(memory),
		Docker:   d.GetExperimentalOptions()[dockerOption],
	}, nil
}

// commandOf puts the image's entrypoint before the command, which is the
// image's own when none is given.
func commandOf(image runtime.ImageConfig, args []string) []string {
	if len(args) == 0 {
		args = image.Cmd
	}
	if command := slices.Concat(image.Entrypoint, args); len(command) > 0 {
		return command
	}
	return slices.Clone(stayAlive[:])
}

func networkOf(d *pb.Sandbox) (runtime.Network, error) {
	access := d.GetNetworkAccess()
	network := runtime.Network{Blocked: d.GetBlockNetwork() || access.GetNetworkAccessType() == pb.NetworkAccess_BLOCKED}
	if access.GetNetworkAccessType() == pb.NetworkAccess_ALLOWLIST {
		network.Allow = []netip.Prefix{} // an empty list allows nothing
	}
	for _, cidr := range access.GetAllowedCidrs() {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return network, invalid("Invalid CIDR: %s", cidr)
		}
		network.Allow = append(network.Allow, prefix)
	}
	if network.Blocked && len(network.Allow) > 0 {
		return network, invalid("a CIDR allowlist cannot be used when the network is blocked")
	}
	return network, nil
}

func ptyOf(info *pb.PTYInfo) *runtime.PTY {
	if !info.GetEnabled() {
		return nil
	}
	return &runtime.PTY{Rows: uint16(info.GetWinszRows()), Cols: uint16(info.GetWinszCols()), Term: info.GetEnvTerm()}
}

func ptyEnv(info *pb.PTYInfo) []string {
	var env []string
	if info.GetEnabled() && info.GetEnvColorterm() != "" {
		env = append(env, "COLORTERM="+info.GetEnvColorterm())
	}
	if info.GetEnabled() && info.GetEnvTermProgram() != "" {
		env = append(env, "TERM_PROGRAM="+info.GetEnvTermProgram())
	}
	return env
}

// reserve takes the sandbox's name and gives it its time of creation, which no
// other sandbox has: clients page through lists by it.
func (s *Server) reserve(sb *sandbox) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosing()
	}
	if name := sb.definition.GetName(); name != "" {
		key := sb.nameKey()
		if holder, taken := s.sandboxNames[key]; taken && !holder.over() {
			return status.Errorf(codes.AlreadyExists, "sandbox with name '%s' already exists in this app: %s", name, holder.id)
		}
		s.sandboxNames[key] = sb
	}
	now := time.Now()
	if !now.After(s.lastCreated.Add(time.Microsecond)) {
		now = s.lastCreated.Add(time.Microsecond)
	}
	s.lastCreated, sb.created = now, now
	return nil
}

func (b *sandbox) nameKey() string { return b.appID + "\x00" + b.definition.GetName() }

// forget drops a sandbox from every list.
func (s *Server) forget(sb *sandbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sandboxes, sb.id)
	delete(s.tasks, sb.taskID)
	if s.sandboxNames[sb.nameKey()] == sb {
		delete(s.sandboxNames, sb.nameKey())
	}
}
