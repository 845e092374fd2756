package host

import (
	"context"
	"sync"
	"time"
)

// pace lets so many begin within any minute, and has the rest wait in their turn.
type pace struct {
	most int

	mu    sync.Mutex
	begun []time.Time // of the last minute, and of those that wait
}

// next returns when one more may begin, and takes the place.
func (p *pace) next(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := 0
	for old < len(p.begun) && !p.begun[old].Add(time.Minute).After(now) {
		old++
	}
	p.begun = append(p.begun[:0], p.begun[old:]...)
	at := now
	if n := len(p.begun); n >= p.most {
		at = p.begun[n-p.most].Add(time.Minute)
	}
	p.begun = append(p.begun, at)
	return at
}

// giveBack gives a place back that nobody began in.
func (p *pace) giveBack(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range p.begun {
		if t.Equal(at) {
			p.begun = append(p.begun[:i], p.begun[i+1:]...)
			return
		}
	}
}

// wait returns when one more may begin, or else ctx's error.
func (p *pace) wait(ctx context.Context) error {
	at := p.next(time.Now())
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		p.giveBack(at)
		return ctx.Err()
	}
}
