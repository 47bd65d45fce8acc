package jupyter

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
)

// TokenVariable is the environment variable that gives a server its token. A
// token does not belong on a command line, which every process can read.
const TokenVariable = "JUPYTER_TOKEN"

// RuntimeVariable is the environment variable that names the directory where a
// server writes its address; see [ReadRuntime].
const RuntimeVariable = "JUPYTER_RUNTIME_DIR"

// LabArg makes JupyterLab, where that is installed, the page that opens at the
// server's address.
const LabArg = "--ServerApp.default_url=/lab"

// serverScript is python -m jupyter_server without rfc3987_syntax. jsonschema,
// from 4.25 on, loads that where it can, and takes two seconds for it: most of
// the server's start, for formats that no schema of Jupyter's has.
const serverScript = `import runpy, sys; sys.modules["rfc3987_syntax"] = None; ` +
	`runpy.run_module("jupyter_server", run_name="__main__", alter_sys=True)`

// ServerArgs returns the arguments of a Python interpreter that runs a server
// on this address with files below root. With port 0 it takes a free one; with
// any other it takes that or fails.
//
// The server neither drops output that comes fast, as it does by default to
// spare browsers, nor needs longer than a second to see that a kernel died.
func ServerArgs(ip string, port int, root string) []string {
	return []string{
		"-c", serverScript,
		"--ServerApp.ip=" + ip,
		"--ServerApp.port=" + strconv.Itoa(port),
		"--ServerApp.port_retries=0",
		"--ServerApp.root_dir=" + root,
		"--ServerApp.open_browser=False",
		"--ServerApp.allow_root=True",
		"--ServerApp.allow_remote_access=True",
		"--ServerApp.allow_unauthenticated_access=False", // not even where an extension forgets to ask
		"--ZMQChannelsWebsocketConnection.limit_rate=False",
		"--KernelRestarter.time_to_dead=1.0",
	}
}

// SocketArg makes a server talk to its kernels over Unix sockets beside their
// connection files: not over TCP ports, which another program may take before a
// kernel does, and from which every user of the machine reads what it shows.
const SocketArg = "--KernelManager.transport=ipc"

// SocketArgs returns [SocketArg] for a server on this machine with this runtime
// directory, or nothing where there are no such sockets or their names would be
// too long.
func SocketArgs(runtime string) []string {
	const (
		longest = 103 // of a socket's name on macOS; Linux allows 107
		name    = len("/kernel-01234567-89ab-cdef-0123-456789abcdef-ipc-1")
	)
	if goruntime.GOOS == "windows" || len(runtime)+name > longest {
		return nil
	}
	return []string{SocketArg}
}

// ReadRuntime returns the address and token of the server that writes to this
// runtime directory. Until it is there, the error matches [os.ErrNotExist]. The
// server listens a moment later; [Await] waits for that.
func ReadRuntime(dir string) (Config, error) {
	files, err := filepath.Glob(filepath.Join(dir, "jpserver-*.json"))
	if err != nil {
		return Config{}, fmt.Errorf("read jupyter runtime: %w", err)
	}
	if len(files) == 0 {
		return Config{}, fmt.Errorf("read jupyter runtime: %w", os.ErrNotExist)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return Config{}, fmt.Errorf("read jupyter runtime: %w", err)
	}
	var info struct {
		URL   string `json:"url"`
		Token string `json:"token"`
	}
	if json.Unmarshal(data, &info) != nil || info.URL == "" {
		// The file is being written.
		return Config{}, fmt.Errorf("read jupyter runtime: %w", os.ErrNotExist)
	}
	return Config{BaseURL: info.URL, Token: info.Token}, nil
}
