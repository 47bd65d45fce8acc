package modalserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const (
	maxFileRead  = maxMessage - 1<<20 // bytes, so that an answer fits in a message
	keptOutputs  = 64                 // outputs of file operations per sandbox that can still be asked for
	keptOutput   = 16 << 20           // bytes of them, but for the last one
	lineReadSize = 4 << 10
	maxOpenFiles = 256 // of a sandbox
	newFileMode  = fs.FileMode(0o644)
)

// fileBook holds the files that clients have open in a sandbox and the outputs
// of what they did with them.
type fileBook struct {
	mu      sync.Mutex
	open    map[string]*openFile
	outputs map[string]*pb.FilesystemRuntimeOutputBatch
	order   []string // of outputs, oldest first
	size    int      // bytes of outputs
}

type openFile struct {
	mu   sync.Mutex // one operation at a time
	file runtime.File
}

func newFileBook() *fileBook {
	return &fileBook{open: map[string]*openFile{}, outputs: map[string]*pb.FilesystemRuntimeOutputBatch{}}
}

func (b *fileBook) closeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.open {
		_ = f.file.Close()
	}
	clear(b.open)
}

func (b *fileBook) get(descriptor string) (*openFile, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, ok := b.open[descriptor]
	if !ok {
		return nil, &fs.PathError{Op: "use", Path: descriptor, Err: fs.ErrClosed}
	}
	return f, nil
}

// keep stores an output under a new exec ID.
func (b *fileBook) keep(output *pb.FilesystemRuntimeOutputBatch) string {
	id := newID("fx-")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outputs[id] = output
	b.order = append(b.order, id)
	b.size += outputSize(output)
	for len(b.order) > keptOutputs || len(b.order) > 1 && b.size > keptOutput {
		b.size -= outputSize(b.outputs[b.order[0]])
		delete(b.outputs, b.order[0])
		b.order = slices.Delete(b.order, 0, 1)
	}
	return id
}

func outputSize(output *pb.FilesystemRuntimeOutputBatch) int {
	size := 0
	for _, data := range output.GetOutput() {
		size += len(data)
	}
	return size
}

// ContainerFilesystemExec does one thing with a file of a sandbox. What comes
// of it is fetched with ContainerFilesystemExecGetOutput.
func (s *Server) ContainerFilesystemExec(ctx context.Context, r *pb.ContainerFilesystemExecRequest) (*pb.ContainerFilesystemExecResponse, error) {
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	if err := sb.alive(); err != nil {
		return nil, err
	}
	answer := pb.ContainerFilesystemExecResponse_builder{}
	output := pb.FilesystemRuntimeOutputBatch_builder{}
	data, descriptor, err := sb.fileOperation(ctx, r)
	switch {
	case errors.Is(err, runtime.ErrEnded), errors.Is(err, runtime.ErrUnsupported), errors.Is(err, context.Canceled):
		return nil, sb.answer("file operation", err)
	case status.Code(err) == codes.Unimplemented:
		return nil, err
	case err != nil:
		output.Error = systemError(err)
		if r.HasFileOpenRequest() {
			descriptor = newID("fd-") // Python's client asks why only if it got one
		}
	case data != nil:
		output.Output = [][]byte{data}
	}
	if descriptor != "" {
		answer.FileDescriptor = &descriptor
	}
	answer.ExecId = sb.files.keep(output.Build())
	return answer.Build(), nil
}

// fileOperation returns what was read, or the descriptor of what was opened.
func (b *sandbox) fileOperation(ctx context.Context, r *pb.ContainerFilesystemExecRequest) (data []byte, descriptor string, err error) {
	files := b.run.Files()
	switch r.WhichFileExecRequestOneof() {
	case pb.ContainerFilesystemExecRequest_FileOpenRequest_case:
		descriptor, err = b.openFile(ctx, r.GetFileOpenRequest())
	case pb.ContainerFilesystemExecRequest_FileMkdirRequest_case:
		q := r.GetFileMkdirRequest()
		err = files.Mkdir(ctx, b.absolute(q.GetPath()), q.GetMakeParents())
	case pb.ContainerFilesystemExecRequest_FileRmRequest_case:
		q := r.GetFileRmRequest()
		err = files.Remove(ctx, b.absolute(q.GetPath()), q.GetRecursive())
	case pb.ContainerFilesystemExecRequest_FileLsRequest_case:
		data, err = listNames(ctx, files, b.absolute(r.GetFileLsRequest().GetPath()))
	case pb.ContainerFilesystemExecRequest_FileCloseRequest_case:
		err = b.files.close(r.GetFileCloseRequest().GetFileDescriptor())
	default:
		data, err = b.files.operate(r)
	}
	return data, descriptor, err
}

func (b *sandbox) openFile(ctx context.Context, r *pb.ContainerFileOpenRequest) (string, error) {
	flags, err := openFlags(r.GetMode())
	if err != nil {
		return "", err
	}
	file, err := b.run.Files().OpenFile(ctx, b.absolute(r.GetPath()), flags, newFileMode)
	if err != nil {
		return "", err
	}
	descriptor := newID("fd-")
	b.files.mu.Lock()
	defer b.files.mu.Unlock()
	if len(b.files.open) >= maxOpenFiles {
		_ = file.Close()
		return "", fmt.Errorf("open %s: %d files are open, the most that can be", r.GetPath(), maxOpenFiles)
	}
	b.files.open[descriptor] = &openFile{file: file}
	return descriptor, nil
}

// absolute is a path as the sandbox's own command would mean it.
func (b *sandbox) absolute(p string) string {
	if p == "" || path.IsAbs(p) {
		return p
	}
	return path.Join("/", b.workdir, p)
}

// openFlags understands the modes of Python's open.
func openFlags(mode string) (int, error) {
	kind, update := 0, false
	for _, c := range mode {
		switch c {
		case 'r', 'w', 'a', 'x':
			if kind != 0 {
				return 0, fmt.Errorf("open mode %q: %w", mode, fs.ErrInvalid)
			}
			kind = int(c)
		case '+':
			update = true
		case 'b', 't':
		default:
			return 0, fmt.Errorf("open mode %q: %w", mode, fs.ErrInvalid)
		}
	}
	access := os.O_WRONLY
	if update {
		access = os.O_RDWR
	}
	switch kind {
	case 'w':
		return access | os.O_CREATE | os.O_TRUNC, nil
	case 'a':
		return access | os.O_CREATE | os.O_APPEND, nil
	case 'x':
		return access | os.O_CREATE | os.O_EXCL, nil
	}
	if update {
		return os.O_RDWR, nil
	}
	return os.O_RDONLY, nil
}

func (b *fileBook) close(descriptor string) error {
	f, err := b.get(descriptor)
	if err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.open, descriptor)
	b.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// operate does what concerns an open file.
func (b *fileBook) operate(r *pb.ContainerFilesystemExecRequest) ([]byte, error) {
	var descriptor string
	var do func(runtime.File) ([]byte, error)
	switch r.WhichFileExecRequestOneof() {
	case pb.ContainerFilesystemExecRequest_FileWriteRequest_case:
		q := r.GetFileWriteRequest()
		descriptor = q.GetFileDescriptor()
		do = func(f runtime.File) ([]byte, error) {
			_, err := f.Write(q.GetData())
			return nil, err
		}
	case pb.ContainerFilesystemExecRequest_FileReadRequest_case:
		q := r.GetFileReadRequest()
		limit := int64(maxFileRead)
		if q.HasN() {
			limit = min(limit, int64(q.GetN()))
		}
		descriptor = q.GetFileDescriptor()
		do = func(f runtime.File) ([]byte, error) { return io.ReadAll(io.LimitReader(f, limit)) }
	case pb.ContainerFilesystemExecRequest_FileReadLineRequest_case:
		descriptor, do = r.GetFileReadLineRequest().GetFileDescriptor(), readLine
	case pb.ContainerFilesystemExecRequest_FileFlushRequest_case:
		descriptor = r.GetFileFlushRequest().GetFileDescriptor()
		do = func(f runtime.File) ([]byte, error) { return nil, f.Sync() }
	case pb.ContainerFilesystemExecRequest_FileSeekRequest_case:
		q := r.GetFileSeekRequest()
		descriptor = q.GetFileDescriptor()
		do = func(f runtime.File) ([]byte, error) {
			_, err := f.Seek(int64(q.GetOffset()), int(q.GetWhence())) // numbered as io has them
			return nil, err
		}
	default:
		return nil, status.Errorf(codes.Unimplemented, "ContainerFilesystemExec: %s not implemented", r.WhichFileExecRequestOneof())
	}
	f, err := b.get(descriptor)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return do(f.file)
}

// readLine reads up to and with the next newline.
func readLine(f runtime.File) ([]byte, error) {
	var line []byte
	buffer := make([]byte, lineReadSize)
	for {
		n, err := f.Read(buffer)
		if end := bytes.IndexByte(buffer[:n], '\n') + 1; end > 0 {
			line = append(line, buffer[:end]...)
			_, err := f.Seek(int64(end-n), io.SeekCurrent)
			return line, err
		}
		line = append(line, buffer[:n]...)
		if len(line) > maxFileRead {
			return nil, fmt.Errorf("line is longer than %d bytes", maxFileRead)
		}
		if errors.Is(err, io.EOF) {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func listNames(ctx context.Context, files runtime.Files, dir string) ([]byte, error) {
	entries, err := files.ReadDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return json.Marshal(map[string][]string{"paths": names})
}

func systemError(err error) *pb.SystemErrorMessage {
	code := pb.SystemErrorCode_SYSTEM_ERROR_CODE_IO
	for _, known := range []struct {
		err  error
		code pb.SystemErrorCode
	}{
		{fs.ErrNotExist, pb.SystemErrorCode_SYSTEM_ERROR_CODE_NOENT},
		{fs.ErrExist, pb.SystemErrorCode_SYSTEM_ERROR_CODE_EXIST},
		{fs.ErrPermission, pb.SystemErrorCode_SYSTEM_ERROR_CODE_ACCES},
		{fs.ErrInvalid, pb.SystemErrorCode_SYSTEM_ERROR_CODE_INVAL},
		{fs.ErrClosed, pb.SystemErrorCode_SYSTEM_ERROR_CODE_INVAL},
		{syscall.ENOTDIR, pb.SystemErrorCode_SYSTEM_ERROR_CODE_NOTDIR},
		{syscall.EISDIR, pb.SystemErrorCode_SYSTEM_ERROR_CODE_ISDIR},
		{syscall.ENOSPC, pb.SystemErrorCode_SYSTEM_ERROR_CODE_NOSPC},
	} {
		if errors.Is(err, known.err) {
			code = known.code
			break
		}
	}
	return pb.SystemErrorMessage_builder{ErrorCode: code, ErrorMessage: err.Error()}.Build()
}

// ContainerFilesystemExecGetOutput streams what came of a file operation. The
// data and the end come in separate messages: some clients drop data that
// comes with the end.
func (s *Server) ContainerFilesystemExecGetOutput(r *pb.ContainerFilesystemExecGetOutputRequest, stream grpc.ServerStreamingServer[pb.FilesystemRuntimeOutputBatch]) error {
	output, err := s.fileOutput(r.GetExecId())
	if err != nil {
		return err
	}
	if output.HasError() {
		return stream.Send(output)
	}
	var index uint64
	if len(output.GetOutput()) > 0 {
		if err := stream.Send(output); err != nil {
			return err
		}
		index++
	}
	return stream.Send(pb.FilesystemRuntimeOutputBatch_builder{Eof: true, BatchIndex: index}.Build())
}

// ContainerReloadVolumes has nothing to do: sandboxes share a volume's files as they are.
func (s *Server) ContainerReloadVolumes(_ context.Context, r *pb.ContainerReloadVolumesRequest) (*pb.ContainerReloadVolumesResponse, error) {
	if _, err := s.findTask(r.GetTaskId()); err != nil {
		return nil, err
	}
	return &pb.ContainerReloadVolumesResponse{}, nil
}

func (s *Server) fileOutput(id string) (*pb.FilesystemRuntimeOutputBatch, error) {
	for _, sb := range s.all() {
		sb.files.mu.Lock()
		output, ok := sb.files.outputs[id]
		sb.files.mu.Unlock()
		if ok {
			return output, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "file operation %s not found", id)
}
