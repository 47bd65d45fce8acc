package modalclient

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"golang.org/x/sync/errgroup"
)

const logPoll = 55 * time.Second // one stream of log entries lasts at most this long

// Logs yields both outputs of the sandbox's own command from their beginning
// until the sandbox ends or ctx does.
func (s *Sandbox) Logs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.client.life, cancel)()
		chunks := make(chan string)
		group, groupCtx := errgroup.WithContext(ctx)
		for _, fd := range []pb.FileDescriptor{pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT, pb.FileDescriptor_FILE_DESCRIPTOR_STDERR} {
			group.Go(func() error { return s.follow(groupCtx, fd, chunks) })
		}
		var err error
		go func() {
			defer close(chunks)
			err = group.Wait()
		}()
		for chunk := range chunks {
			if !yield(chunk, nil) {
				cancel()
				for range chunks { // until the group has ended
				}
				return
			}
		}
		if err != nil {
			yield("", failure(ctx, "read logs of sandbox "+s.id, err))
		}
	}
}

// Output is what the sandbox's own command prints to stdout, from its
// beginning until the sandbox ends or ctx does. Close ends it sooner.
func (s *Sandbox) Output(ctx context.Context) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(s.life, cancel)
	chunks := make(chan string)
	reader, writer := io.Pipe()
	var err error
	go func() {
		defer close(chunks)
		err = s.follow(ctx, pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT, chunks)
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer detach()
		for chunk := range chunks {
			if _, closed := io.WriteString(writer, chunk); closed != nil {
				cancel()
			}
		}
		_ = writer.CloseWithError(failure(ctx, "read output of sandbox "+s.id, err)) // never fails
	}()
	return &sandboxOutput{PipeReader: reader, cancel: cancel, ended: ended}
}

type sandboxOutput struct {
	*io.PipeReader
	cancel context.CancelFunc
	ended  <-chan struct{}
}

func (o *sandboxOutput) Close() error {
	o.cancel()
	err := o.PipeReader.Close()
	<-o.ended
	return err
}

// Send gives the sandbox's own command all that it will ever find on stdin.
func (s *Sandbox) Send(ctx context.Context, data []byte) error {
	_, err := s.client.api.SandboxStdinWrite(ctx, pb.SandboxStdinWriteRequest_builder{
		SandboxId: s.id, Input: data, Index: 1, Eof: true,
	}.Build())
	return failure(ctx, "send input to sandbox "+s.id, err)
}

// follow reads one of the two streams over as many calls as it takes.
func (s *Sandbox) follow(ctx context.Context, fd pb.FileDescriptor, chunks chan<- string) error {
	entry, row := "0-0", s.client.outage("SandboxGetLogs")
	for {
		stream, err := s.client.api.SandboxGetLogs(ctx, pb.SandboxGetLogsRequest_builder{
			SandboxId:      s.id,
			FileDescriptor: fd,
			Timeout:        float32(logPoll.Seconds()),
			LastEntryId:    entry,
		}.Build())
		for err == nil {
			var batch *pb.TaskLogsBatch
			if batch, err = stream.Recv(); err != nil {
				break
			}
			row.over()
			if batch.GetEntryId() != "" {
				entry = batch.GetEntryId()
			}
			for _, item := range batch.GetItems() {
				select {
				case chunks <- item.GetData():
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			if batch.GetEof() {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			row.over()
			continue
		}
		if transient(err) {
			err = row.failed(ctx, err)
		}
		if err != nil {
			return err
		}
	}
}
