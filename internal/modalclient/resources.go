package modalclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// App groups sandboxes under a name.
type App struct{ ID, Name string }

// App looks an app up by name. Without create, a missing one is ErrNotFound.
func (c *Client) App(ctx context.Context, name string, create bool) (App, error) {
	app, err := c.modal.Apps.FromName(ctx, name, &modal.AppFromNameParams{CreateIfMissing: create})
	if err != nil {
		return App{}, failure(ctx, fmt.Sprintf("get app %q", name), err)
	}
	found := App{ID: app.AppID, Name: name}
	c.memory.keepApp(found)
	return found, nil
}

// Secret is a set of environment variables kept by the server.
type Secret struct{ ID string }

// Secret hands variables to the server. The secret lives no longer than the
// server keeps what nobody uses; DeleteSecret ends it sooner.
func (c *Client) Secret(ctx context.Context, env map[string]string) (Secret, error) {
	// What a server says of values may quote them.
	secret, err := c.modal.Secrets.FromMap(WithNews(ctx, nil), env, nil)
	if err != nil {
		return Secret{}, redact(failure(ctx, "store secret", err), env)
	}
	return Secret{ID: secret.SecretID}, nil
}

// DeleteSecret forgets a secret. One that is gone already is no error.
func (c *Client) DeleteSecret(ctx context.Context, secret Secret) error {
	_, err := c.api.SecretDelete(ctx, pb.SecretDeleteRequest_builder{SecretId: secret.ID}.Build())
	return ignoreNotFound(failure(ctx, "delete secret", err))
}

// redact drops a server's message that quotes a value it was given.
func redact(err error, env map[string]string) error {
	if err == nil {
		return nil
	}
	for _, value := range env {
		if value != "" && strings.Contains(err.Error(), value) {
			return &Error{Op: "store secret", Kind: redactedKind(err), Message: "refused (the answer quotes a value and is withheld)"}
		}
	}
	return err
}

// redactedKind is what may be matched of an error that must not be shown.
func redactedKind(err error) error {
	var answer *Error
	var waited *waitedError
	switch {
	case errors.As(err, &answer):
		return answer.Kind
	case errors.As(err, &waited):
		return waited.cause
	}
	return nil
}

// Volume is a file system that outlives sandboxes.
type Volume struct{ ID, Name string }

// Volume looks a volume up by name. Without create, a missing one is ErrNotFound.
func (c *Client) Volume(ctx context.Context, name string, create bool) (Volume, error) {
	volume, err := c.modal.Volumes.FromName(ctx, name, &modal.VolumeFromNameParams{CreateIfMissing: create})
	if err != nil {
		return Volume{}, failure(ctx, fmt.Sprintf("get volume %q", name), err)
	}
	return Volume{ID: volume.VolumeID, Name: name}, nil
}

// DeleteVolume deletes a volume and its files. One that is gone already is no error.
func (c *Client) DeleteVolume(ctx context.Context, volume Volume) error {
	_, err := c.api.VolumeDelete(ctx, pb.VolumeDeleteRequest_builder{VolumeId: volume.ID}.Build())
	return ignoreNotFound(failure(ctx, fmt.Sprintf("delete volume %q", volume.Name), err))
}

// VolumeReadFile reads one file of a volume without a sandbox; ErrNotFound if there is none.
func (c *Client) VolumeReadFile(ctx context.Context, volume Volume, path string) ([]byte, error) {
	op := fmt.Sprintf("read %s of volume %q", path, volume.Name)
	path = strings.TrimPrefix(path, "/")
	blocks, err := c.api.VolumeGetFile2(ctx, pb.VolumeGetFile2Request_builder{VolumeId: volume.ID, Path: path}.Build())
	if err == nil {
		return fetchBlocks(ctx, op, blocks.GetGetUrls())
	}
	if err := failure(ctx, op, err); !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	file, err := c.api.VolumeGetFile(ctx, pb.VolumeGetFileRequest_builder{VolumeId: volume.ID, Path: path}.Build())
	if err != nil {
		return nil, failure(ctx, op, err)
	}
	if !file.HasDataBlobId() {
		return file.GetData(), nil
	}
	blob, err := c.api.BlobGet(ctx, pb.BlobGetRequest_builder{BlobId: file.GetDataBlobId()}.Build())
	if err != nil {
		return nil, failure(ctx, op, err)
	}
	return fetchBlocks(ctx, op, []string{blob.GetDownloadUrl()})
}

// Volumes lists the volumes that have a name.
func (c *Client) Volumes(ctx context.Context) ([]Volume, error) {
	response, err := c.api.VolumeList(ctx, pb.VolumeListRequest_builder{EnvironmentName: c.environment}.Build())
	if err != nil {
		return nil, failure(ctx, "list volumes", err)
	}
	volumes := make([]Volume, len(response.GetItems()))
	for i, item := range response.GetItems() {
		volumes[i] = Volume{ID: item.GetVolumeId(), Name: item.GetLabel()}
	}
	return volumes, nil
}

// VolumeFile is a regular file of a volume.
type VolumeFile struct {
	Path    string    // relative to the volume's root
	Size    int64     // bytes
	ModTime time.Time // in whole seconds
}

// VolumeFiles lists all regular files of a volume without a sandbox.
func (c *Client) VolumeFiles(ctx context.Context, volume Volume) ([]VolumeFile, error) {
	row := c.outage("VolumeListFiles2")
	for {
		files, err := c.volumeFiles(ctx, volume)
		if err == nil {
			return files, nil
		}
		if transient(err) {
			if err = row.failed(ctx, err); err == nil {
				continue
			}
		}
		return nil, failure(ctx, fmt.Sprintf("list files of volume %q", volume.Name), err)
	}
}

func (c *Client) volumeFiles(ctx context.Context, volume Volume) ([]VolumeFile, error) {
	stream, err := c.api.VolumeListFiles2(ctx, pb.VolumeListFiles2Request_builder{
		VolumeId: volume.ID, Path: "/", Recursive: true,
	}.Build())
	if err != nil {
		return nil, err
	}
	var files []VolumeFile
	for {
		batch, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range batch.GetEntries() {
			if entry.GetType() == pb.FileEntry_FILE {
				files = append(files, VolumeFile{
					Path:    strings.TrimPrefix(entry.GetPath(), "/"),
					Size:    int64(entry.GetSize()),
					ModTime: time.Unix(int64(entry.GetMtime()), 0),
				})
			}
		}
	}
}

// fetchBlocks joins what lies behind presigned URLs. The URLs are credentials:
// no error may quote them.
func fetchBlocks(ctx context.Context, op string, urls []string) ([]byte, error) {
	var data []byte
	for _, url := range urls {
		block, err := fetch(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		data = append(data, block...)
	}
	return data, nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, errors.New("malformed download URL")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, errors.Unwrap(err) // a *url.Error, which would quote the URL
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("download: %s", response.Status)
	}
	return io.ReadAll(response.Body)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
