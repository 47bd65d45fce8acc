package modalclient_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// text prints a request in one line, with one space between fields.
func text(t testing.TB, request any) string {
	t.Helper()
	message, ok := request.(proto.Message)
	require.True(t, ok, "no such call")
	fields := strings.Fields(prototext.MarshalOptions{}.Format(message))
	return strings.NewReplacer(": ", ":", "{ ", "{", " }", "}").Replace(strings.Join(fields, " "))
}
