package modalclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

const (
	buildPoll     = 55 * time.Second // one stream of build output lasts at most this long
	buildLogLimit = 16 << 10         // bytes of output that a BuildError keeps
)

// Layer is one step of an image, cached by its content.
type Layer struct {
	Commands []string // Dockerfile instructions; COPY from the local disk is not among them
	Secrets  []Secret // in the environment of this layer's build alone
	GPU      string   // "" for none
	Force    bool     // build it even if it is cached
}

var imageID = regexp.MustCompile(`^im-[0-9A-Za-z]{10,}$`)

// BuildImage builds the layers one by one on a base, which is a registry tag
// ("python:3.11-slim-bookworm") or the ID of an image, and returns the ID of
// the last. What is cached is not built again. log takes the output of builds
// while they run, with the index of the layer; nil discards it. A layer that
// cannot be built is a *BuildError.
func (c *Client) BuildImage(ctx context.Context, app App, base string, layers []Layer, log func(layer int, text string)) (string, error) {
	if log == nil {
		log = func(int, string) {}
	}
	whole, given := base, layers
	if len(layers) == 0 {
		if imageID.MatchString(base) {
			return base, nil
		}
		layers = []Layer{{}}
	}
	for i, layer := range layers {
		tail := &tail{limit: buildLogLimit}
		id, err := c.buildLayer(ctx, app, base, layer, func(text string) {
			_, _ = io.WriteString(tail, text)
			log(i, text)
		})
		if err != nil {
			var answer *Error
			if ctx.Err() != nil || errors.As(err, &answer) && errors.Is(err, ErrUnauthorized) {
				return "", err
			}
			return "", &BuildError{Layer: i, Log: tail.String(), Cause: err}
		}
		base = id
	}
	c.memory.keepImage(whole, given, base)
	return base, nil
}

func (c *Client) buildLayer(ctx context.Context, app App, base string, layer Layer, log func(string)) (string, error) {
	request, err := c.buildRequest(app, base, layer)
	if err != nil {
		return "", err
	}
	response, err := c.api.ImageGetOrCreate(ctx, request)
	if err != nil {
		return "", failure(ctx, "build image", err)
	}
	result := response.GetResult()
	if result.GetStatus() == pb.GenericResult_GENERIC_STATUS_UNSPECIFIED {
		if result, err = c.joinBuild(ctx, response.GetImageId(), log); err != nil {
			return "", failure(ctx, "build image", err)
		}
	}
	switch result.GetStatus() {
	case pb.GenericResult_GENERIC_STATUS_SUCCESS:
		return response.GetImageId(), nil
	case pb.GenericResult_GENERIC_STATUS_TERMINATED:
		return "", errors.New("the build was stopped by the server; it may work now")
	case pb.GenericResult_GENERIC_STATUS_TIMEOUT:
		return "", errors.New("the build took longer than the server allows")
	}
	if message := strings.TrimSpace(result.GetException()); message != "" {
		return "", errors.New(message)
	}
	return "", errors.New("the build failed")
}

func (c *Client) buildRequest(app App, base string, layer Layer) (*pb.ImageGetOrCreateRequest, error) {
	image, err := recipe(base, layer)
	if err != nil {
		return nil, err
	}
	return pb.ImageGetOrCreateRequest_builder{
		AppId:          app.ID,
		Image:          image,
		BuilderVersion: c.builderVersion,
		ForceBuild:     layer.Force,
	}.Build(), nil
}

// recipe describes a layer. Modal names the image below it "base".
func recipe(base string, layer Layer) (*pb.Image, error) {
	for _, command := range layer.Commands {
		if upper := strings.ToUpper(strings.TrimSpace(command)); strings.HasPrefix(upper, "COPY ") && !strings.HasPrefix(upper, "COPY --FROM=") {
			return nil, fmt.Errorf("%w layer: files cannot be copied from this machine: %s", ErrInvalid, command)
		}
	}
	gpu, err := gpuConfig(layer.GPU)
	if err != nil {
		return nil, err
	}
	builder := pb.Image_builder{GpuConfig: gpu}
	from := "FROM " + base
	if imageID.MatchString(base) {
		from = "FROM base"
		builder.BaseImages = []*pb.BaseImage{pb.BaseImage_builder{DockerTag: "base", ImageId: base}.Build()}
	}
	builder.DockerfileCommands = append([]string{from}, layer.Commands...)
	for _, secret := range layer.Secrets {
		builder.SecretIds = append(builder.SecretIds, secret.ID)
	}
	return builder.Build(), nil
}

// gpuConfig reads "A100" or "A100:2"; nil for "".
func gpuConfig(gpu string) (*pb.GPUConfig, error) {
	if gpu == "" {
		return nil, nil
	}
	name, number, several := strings.Cut(gpu, ":")
	count := uint64(1)
	if several {
		var err error
		if count, err = strconv.ParseUint(number, 10, 32); err != nil || count == 0 {
			return nil, fmt.Errorf("%w GPU count %q", ErrInvalid, number)
		}
	}
	return pb.GPUConfig_builder{GpuType: strings.ToUpper(name), Count: uint32(count)}.Build(), nil
}

// joinBuild follows a build until it has a result, over as many streams as it takes.
func (c *Client) joinBuild(ctx context.Context, id string, log func(string)) (*pb.GenericResult, error) {
	entry, row := "", c.outage("ImageJoinStreaming")
	for {
		result, last, err := c.followBuild(ctx, id, entry, log)
		if result != nil {
			return result, nil
		}
		if last != entry || err == nil {
			entry = last
			row.over()
		}
		if err == nil {
			continue
		}
		if transient(err) {
			err = row.failed(ctx, err)
		}
		if err != nil {
			return nil, err
		}
	}
}

// followBuild reads one stream of build output and returns the result, if it
// came, and the ID of the last entry seen.
func (c *Client) followBuild(ctx context.Context, id, entry string, log func(string)) (*pb.GenericResult, string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.api.ImageJoinStreaming(ctx, pb.ImageJoinStreamingRequest_builder{
		ImageId:     id,
		Timeout:     float32(buildPoll.Seconds()),
		LastEntryId: entry,
	}.Build())
	if err != nil {
		return nil, entry, err
	}
	for {
		item, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, entry, nil
		}
		if err != nil {
			return nil, entry, err
		}
		if item.GetEntryId() != "" {
			entry = item.GetEntryId()
		}
		for _, line := range item.GetTaskLogs() {
			if line.GetData() != "" {
				log(line.GetData())
			}
		}
		if result := item.GetResult(); result.GetStatus() != pb.GenericResult_GENERIC_STATUS_UNSPECIFIED {
			return result, entry, nil
		}
	}
}

// ImageExists returns nil if the server still has an image, or ErrNotFound.
func (c *Client) ImageExists(ctx context.Context, id string) error {
	_, err := c.modal.Images.FromID(ctx, id)
	return failure(ctx, "get image "+id, err)
}

// DeleteImage deletes an image. One that is gone already is no error.
func (c *Client) DeleteImage(ctx context.Context, id string) error {
	defer c.Forget()
	return ignoreNotFound(failure(ctx, "delete image "+id, c.modal.Images.Delete(ctx, id, nil)))
}
