package modalserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/dockerfile"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// emptyDir is a file system with nothing in it.
type emptyDir = embed.FS

// contextFile is a local file that a client sent along.
type contextFile struct {
	path string // fs.ValidPath
	data []byte
	mode fs.FileMode
}

// contextOf collects the files that COPY can name.
func (s *Server) contextOf(image *pb.Image) ([]contextFile, error) {
	var files []contextFile
	if id := image.GetContextMountId(); id != "" {
		mounted, err := s.mounts.files(id)
		if err != nil {
			return nil, err
		}
		files = append(files, mounted...)
	}
	for _, file := range image.GetContextFiles() {
		files = append(files, contextFile{path: volumePath(file.GetFilename()), data: file.GetData(), mode: newFileMode})
	}
	slices.SortStableFunc(files, func(a, b contextFile) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

func digestOf(files []contextFile) string {
	sum := sha256.New()
	for _, file := range files {
		content := sha256.Sum256(file.data)
		fmt.Fprintf(sum, "%q %o %x\n", file.path, file.mode, content)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// unpack writes files below a new directory, which the caller removes.
func unpack(parent string, files []contextFile) (dir string, err error) {
	dir, err = os.MkdirTemp(parent, "context-*")
	if err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, file := range files {
		name := filepath.FromSlash(file.path)
		if err := errors.Join(
			root.MkdirAll(filepath.Dir(name), 0o755),
			root.WriteFile(name, file.data, cmp.Or(file.mode.Perm(), newFileMode)),
		); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// copyFiles adds the steps of a COPY: directories are copied with what is in
// them, files under their name or that of the target.
func (st *stager) copyFiles(ctx context.Context, i dockerfile.Instruction) error {
	words := i.Exec
	if words == nil {
		var err error
		if words, err = dockerfile.Words(i.Args); err != nil {
			return err
		}
	}
	if len(words) < 2 {
		return &dockerfile.Error{Instruction: i.String(), Problem: "needs a source and a target"}
	}
	for n := range words {
		words[n] = st.expand(words[n])
	}
	files := st.local
	if from, ok := i.Flags["from"]; ok {
		var err error
		if files, err = st.imageFiles(ctx, from); err != nil {
			return fmt.Errorf("%s: %s", i, status.Convert(err).Message())
		}
	}
	sources, target := words[:len(words)-1], words[len(words)-1]
	intoDirectory := strings.HasSuffix(target, "/") || len(sources) > 1 || target == "."
	target = st.absolute(target)
	for _, source := range sources {
		step, err := copyStep(files, volumePath(source), target, intoDirectory)
		if err != nil {
			return fmt.Errorf("%s: %w", i, err)
		}
		st.step(i, runtime.Step{Copy: step})
	}
	return nil
}

func copyStep(files fs.FS, source, target string, intoDirectory bool) (*runtime.Copy, error) {
	info, err := fs.Stat(files, source)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		tree, err := fs.Sub(files, source)
		return &runtime.Copy{Source: tree, Target: target}, err
	}
	if intoDirectory {
		target = path.Join(target, path.Base(source))
	}
	return &runtime.Copy{Source: oneFile{files, source, path.Base(target)}, Target: path.Dir(target)}, nil
}

// oneFile is a file system with a single file, which it has under another name.
type oneFile struct {
	files fs.FS
	path  string
	name  string
}

func (f oneFile) Open(name string) (fs.File, error) {
	switch name {
	case f.name:
		return f.files.Open(f.path)
	case ".":
		dir, err := emptyDir{}.Open(".")
		return oneFileDir{File: dir, entries: f}, err
	default:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

// ReadDir lists the file.
func (f oneFile) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	info, err := fs.Stat(f.files, f.path)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(namedInfo{info, f.name})}, nil
}

// oneFileDir is the open root of a oneFile; what it holds is read through ReadDir of that.
type oneFileDir struct {
	fs.File
	entries oneFile
}

func (d oneFileDir) ReadDir(int) ([]fs.DirEntry, error) { return d.entries.ReadDir(".") }

type namedInfo struct {
	fs.FileInfo
	name string
}

func (i namedInfo) Name() string { return i.name }
