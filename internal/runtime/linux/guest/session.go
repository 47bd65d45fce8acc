//go:build linux

package guest

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
)

const (
	// someEnded is how many commands end before it is looked which of them have
	// left nothing behind.
	someEnded = 64
	// mostEnded is how many are known that have: each costs a descriptor. What
	// the oldest ones left then ends with the sandbox.
	mostEnded = 256
)

// sessions are the commands that the host may still signal: those that run, and
// those that have ended and may have left processes.
type sessions struct {
	places places

	mu    sync.Mutex
	known map[int]*process // by the number that the host knows
	ended []int            // of these, the oldest first
	last  int
}

func newSessions(p places) *sessions {
	return &sessions{places: p, known: map[int]*process{}}
}

func (s *sessions) remember(p *process) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.known[s.last] = p
	return s.last
}

// hold finds a command that is not forgotten until it is let go. It returns nil
// for one of which nothing is left.
func (s *sessions) hold(number int) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.known[number]
	if p != nil {
		p.held++
	}
	return p
}

func (s *sessions) letGo(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.held--
}

// end is for a command whose first process has ended.
func (s *sessions) end(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, number)
	if len(s.ended)%someEnded == 0 {
		s.forget()
	}
}

// forget drops the commands of which nothing is left.
func (s *sessions) forget() {
	left := map[string]bool{}
	_, err := s.places.processes(func(pid string) bool {
		link, err := s.places.markOf(pid)
		left[link] = err == nil
		return false
	})
	if err != nil {
		return // later
	}
	excess := len(s.ended) - mostEnded
	s.ended = slices.DeleteFunc(s.ended, func(number int) bool {
		p := s.known[number]
		excess--
		if p.held > 0 || left[p.mark.link] && excess < 0 {
			return false
		}
		p.mark.release()
		delete(s.known, number)
		return true
	})
}

// sessionMembers lists the living processes of a session.
func (p places) sessionMembers(session int) ([]int, error) {
	return p.processes(func(pid string) bool {
		stat, err := p.proc.ReadFile(pid+"/stat", maxTable)
		if err != nil {
			return false // ended
		}
		// "pid (name) state ppid pgrp session": the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 4 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
			return false
		}
		s, err := strconv.Atoi(string(fields[3]))
		return err == nil && s == session
	})
}
