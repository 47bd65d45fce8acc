package modalserver

import (
	"bytes"
	"net/http"
	"net/url"
	"testing"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestBlobsAreForWhoAskedForThem(t *testing.T) {
	server := serve(t, Config{})
	control, _ := stubs(t, server)
	created, err := control.BlobCreate(t.Context(), pb.BlobCreateRequest_builder{ContentLength: 4}.Build())
	require.NoError(t, err)
	put := func(u, content string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, bytes.NewReader([]byte(content)))
		require.NoError(t, err)
		request.Close = true
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer
	}
	u, err := url.Parse(created.GetUploadUrl())
	require.NoError(t, err)
	bare := *u
	bare.RawQuery = ""
	assert.Equal(t, http.StatusUnauthorized, put(bare.String(), "data").StatusCode)
	other, err := control.BlobCreate(t.Context(), pb.BlobCreateRequest_builder{ContentLength: 4}.Build())
	require.NoError(t, err)
	bare.RawQuery = urlQuery(t, other.GetUploadUrl())
	assert.Equal(t, http.StatusUnauthorized, put(bare.String(), "data").StatusCode, "the token of another blob")
	assert.Equal(t, http.StatusBadRequest, put(u.String(), "too long").StatusCode)
	assert.Equal(t, http.StatusBadRequest, put(u.String(), "abc").StatusCode)
	answer := put(u.String(), "data")
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Equal(t, `"8d777f385d3dfec8815d20f7496026dc"`, answer.Header.Get("ETag"))
	assert.Equal(t, http.StatusConflict, put(u.String(), "data").StatusCode)

	use := func(id, sum string) error {
		_, err := control.MountPutFile(t.Context(), pb.MountPutFileRequest_builder{DataBlobId: &id, Sha256Hex: sum}.Build())
		return err
	}
	const sum = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7" // of "data"
	require.NoError(t, use(created.GetBlobId(), sum))
	assert.Equal(t, codes.NotFound, status.Code(use(created.GetBlobId(), sum)), "a blob is used once")
	assert.Equal(t, codes.NotFound, status.Code(use(other.GetBlobId(), sum)), "nothing was uploaded")
}

func urlQuery(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u.RawQuery
}
