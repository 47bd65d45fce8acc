package modalserver

import (
	"context"
	"slices"
	"time"
)

const (
	sweepEvery    = time.Minute
	sandboxMemory = time.Hour // how long an ended sandbox can be asked about
)

// sweepUntilClosed forgets what nobody can want any more, so that a server that
// runs for weeks does not grow.
func (s *Server) sweepUntilClosed() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.sweep(now)
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Server) sweep(now time.Time) {
	s.calls.sweep(now)
	s.builds.sweep(now)
	s.secrets.sweep(now)
	for _, sb := range s.all() {
		if sb.over() && now.Sub(sb.finished) > sandboxMemory {
			s.forget(sb)
			sb.release()
			continue
		}
		if sb.over() && now.Sub(sb.finished) > execMemory {
			sb.release()
		}
		sb.sweepExecs(now)
	}
	s.sweepVolumes(now)
}

func (b *sandbox) sweepExecs(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.execs {
		if e.over() && now.Sub(e.ended) > execMemory {
			e.release()
			delete(b.execs, id)
		}
	}
}

// forgetExecs drops the oldest of the execs that nobody has a question about,
// so that a sandbox that runs command after command does not grow.
func (b *sandbox) forgetExecs() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var settled, ended []string
	for id, e := range b.execs {
		switch {
		case e.settled():
			settled = append(settled, id)
		case e.over():
			ended = append(ended, id)
		}
	}
	b.forgetLocked(settled, keptExecs)
	b.forgetLocked(ended, maxExecs/4)
}

// forgetLocked drops all execs but the given number of those that ended last.
func (b *sandbox) forgetLocked(ids []string, keep int) {
	if len(ids) < 2*keep { // so that it happens seldom
		return
	}
	slices.SortFunc(ids, func(x, y string) int { return b.execs[x].ended.Compare(b.execs[y].ended) })
	for _, id := range ids[:len(ids)-keep] {
		b.execs[id].release()
		delete(b.execs, id)
	}
}

func (s *Server) sweepVolumes(now time.Time) {
	s.mu.Lock()
	var dead []string
	for id, heartbeat := range s.ephemeral {
		if now.Sub(heartbeat) > ephemeralVolumeLife {
			dead = append(dead, id)
			delete(s.ephemeral, id)
		}
	}
	s.mu.Unlock()
	for _, id := range dead {
		if err := s.runtime.RemoveVolume(context.WithoutCancel(s.ctx), id); err != nil {
			s.log.WarnContext(s.ctx, "volume left behind", "volume", id, "error", err)
		}
	}
}
