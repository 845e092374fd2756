package mcpserver

import (
	"fmt"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
)

// slots are the calls that may be under way at once. A principal has at most as many as are left for all others, so that one alone has half
// of them, two greedy ones a third each, and whoever has none finds some.
type slots struct {
	mu   sync.Mutex
	left int // of maxCalls
	of   map[string]int
}

func newSlots() *slots { return &slots{left: maxCalls, of: map[string]int{}} }

// take takes a slot for a principal, who gives it back. Errors are of CodeLimit.
func (s *slots) take(principal string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if has := s.of[principal]; has >= s.left {
		return &kernel.Error{Code: kernel.CodeLimit, What: "too many calls are under way", Why: fmt.Sprintf("%d of them are yours; of %d in all, one principal has at most as many as are left for the others", has, maxCalls), Fix: "call again when some have ended"}
	}
	s.of[principal]++
	s.left--
	return nil
}

func (s *slots) give(principal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left++
	if s.of[principal]--; s.of[principal] == 0 {
		delete(s.of, principal)
	}
}
