package modalserver

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	modal "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestExec(t *testing.T) {
	sb := start(t, dial(t, serve(t, Config{})), nil)
	for _, test := range []struct {
		name           string
		command        []string
		stdin          string
		stdout, stderr string
		code           int
	}{
		{name: "stdout", command: []string{"echo", "a", "b"}, stdout: "a b\n"},
		{name: "stderr", command: []string{"warn", "careful"}, stderr: "careful\n"},
		{name: "stdin", command: []string{"cat"}, stdin: "line\x00binary\xff", stdout: "line\x00binary\xff"},
		{name: "exit code", command: []string{"exit", "42"}, code: 42},
		{name: "signal", command: []string{"suicide"}, code: 137},
		{name: "no output", command: []string{"bytes", "0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := sb.Exec(t.Context(), test.command, nil)
			require.NoError(t, err)
			if test.stdin != "" {
				_, err = io.WriteString(p.Stdin, test.stdin)
				require.NoError(t, err)
				require.NoError(t, p.Stdin.Close())
			}
			stdout, err := io.ReadAll(p.Stdout)
			require.NoError(t, err)
			stderr, err := io.ReadAll(p.Stderr)
			require.NoError(t, err)
			code, err := p.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.stdout, string(stdout))
			assert.Equal(t, test.stderr, string(stderr))
			assert.Equal(t, test.code, code)
		})
	}
}

func TestExecEnvironment(t *testing.T) {
	client := dial(t, serve(t, Config{Secrets: map[string]map[string]string{"named": {"A": "from the secret", "B": "2"}}}))
	secret, err := client.Secrets.FromName(t.Context(), "named", nil)
	require.NoError(t, err)
	sb := start(t, client, &modal.SandboxCreateParams{Secrets: []*modal.Secret{secret}})
	p, err := sb.Exec(t.Context(), []string{"env"}, &modal.SandboxExecParams{Env: map[string]string{"A": "from the exec"}})
	require.NoError(t, err)
	out, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	assert.Equal(t, "A=from the secret\nB=2\nA=from the exec\n", string(out))
}

func TestManyExecsWithMuchOutput(t *testing.T) {
	const size, execs = 3<<20 + 17, 16
	sb := start(t, dial(t, serve(t, Config{StateDir: t.TempDir()})), nil)
	_, err := sb.Exec(t.Context(), []string{"echo"}, nil) // the client's own first exec is not safe for concurrent use
	require.NoError(t, err)
	var all errgroup.Group
	for range execs {
		all.Go(func() error {
			p, err := sb.Exec(t.Context(), []string{"bytes", strconv.Itoa(size)}, nil)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(p.Stdout)
			assert.Len(t, got, size)
			return err
		})
	}
	require.NoError(t, all.Wait())
}

// Clients that lose the connection go on where they were, also after the end.
func TestOutputCanBeReadFromAnyOffsetAfterTheEnd(t *testing.T) {
	const size = 1<<20 + 5000
	server := serve(t, Config{StateDir: t.TempDir()})
	ctx, task := router(t, server, start(t, dial(t, server), nil).SandboxID)
	_, stub := stubs(t, server)
	request := pb.TaskExecStartRequest_builder{
		TaskId: task, ExecId: "one",
		CommandArgs:  []string{"bytes", strconv.Itoa(size)},
		StdoutConfig: pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_PIPE,
	}.Build()
	for range 2 { // a repeated start is one start
		_, err := stub.TaskExecStart(ctx, request)
		require.NoError(t, err)
	}
	exit, err := stub.TaskExecWait(ctx, pb.TaskExecWaitRequest_builder{TaskId: task, ExecId: "one"}.Build())
	require.NoError(t, err)
	assert.True(t, exit.HasCode())
	var whole []byte
	for _, offset := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 1 << 20, size - 1, size} {
		stream, err := stub.TaskExecStdioRead(ctx, pb.TaskExecStdioReadRequest_builder{TaskId: task, ExecId: "one", Offset: uint64(offset)}.Build())
		require.NoError(t, err)
		var got []byte
		for {
			message, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.NotEmpty(t, message.GetData())
			got = append(got, message.GetData()...)
		}
		if offset == 0 {
			whole = got
			require.Len(t, whole, size)
		}
		assert.True(t, bytes.Equal(whole[offset:], got), "from %d", offset)
	}
}

func TestRepeatedInputArrivesOnce(t *testing.T) {
	server := serve(t, Config{})
	ctx, task := router(t, server, start(t, dial(t, server), nil).SandboxID)
	_, stub := stubs(t, server)
	_, err := stub.TaskExecStart(ctx, pb.TaskExecStartRequest_builder{
		TaskId: task, ExecId: "one", CommandArgs: []string{"cat"},
		StdoutConfig: pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_PIPE,
	}.Build())
	require.NoError(t, err)
	write := func(offset int, data string, eof bool) error {
		_, err := stub.TaskExecStdinWrite(ctx, pb.TaskExecStdinWriteRequest_builder{
			TaskId: task, ExecId: "one", Offset: uint64(offset), Data: []byte(data), Eof: eof,
		}.Build())
		return err
	}
	require.NoError(t, write(0, "hello ", false))
	require.NoError(t, write(0, "hello ", false))
	require.NoError(t, write(3, "lo world", false))
	assert.Equal(t, codes.OutOfRange, status.Code(write(100, "gap", false)))
	require.NoError(t, write(11, "", true))
	require.NoError(t, write(11, "", true))
	stream, err := stub.TaskExecStdioRead(ctx, pb.TaskExecStdioReadRequest_builder{TaskId: task, ExecId: "one"}.Build())
	require.NoError(t, err)
	var got []byte
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		got = append(got, message.GetData()...)
	}
	assert.Equal(t, "hello world", string(got))
}

func TestExecTimeoutKillsAfterTheClientsDeadline(t *testing.T) {
	sb := start(t, dial(t, serve(t, Config{})), nil)
	p, err := sb.Exec(t.Context(), []string{"hang"}, &modal.SandboxExecParams{Timeout: time.Second})
	require.NoError(t, err)
	_, err = io.ReadAll(p.Stdout)
	var timeout modal.ExecTimeoutError
	require.ErrorAs(t, err, &timeout, "the output must not end before the client gives up on it")

	p, err = sb.Exec(t.Context(), []string{"hang"}, &modal.SandboxExecParams{Timeout: time.Second})
	require.NoError(t, err)
	code, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 137, code)
}

// No exit code is made up for a command whose sandbox ended under it.
func TestSandboxThatEndsUnderAnExec(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	sb := start(t, client, nil)
	ctx, task := router(t, server, sb.SandboxID)
	_, stub := stubs(t, server)
	_, err := stub.TaskExecStart(ctx, pb.TaskExecStartRequest_builder{
		TaskId: task, ExecId: "one", CommandArgs: []string{"hang"},
		StdoutConfig: pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_PIPE,
	}.Build())
	require.NoError(t, err)
	var waiting errgroup.Group
	waiting.Go(func() error {
		_, err := stub.TaskExecWait(ctx, pb.TaskExecWaitRequest_builder{TaskId: task, ExecId: "one"}.Build())
		return err
	})
	stream, err := stub.TaskExecStdioRead(ctx, pb.TaskExecStdioReadRequest_builder{TaskId: task, ExecId: "one"}.Build())
	require.NoError(t, err)
	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	_, readErr := stream.Recv()
	_, startErr := stub.TaskExecStart(ctx, pb.TaskExecStartRequest_builder{TaskId: task, ExecId: "two", CommandArgs: []string{"echo"}}.Build())
	for name, err := range map[string]error{"wait": waiting.Wait(), "read": readErr, "start": startErr} {
		assert.Equal(t, codes.FailedPrecondition, status.Code(err), "%s: %v", name, err)
		assert.ErrorContains(t, err, "reason=terminated", name)
	}
}

func TestFinishedExecsAreForgottenInTime(t *testing.T) {
	server := serve(t, Config{})
	ctx, task := router(t, server, start(t, dial(t, server), nil).SandboxID)
	_, stub := stubs(t, server)
	_, err := stub.TaskExecStart(ctx, pb.TaskExecStartRequest_builder{TaskId: task, ExecId: "one", CommandArgs: []string{"echo"}}.Build())
	require.NoError(t, err)
	wait := func() error {
		_, err := stub.TaskExecWait(ctx, pb.TaskExecWaitRequest_builder{TaskId: task, ExecId: "one"}.Build())
		return err
	}
	require.NoError(t, wait())
	server.sweep(time.Now())
	require.NoError(t, wait())
	server.sweep(time.Now().Add(2 * execMemory))
	assert.Equal(t, codes.NotFound, status.Code(wait()))
}
