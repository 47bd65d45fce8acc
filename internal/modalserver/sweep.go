package modalserver

import (
	"context"
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
		sb.sweepExecs(now)
	}
	s.sweepVolumes(now)
}

func (b *sandbox) sweepExecs(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.execs {
		select {
		case <-e.done:
		default:
			continue
		}
		if now.Sub(e.ended) > execMemory {
			e.release()
			delete(b.execs, id)
		}
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
