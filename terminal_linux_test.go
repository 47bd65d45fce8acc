package seer_test

import (
	"bufio"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// What a person sees of two downloads in a real terminal: how far they are, how
// fast, and how long they will take.
func TestProgressOfDownloadsOnATerminal(t *testing.T) {
	screen, terminal, err := pty.Open()
	require.NoError(t, err)
	defer screen.Close()
	defer terminal.Close()
	require.NoError(t, pty.Setsize(terminal, &pty.Winsize{Rows: 30, Cols: 84}))

	const small, large = "download acme-labs/Sparrow-7B", "download acme-labs/Wren-2B"
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	report := seer.PrintProgress(terminal)
	at := func(seconds int, e seer.Event) {
		e.Time = began.Add(time.Duration(seconds) * time.Second)
		report(e)
	}
	at(0, seer.Event{Kind: seer.EventStarted, Step: small})
	at(0, seer.Event{Kind: seer.EventStarted, Step: large})
	at(2, seer.Event{Kind: seer.EventProgress, Step: small, Done: 96 << 20, Total: 512 << 20, Rate: 48 << 20, ETA: 9 * time.Second})
	at(3, seer.Event{Kind: seer.EventProgress, Step: large, Done: 1 << 30, Total: 16 << 30, Rate: 100 << 20, ETA: 157 * time.Second})
	at(4, seer.Event{Kind: seer.EventProgress, Step: small, Done: 96 << 20, Total: 512 << 20})
	at(9, seer.Event{Kind: seer.EventDone, Step: small, Text: "512.0 MiB", Elapsed: 9 * time.Second})
	at(10, seer.Event{Kind: seer.EventDone, Step: large, Text: "cached", Elapsed: 10 * time.Second})

	var lines []string
	for read := bufio.NewScanner(screen); len(lines) == 0 || !strings.Contains(lines[len(lines)-1], "cached"); {
		require.True(t, read.Scan(), "%v", read.Err())
		lines = append(lines, strings.TrimRight(read.Text(), " \r"))
	}
	const up1, up2 = "\x1b[1A\x1b[J", "\x1b[2A\x1b[J"
	assert.Equal(t, []string{
		"  download acme-labs/Sparrow-7B      0ms",
		up1 + "  download acme-labs/Sparrow-7B      0ms",
		"  download acme-labs/Wren-2B      0ms",
		up2 + "  download acme-labs/Sparrow-7B     2.0s  96.0 of 512.0 MiB, 48.0 MiB/s, 9s left",
		"  download acme-labs/Wren-2B     2.0s",
		up2 + "  download acme-labs/Sparrow-7B     3.0s  96.0 of 512.0 MiB, 48.0 MiB/s, 9s left",
		"  download acme-labs/Wren-2B     3.0s  1.0 of 16.0 GiB, 100.0 MiB/s, 2m37s left",
		up2 + "  download acme-labs/Sparrow-7B     4.0s  96.0 of 512.0 MiB", // it stalls
		"  download acme-labs/Wren-2B     4.0s  1.0 of 16.0 GiB, 100.0 MiB/s, 2m37s left",
		up2 + "  download acme-labs/Sparrow-7B     9.0s  512.0 MiB",
		"  download acme-labs/Wren-2B     9.0s  1.0 of 16.0 GiB, 100.0 MiB/s, 2m37s left",
		up1 + "  download acme-labs/Wren-2B    10.0s  cached",
	}, lines)
}
