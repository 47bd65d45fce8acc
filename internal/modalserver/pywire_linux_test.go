package modalserver

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/newer"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recordedCalls are those that say what is asked for; the rest moves bytes or waits.
var recordedCalls = []string{
	"AppGetOrCreate", "ImageGetOrCreate", "SecretGetOrCreate", "VolumeGetOrCreate", "MountGetOrCreate",
	"SandboxCreate", "SandboxTagsSet", "TaskExecStart",
}

// TestPythonClientWire records what Modal's Python client asks for, for the
// declarations whose requests by seer are in the root's testdata/wire.
// docs/modal.md explains where the two differ. To record them anew:
//
//	go test ./internal/modalserver -run TestPythonClientWire -update
func TestPythonClientWire(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the Python client is large")
	}
	var mu sync.Mutex
	recorded := map[string]map[string][]string{} // requests by call, by declaration
	declaration := ""
	server := serve(t, Config{
		Runtime:  scripted.New(func(context.Context, scripted.Exec) scripted.Result { return scripted.Result{} }),
		PlayGPUs: true,
		Hook: func(_ context.Context, call Call) error {
			mu.Lock()
			defer mu.Unlock()
			if app, ok := call.Request.(*pb.AppGetOrCreateRequest); ok {
				declaration = app.GetAppName()
				recorded[declaration] = map[string][]string{}
			}
			if slices.Contains(recordedCalls, call.Method) {
				text, err := requestText(call.Request)
				if err != nil {
					return err
				}
				recorded[declaration][call.Method] = append(recorded[declaration][call.Method], text)
			}
			return nil
		},
	})
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("content\n"), 0o600))
	runPythonWith(t, server, pythonClients[0], []string{"MODAL_SANDBOX_V2=0"}, "wire.py", file) // the calls that modal-go has, too
	ours, err := filepath.Glob("../../testdata/wire/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, ours)
	for i, path := range ours {
		ours[i] = strings.TrimSuffix(filepath.Base(path), ".txtar")
	}
	assert.ElementsMatch(t, ours, slices.Collect(maps.Keys(recorded)), "each declaration by both")
	for name, requests := range recorded {
		t.Run(name, func(t *testing.T) {
			compareGolden(t, filepath.Join("testdata", "pyclient", "wire", name+".txtar"), requests)
		})
	}
}

// requestText is a request as JSON, with what newer clients have added, and
// without what is different each time.
func requestText(request proto.Message) (string, error) {
	text, err := protojson.Marshal(request)
	if err != nil {
		return "", err
	}
	var added proto.Message
	switch request.(type) {
	case *pb.SandboxCreateRequest:
		added = &newer.SandboxCreateFields{}
	case *pb.TaskExecStartRequest:
		added = &newer.TaskExecStartFields{}
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return "", err
	}
	if added != nil {
		if err := fieldsSince(request, added); err != nil {
			return "", err
		}
		more, err := protojson.Marshal(added)
		if err != nil {
			return "", err
		}
		if string(more) != "{}" {
			out.WriteString("\nand, since modal-go v0.7.0:\n")
			if err := json.Indent(&out, more, "", "  "); err != nil {
				return "", err
			}
		}
	}
	out.WriteByte('\n')
	stable := idPattern.ReplaceAllString(out.String(), `"$1-ID"`)
	return execIDPattern.ReplaceAllString(stable, `"execId": "RANDOM"`), nil
}

var (
	idPattern     = regexp.MustCompile(`"(ap|im|st|sb|ta|vo|mo)-[0-9A-Za-z]{22}"`)
	execIDPattern = regexp.MustCompile(`"execId": "[^"]+"`)
)

func compareGolden(t *testing.T, path string, requests map[string][]string) {
	t.Helper()
	archive := &txtar.Archive{}
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		if name == "SecretGetOrCreate" { // secrets are made side by side
			slices.Sort(requests[name])
		}
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(strings.Join(requests[name], ""))})
	}
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, txtar.Format(archive), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update")
	assert.Equal(t, string(want), string(txtar.Format(archive)))
}
