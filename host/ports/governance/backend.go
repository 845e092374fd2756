package governance

import (
	"sync/atomic"

	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// backend is a driver while the port has it, and for as long after as it is asked.
type backend struct {
	driver.Driver
	revision func() string // nil where the driver cannot tell
	reads    driver.Reads
	keeps    atomic.Bool // it has said of a decision that it may be kept

	uses   atomic.Int64           // questions under way, and one while the port has it
	unused atomic.Pointer[func()] // set before the port's own use ends
}

func newBackend(d driver.Driver) *backend {
	b := &backend{Driver: d, reads: driver.ReadsOf(d)}
	if r, ok := d.(driver.Revisioner); ok {
		b.revision = r.Revision
	}
	b.uses.Store(1)
	return b
}

// revisionNow is "" where the driver cannot tell.
func (b *backend) revisionNow() string {
	if b.revision == nil {
		return ""
	}
	return b.revision()
}

// enter is false once the port has another one and no question is under way.
func (b *backend) enter() bool {
	for {
		n := b.uses.Load()
		if n == 0 {
			return false
		}
		if b.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (b *backend) leave() {
	if b.uses.Add(-1) > 0 {
		return
	}
	if unused := b.unused.Load(); unused != nil {
		(*unused)()
	}
}

// enter returns the backend that decides now, for the caller to leave.
func (p *Port) enter() *backend {
	for {
		if b := p.backend.Load(); b.enter() {
			return b
		}
	}
}

// Replace has d decide from now on. Questions under way are answered by the driver that
// they were put to; unused, if there is one, is called once the last of them is, which
// may be before Replace returns. Each decision is of one driver, has its revision, and
// is kept for that alone.
func (p *Port) Replace(d driver.Driver, unused func()) {
	old := p.backend.Swap(newBackend(d))
	if unused != nil {
		old.unused.Store(&unused)
	}
	old.leave()
}

// Revision names the rules and data that decide now, "" where the backend cannot tell.
func (p *Port) Revision() string { return p.backend.Load().revisionNow() }
