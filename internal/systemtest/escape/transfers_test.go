//go:build linux

package escape_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	seer "github.com/ajobi-uhc/seer-go"
)

// Transfers whose other end is the agent's.
var transferAttempts = []attempt{
	{name: "a transfer that never comes", program: func(ctx context.Context, p *program) string {
		return p.replaced(ctx, "tar", "sleep 1000", func(s *seer.Sandbox) {
			limited, cancel := context.WithTimeout(ctx, quick)
			defer cancel()
			_ = s.Download(limited, "/tmp", filepath.Join(p.dir, "never"))
		})
	}},
	{name: "a transfer that leads out of its directory", program: func(ctx context.Context, p *program) string { return p.untar(ctx, hostileTar) }},
	{name: "a transfer of a file that is a directory of links", program: func(ctx context.Context, p *program) string {
		return p.untar(ctx, `
add("a", type=tarfile.SYMTYPE, link="..")
add("a/b", type=tarfile.SYMTYPE, link="..")
add("a/b/escaped", b"x")
add("./c", type=tarfile.SYMTYPE, link="/")
add("./c/" + sys.argv[1].lstrip("/") + "/escaped", b"x")
`)
	}},
	{name: "a transfer with devices and rights", program: func(ctx context.Context, p *program) string {
		return p.untar(ctx, `
add("./node", type=tarfile.CHRTYPE)
add("./fifo", type=tarfile.FIFOTYPE)
add("./setuid", b"x", mode=0o6755)
add("./" + "deep/" * 2000, type=tarfile.DIRTYPE)
add("./hard", type=tarfile.LNKTYPE, link=sys.argv[1] + "/kept")
add("./hard", b"changed")
`)
	}},
	{name: "a transfer with a file of any size", program: func(ctx context.Context, p *program) string {
		return p.grown(150<<20, func() string {
			return p.untar(ctx, `
info = tarfile.TarInfo("./large")
info.size = 1 << 50
sys.stdout.buffer.write(info.tobuf(tarfile.GNU_FORMAT))
sys.stdout.buffer.write(b"\0" * 1000000)
out = None
`)
		})
	}},
	{name: "a transfer with names without end", program: func(ctx context.Context, p *program) string {
		return p.grown(150<<20, func() string {
			return p.untar(ctx, `
info = tarfile.TarInfo("././@LongLink")
info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
sys.stdout.buffer.write(info.tobuf(tarfile.GNU_FORMAT))
for _ in range(200): sys.stdout.buffer.write(b"x" * 1000000)
out = None
`)
		})
	}},
}

const hostileTar = `
up = "../" * 30 + sys.argv[1].lstrip("/") + "/escaped"
for name in ("../escaped", "./../escaped", "a/../../escaped", up, sys.argv[1] + "/escaped", "/" + sys.argv[1] + "/escaped", "./x/../../escaped", "..", "./..", "a\0b"):
    add(name, b"x")
add("./link", type=tarfile.SYMTYPE, link=sys.argv[1])
add("./link/escaped", b"x")
add("./up", type=tarfile.SYMTYPE, link="..")
add("./up/escaped", b"x")
add("./file", type=tarfile.SYMTYPE, link=sys.argv[1] + "/kept")
add("./file", b"changed")
`

// untar downloads what a Python script writes with add as a tar stream. Beside
// the directory lies a file that must stay as it is.
func (p *program) untar(ctx context.Context, script string) string {
	place, err := os.MkdirTemp(p.dir, "download-")
	if err != nil {
		return err.Error()
	}
	kept := filepath.Join(place, "kept")
	if err := os.WriteFile(kept, []byte("kept"), 0o600); err != nil {
		return err.Error()
	}
	code := `
import io, sys, tarfile
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.GNU_FORMAT)
def add(name, data=b"", type=tarfile.REGTYPE, link="", mode=0o755):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = type, link, len(data), mode
    out.addfile(info, io.BytesIO(data))
` + script + `
if out: out.close()
`
	got := p.replaced(ctx, "tar", "exec python - '"+place+"' <<'PY'"+"\n"+code+"\nPY", func(s *seer.Sandbox) {
		limited, cancel := context.WithTimeout(ctx, 3*quick)
		defer cancel()
		_ = s.Download(limited, "/tmp", filepath.Join(place, "to"))
	})
	if got != "" {
		return got
	}
	if data, err := os.ReadFile(kept); err != nil || string(data) != "kept" {
		return outf("a file beside the download is %q now (%v)", data, err)
	}
	_ = filepath.WalkDir(place, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		switch rel := strings.TrimPrefix(path, place); {
		case strings.HasSuffix(rel, "escaped") && !strings.HasPrefix(rel, "/to/"):
			got = rel + " is outside of the download"
		case info.Mode()&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket|fs.ModeSetuid|fs.ModeSetgid) != 0:
			got = outf("%s is %v", rel, info.Mode())
		}
		return nil
	})
	if _, err := os.Lstat(filepath.Join(p.dir, "escaped")); err == nil {
		got = "a file lies two directories above the download"
	}
	return got
}
