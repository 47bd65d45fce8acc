package modalclient_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// TestUnwrap runs on every system: what Exec sends is undone without a shell.
func TestUnwrap(t *testing.T) {
	type seen struct {
		command modalclient.Launched
		input   string
	}
	commands := make(chan seen, 1)
	w := newWorld(t, scripted.New(func(_ context.Context, e scripted.Exec) scripted.Result {
		command, err := modalclient.Unwrap(e.Args, e.Stdin)
		if err != nil {
			return scripted.Result{Code: 125}
		}
		input, _ := io.ReadAll(command.Stdin)
		commands <- seen{command, string(input)}
		return scripted.Result{}
	}))
	s := w.sandbox(t)
	long := make([]string, 0, 40)
	for i := range 40 {
		long = append(long, strings.Repeat("line\n", i), strings.Repeat("x", 4000+i*10))
	}
	for name, c := range map[string]modalclient.ExecSpec{
		"plain":       {Args: []string{"echo", "a b", "", "c\n"}},
		"stdin":       {Args: []string{"cat"}, Stdin: true},
		"environment": {Args: []string{"env"}, Env: map[string]string{"A": "1\n2\n", "B": "", "C": strings.Repeat("y\n", 9000)}, Stdin: true},
		"long":        {Args: long[1:]},
		"not UTF-8":   {Args: []string{"echo", "\xff"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := s.Exec(t.Context(), c)
			require.NoError(t, err)
			want := ""
			if c.Stdin {
				want = "some\x00input\n"
				_, err := io.WriteString(p.Stdin, want)
				require.NoError(t, err)
				require.NoError(t, p.Stdin.Close())
			}
			got := <-commands
			assert.Equal(t, c.Args, got.command.Args)
			assert.Equal(t, want, got.input)
			assert.NotEmpty(t, got.command.Mark)
			for name, value := range c.Env {
				assert.Equal(t, value, got.command.Env[name])
			}
			_, _, err = p.Wait(t.Context())
			require.NoError(t, err)
		})
	}
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"victim"}})
	require.NoError(t, err)
	victim := <-commands
	require.NoError(t, p.Kill(t.Context()))
	killer := <-commands
	mark, found := modalclient.KillTarget(killer.command.Args)
	assert.True(t, found)
	assert.Equal(t, victim.command.Mark, mark)
	_, found = modalclient.KillTarget(victim.command.Args)
	assert.False(t, found)

	plain, err := modalclient.Unwrap([]string{"echo"}, strings.NewReader("x"))
	require.NoError(t, err)
	assert.Equal(t, []string{"echo"}, plain.Args)
}
