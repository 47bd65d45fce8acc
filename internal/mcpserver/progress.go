package mcpserver

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// outputInterval is the shortest time between two reports of output.
	outputInterval = 200 * time.Millisecond
	// heartbeat is the longest time without a report: clients give up on calls
	// they hear nothing of.
	heartbeat = 5 * time.Second
	// maxMessage bounds the output in one report, in bytes.
	maxMessage = 2000
)

// progress reports what a long call prints, if its client asked for reports.
type progress struct {
	request *mcp.CallToolRequest
	token   any
	wake    chan struct{}
	done    chan struct{}
	over    sync.WaitGroup

	mu      sync.Mutex
	pending strings.Builder
}

func watch(ctx context.Context, request *mcp.CallToolRequest) *progress {
	p := &progress{request: request, token: request.Params.GetProgressToken(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	if p.token != nil {
		p.over.Go(func() { p.report(ctx) })
	}
	return p
}

// output takes text as it is printed.
func (p *progress) output(text string) {
	if p.token == nil || text == "" {
		return
	}
	p.mu.Lock()
	if p.pending.Len() < maxMessage {
		p.pending.WriteString(text)
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// stop ends the reports; the result of the call comes after all of them.
func (p *progress) stop() {
	close(p.done)
	p.over.Wait()
}

func (p *progress) report(ctx context.Context) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for count := 1.0; ; count++ {
		select {
		case <-p.done:
			return
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-beat.C:
		}
		params := &mcp.ProgressNotificationParams{ProgressToken: p.token, Progress: count, Message: p.take()}
		if p.request.Session.NotifyProgress(ctx, params) != nil {
			return // the client is gone
		}
		beat.Reset(heartbeat)
		pause.Reset(outputInterval)
		select {
		case <-p.done:
			return
		case <-pause.C:
		}
	}
}

func (p *progress) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.pending.String()
	p.pending.Reset()
	return strings.ToValidUTF8(text[:min(len(text), maxMessage)], "")
}
