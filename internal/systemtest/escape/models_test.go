//go:build linux

package escape_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// modelAttempts look for the name of a model that is hidden: it is gone, or
// the sandbox does not start.
var modelAttempts = []attempt{
	{name: "the name in a configuration", owner: hides("vexmoor-labs/Quillotar-7B", "config.json", func(name string) []byte { return []byte(`{"_name_or_path": "` + name + `"}`) })},
	{name: "the name in a vocabulary, with two bytes a letter", owner: hides("vexmoor-labs/Quillotar-7E", "tokenizer.model", wide)},
	{name: "the name in a configuration, with two bytes a letter", owner: hides("vexmoor-labs/Quillotar-7F", "extra.txt", wide)},
	{name: "a short name in a vocabulary", owner: hides("vexo/Vexo-1b", "tokenizer.model", func(string) []byte { return []byte("\x00\x01Vexo-1b\x00") })},
	{name: "the name of a file", owner: hides("vexmoor-labs/Quillotar-7H", "Quillotar-7H.safetensors", func(string) []byte { return []byte("weights") })},
	{name: "the name escaped in a configuration", owner: hides("vexmoor-labs/Quillotar-7I", "config.json", func(name string) []byte {
		var b strings.Builder
		for _, letter := range name {
			b.WriteString(`\u00` + hex.EncodeToString([]byte{byte(letter)}))
		}
		return []byte(`{"x": "` + b.String() + `"}`)
	})},
}

// wide is a name in UTF-16, between bytes that are none.
func wide(name string) []byte {
	b := []byte{0xff, 0xfe, 0, 1, 2, 3}
	for _, unit := range utf16.Encode([]rune(name)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return append(b, 0, 0)
}

// hides starts a sandbox with a hidden model of which one file has something
// in it, and looks for its name in all that an agent can read.
func hides(name, file string, content func(name string) []byte) func(t *testing.T, w *world) string {
	return func(t *testing.T, _ *world) string {
		hub := hubtest.NewServer(t)
		files := map[string][]byte{"config.json": []byte(`{"model_type": "gemma2"}`), "model.safetensors": bytes.Repeat([]byte("weights "), 400)}
		files[file] = content(name)
		hub.Add(hubtest.Model{ID: name, Files: files})
		server := seertest.NewServer(t, seertest.AllowHost(strings.TrimPrefix(hub.URL, "http://"), strings.TrimPrefix(hub.CDNURL, "http://")))
		environ := filepath.Join(t.TempDir(), ".env")
		require.NoError(t, os.WriteFile(environ, []byte("HF_ENDPOINT="+hub.URL+"\nHF_TOKEN=\n"), 0o600))
		sandbox, err := seer.NewSandbox(seer.SandboxConfig{Models: []seer.ModelConfig{{Name: name, Hidden: true}}},
			seer.WithBackend(server.Backend()), seer.WithEnvFile(environ)).Start(t.Context())
		if err != nil {
			t.Log(err)
			return ""
		}
		defer func() { require.NoError(t, sandbox.Terminate(t.Context())) }()
		text, err := sandbox.ExecPython(t.Context(), `
import glob, json, os, sys
words = [w for w in bytes.fromhex("`+hex.EncodeToString([]byte(strings.Split(name, "/")[1]))+`").decode().split() if w]
def look(text, place):
    for word in words:
        if word.lower() in text.lower(): print("OUT:", word, "in", place)
def tell(data, place):
    look(data.decode("latin-1"), place)
    for start in (0, 1): look(data[start:].decode("utf-16-le", "ignore"), place + ", with two bytes a letter")
    try:
        for value in json.loads(data).values(): look(str(value), place + ", decoded")
    except Exception: pass
for root in ("/models", "/root", "/run", "/dev/shm", "/workspace", "/opt", "/mnt", "/tmp", "/var/lib/seer", "/home", "/etc", "/srv"):
    for place, directories, files in os.walk(root, followlinks=False):
        look(place, place)
        for file in files:
            path = os.path.join(place, file)
            look(file, path)
            try:
                if os.path.getsize(path) < 1 << 20: tell(open(path, "rb").read(), path)
            except OSError: pass
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline") + ["/proc/self/mountinfo"]:
    if path.split("/")[2] == str(os.getpid()) and "cmdline" in path: continue
    try: tell(open(path, "rb").read(), path)
    except OSError: pass
print("looked", sum(len(f) for _, _, f in os.walk("/models")))
`)
		require.NoError(t, err)
		_, what, found := strings.Cut(text, "OUT: ")
		if found {
			what, _, _ = strings.Cut(what, "\n")
			return what
		}
		t.Log(text, sandbox.ModelHandles())
		return ""
	}
}
