package modalclient

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// CachedLayers is how many of the layers, from the first on, BuildImage would
// not have to build. It builds nothing. Modal answers by building alone, so it
// is not asked: the error is an errors.ErrUnsupported for any server that is
// not on this machine, or does not know the question.
func (c *Client) CachedLayers(ctx context.Context, base string, layers []Layer) (int, error) {
	const op = "look up image"
	if !c.local {
		return 0, fmt.Errorf("%s: %w", op, errors.ErrUnsupported)
	}
	for i, layer := range layers {
		request, err := c.buildRequest(App{}, base, layer)
		if err != nil {
			return i, err
		}
		response := &pb.ImageGetOrCreateResponse{}
		err = failure(ctx, op, c.conn.Invoke(ctx, "/seer.Images/ImageLookup", request, response))
		if errors.Is(err, ErrNotFound) {
			return i, nil
		}
		if err != nil {
			return i, err
		}
		base = response.GetImageId()
	}
	return len(layers), nil
}
