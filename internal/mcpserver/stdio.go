package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// streams is MCP over two streams, one message a line. A line that is no
// message gets an error as its answer, and the next line is read: whoever
// starts a server may have its own output, or a half-written line, in between.
type streams struct {
	in  io.Reader
	out io.Writer
}

// Connect begins to read.
func (s streams) Connect(context.Context) (mcp.Connection, error) {
	c := &lines{out: s.out, read: make(chan line), closed: make(chan struct{})}
	go c.receive(bufio.NewReaderSize(s.in, 64<<10)) // ends with the stream: a read cannot be broken off
	return c, nil
}

// line is a message, or the end of the stream.
type line struct {
	message jsonrpc.Message
	err     error
}

type lines struct {
	out    io.Writer
	write  sync.Mutex
	read   chan line
	once   sync.Once
	closed chan struct{}
}

func (c *lines) SessionID() string { return "" }

func (c *lines) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *lines) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case next := <-c.read:
		return next.message, next.err
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *lines) Write(ctx context.Context, message jsonrpc.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := jsonrpc.EncodeMessage(message)
	if err != nil {
		return err
	}
	return c.send(data)
}

func (c *lines) send(data []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	_, err := c.out.Write(append(data, '\n'))
	return err
}

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	errLongLine   = fmt.Errorf("the line has more than %d MiB", maxRequest>>20)
)

func (c *lines) receive(in *bufio.Reader) {
	for {
		data, err := readLine(in)
		if errors.Is(err, errLongLine) {
			err, data = c.refuse(jsonrpc.CodeParseError, err), nil
		}
		data = bytes.TrimSpace(bytes.ReplaceAll(bytes.TrimSpace(data), byteOrderMark, nil))
		if len(data) > 0 {
			if !c.take(data) {
				return
			}
		}
		if err != nil {
			c.give(line{err: err})
			return
		}
	}
}

// take passes a message on, or each one of a batch. False says that the
// connection was closed.
func (c *lines) take(data []byte) bool {
	var batch []json.RawMessage
	if data[0] != '[' || json.Unmarshal(data, &batch) != nil {
		batch = []json.RawMessage{data}
	}
	if len(batch) == 0 {
		return c.refuse(jsonrpc.CodeParseError, errors.New("an empty batch")) == nil
	}
	for _, one := range batch {
		message, err := decodeMessage(one)
		if err != nil {
			code := jsonrpc.CodeInvalidRequest
			if !json.Valid(one) {
				code = jsonrpc.CodeParseError
			}
			if c.refuse(int64(code), err) != nil {
				return false
			}
			continue
		}
		if !c.give(line{message: message}) {
			return false
		}
	}
	return true
}

func decodeMessage(data []byte) (jsonrpc.Message, error) {
	if !json.Valid(data) {
		return nil, errors.New("not JSON")
	}
	return jsonrpc.DecodeMessage(data)
}

func (c *lines) give(next line) bool {
	select {
	case c.read <- next:
		return true
	case <-c.closed:
		return false
	}
}

// refuse answers a line that is no message, and so has no ID that could be believed.
func (c *lines) refuse(code int64, why error) error {
	data, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": code, "message": why.Error()},
	})
	if err != nil {
		return err
	}
	return c.send(data)
}

// readLine reads a line of any length, and drops one that is too long.
func readLine(in *bufio.Reader) ([]byte, error) {
	var data []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(data)+len(part) > maxRequest; long {
			data = nil
		} else {
			data = append(data, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil && long {
			err = errLongLine
		}
		return data, err
	}
}
