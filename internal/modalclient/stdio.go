package modalclient

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// stdinChunk is the most bytes in one TaskExecStdinWrite, which costs a
	// round trip. Modal's own clients send up to 16 MiB.
	stdinChunk = 4 << 20
	pipeSize   = 64 << 10 // bytes that a command's input holds before it reads any
	firstChunk = 32 << 10 // bytes read at a time from a source that may have few
)

// output reads one stream of a command, from where it was over as many
// connections as it takes. It starts no goroutine.
type output struct {
	process *Process
	fd      pb.TaskExecStdioFileDescriptor

	stream  grpc.ServerStreamingClient[pb.TaskExecStdioReadResponse]
	cancel  context.CancelFunc // of the stream; nil before the first
	dropped atomic.Bool        // the stream was, for its silence
	again   bool               // it was opened once in vain
	heard   bool               // the stream's header has come
	token   string             // that the stream was opened with
	attempt *attempts
	offset  uint64
	rest    []byte // received and not yet read
	err     error
	waits   atomic.Int64 // since when, in Unix nanoseconds, the server has nothing for it; 0 = unknown
}

// noMore is what waits is set to at the end of a stream.
const noMore = -1

func (o *output) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := o.fill(); err != nil {
		return 0, err
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// WriteTo saves io.Copy a buffer.
func (o *output) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		err := o.fill()
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(o.rest)
		total += int64(n)
		o.rest = o.rest[n:]
		if err != nil {
			return total, err
		}
	}
}

// fill waits until there is something to read.
func (o *output) fill() error {
	for len(o.rest) == 0 {
		if o.err != nil {
			return o.err
		}
		if o.rest, o.err = o.receive(); o.err != nil {
			o.waits.Store(noMore)
			o.process.release()
		}
	}
	return nil
}

// silence is how long the server has had nothing to send to a reader that
// waits: none while it cannot be reached, or while the reader is busy.
func (o *output) silence() time.Duration {
	switch since := o.waits.Load(); since {
	case 0:
		return 0
	case noMore:
		return math.MaxInt64
	default:
		return max(0, time.Since(time.Unix(0, since)))
	}
}

// listen receives a message. A server's header says that the stream is there. A
// call that was lost on its way has none, so it is made again. Modal may send
// none before its first message: it is taken at its silence the second time.
func (o *output) listen() (*pb.TaskExecStdioReadResponse, error) {
	defer o.waits.Store(0)
	if client := o.process.sandbox.client; !o.heard {
		stop := func() bool { return true }
		if o.again && !client.local {
			o.waits.Store(time.Now().UnixNano())
		} else {
			cancel := o.cancel
			stop = time.AfterFunc(client.patience.Answer, func() {
				o.dropped.Store(true)
				cancel()
			}).Stop
		}
		header, err := o.stream.Header()
		o.heard = stop() && err == nil && header != nil // else Recv knows why
	}
	if o.heard {
		o.waits.Store(time.Now().UnixNano())
	}
	return o.stream.Recv()
}

func (o *output) receive() ([]byte, error) {
	p := o.process
	if o.attempt == nil {
		o.attempt = p.attempt("read output")
	}
	for {
		err := o.open()
		if err == nil {
			var message *pb.TaskExecStdioReadResponse
			if message, err = o.listen(); err == nil {
				o.attempt.progress()
				o.offset += uint64(len(message.GetData()))
				return message.GetData(), nil
			}
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
		}
		dropped := o.dropped.Swap(false)
		o.stream, o.heard = nil, false
		if p.closed.Load() {
			return nil, io.EOF
		}
		if dropped && p.life.Err() == nil {
			o.again = true
			err = noAnswer("TaskExecStdioRead", p.sandbox.client.patience.Answer)
		}
		if err := o.attempt.failed(p.life, o.token, err); err != nil {
			return nil, err
		}
	}
}

func (o *output) open() error {
	if o.stream != nil {
		return nil
	}
	router, token, err := o.process.task.access(o.process.life, o.attempt.stale)
	if err != nil {
		return err
	}
	if o.cancel != nil {
		o.cancel()
	}
	var ctx context.Context
	ctx, o.cancel = context.WithCancel(o.process.life)
	o.token = token
	o.stream, err = router.TaskExecStdioRead(
		metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token),
		pb.TaskExecStdioReadRequest_builder{
			TaskId:         o.process.task.id,
			ExecId:         o.process.id,
			Offset:         o.offset,
			FileDescriptor: o.fd,
		}.Build())
	return err
}

// input writes to a command. Every write returns once the server has it.
type input struct {
	process *Process
	prompt  bool // the command reads all that comes

	mu     sync.Mutex
	offset uint64
	closed bool
}

func (in *input) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		chunk := p[:min(len(p), stdinChunk)]
		if err := in.send(chunk, false); err != nil {
			return total, err
		}
		total += len(chunk)
		p = p[len(chunk):]
	}
	return total, nil
}

// ReadFrom makes io.Copy use large messages, without waiting to fill them.
func (in *input) ReadFrom(r io.Reader) (int64, error) {
	buffer := make([]byte, firstChunk)
	var total int64
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			if err := in.send(buffer[:n], false); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if n == len(buffer) && n < stdinChunk {
			buffer = make([]byte, 2*n)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Close lets the command see the end of its input. It is idempotent.
func (in *input) Close() error {
	if err := in.send(nil, true); !errors.Is(err, ErrProcessDone) {
		return err
	}
	return nil
}

func (in *input) send(data []byte, eof bool) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return ErrProcessDone
	}
	p := in.process
	message := pb.TaskExecStdinWriteRequest_builder{
		TaskId: p.task.id,
		ExecId: p.id,
		Offset: in.offset,
		Data:   data,
		Eof:    eof,
	}.Build()
	unread, taken := false, false
	attempt := p.attempt("write input")
	var err error
	for err == nil && !unread && !taken {
		err = attempt.do(p.life, func(ctx context.Context, router pb.TaskCommandRouterClient) error {
			patience := p.sandbox.client.patience.Poll
			fits := in.offset+uint64(len(data)) <= pipeSize // also into one that nobody reads
			switch {
			case fits:
				patience = p.sandbox.client.patience.Answer
			case in.prompt:
				patience = p.sandbox.client.patience.Image
			}
			tryCtx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			_, err := router.TaskExecStdinWrite(tryCtx, message)
			switch {
			case gone(err):
				unread = true // the command has ended; Wait says how
				return nil
			case err != nil && tryCtx.Err() != nil && ctx.Err() == nil && (fits || in.prompt):
				return noAnswer("TaskExecStdinWrite", patience)
			case err != nil && tryCtx.Err() != nil && ctx.Err() == nil:
				return nil // the command does not read
			}
			taken = err == nil
			return err
		})
		if err == nil {
			attempt.progress()
		}
	}
	if err != nil && p.result.Load() == nil {
		return err
	}
	unread = unread || err != nil // cut short by the command's end
	in.offset += uint64(len(data))
	in.closed = eof || unread
	if unread {
		return ErrProcessDone
	}
	return nil
}
