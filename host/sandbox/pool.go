package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/kernel"
)

// Isolation says what of a guest's state one call can leave to the next.
type Isolation string

// The isolations. Call is the default.
const (
	IsolateCall Isolation = "call"   // nothing: the instance is put back after every call
	IsolateRun  Isolation = "run"    // everything, within one run
	Shared      Isolation = "shared" // everything, to anybody's next call: for trusted modules
)

// Known reports whether there is such an isolation; "" means call.
func (i Isolation) Known() bool {
	return i == "" || i == IsolateCall || i == IsolateRun || i == Shared
}

// Keeps reports whether one call can leave something to the next.
func (i Isolation) Keeps() bool { return i == IsolateRun || i == Shared }

// pool keeps a module's instances. Its gate bounds how many there are and how
// many calls wait for one.
type pool struct {
	gate  *gate
	image atomic.Pointer[image]
	spare atomic.Pointer[instance] // one more of idle, without the lock

	mu     sync.Mutex
	idle   []*instance
	runs   map[string]*runInstance
	closed bool
}

// runInstance is the instance of one run; its calls take turns.
type runInstance struct {
	turn     chan struct{}
	instance *instance
}

func newPool(limits Limits) *pool {
	return &pool{gate: newGate(limits.Instances, limits.Waiting), runs: map[string]*runInstance{}}
}

// maxIdle is how many instances wait for calls; more are closed.
const maxIdle = 8

// enter admits a call, and refuses it where too many wait or the module is closed. As with
// a tenant's, a call on behalf of a guest does not wait: one of its callers may have the place.
func (m *Module) enter(ctx context.Context) error {
	err := m.pool.gate.enter(ctx, onBehalfOfAGuest)
	switch {
	case errors.Is(err, errGateClosed):
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the module is closed", Where: kernel.Where{Module: m.ID()}, Fix: "load it again"}
	case errors.Is(err, errGateFull):
		return &kernel.Error{Code: kernel.CodeLimit, What: "too many calls of the module wait", Where: kernel.Where{Module: m.ID()},
			Why: fmt.Sprintf("limits.instances is %d, limits.waiting %d, and both are used up", m.limits.Instances, m.limits.Waiting), Fix: "raise them, or call less at once"}
	}
	return err
}

// take returns an instance that nobody has used since it was put back, or a new
// one. Where making one fails, out tells what it used.
func (m *Module) take(ctx context.Context, out *Outcome) (*instance, error) {
	p := m.pool
	if i := p.spare.Load(); i != nil && p.spare.CompareAndSwap(i, nil) {
		return i, nil
	}
	if i := p.pop(); i != nil {
		return i, nil
	}
	return m.fresh(ctx, p.image.Load(), out)
}

func (p *pool) pop() *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	i := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return i
}

// push keeps an instance for the next call, unless there are enough.
func (p *pool) push(i *instance) bool {
	if p.spare.CompareAndSwap(nil, i) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		return false
	}
	p.idle = append(p.idle, i)
	return true
}

// fresh makes an instance: from the image, or, where there is none yet or it
// would not be all of the state, by running _initialize.
func (m *Module) fresh(ctx context.Context, img *image, out *Outcome) (*instance, error) {
	i, err := m.instantiate(ctx, out)
	if err != nil {
		return nil, err
	}
	if img != nil {
		if err = i.adopt(img); err == nil {
			return i, nil
		}
	} else if err = i.initialize(ctx); err == nil && m.resettable {
		if img, err = m.keepImage(i); err == nil {
			err = i.adopt(img)
		}
	}
	if err != nil {
		out.Usage = i.state.usage
		i.close(ctx)
		return nil, err
	}
	return i, nil
}

// keepImage makes the module's image from its first instance. Two calls may both
// be first; equal modules have equal images, so either will do.
func (m *Module) keepImage(i *instance) (*image, error) {
	img, err := i.capture()
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: "the module's image cannot be kept", Where: kernel.Where{Module: m.ID()}, Why: err.Error(), Fix: "see the reason", Err: err}
	}
	if !m.pool.image.CompareAndSwap(nil, img) {
		img.file.close()
	}
	return m.pool.image.Load(), nil
}

// give takes an instance back after a call that ended with a verdict: put back
// and kept for the next call, or closed.
func (m *Module) give(ctx context.Context, i *instance, reset bool) {
	p := m.pool
	keep := true
	if reset {
		img := p.image.Load()
		keep = img != nil && i.reset(img) == nil
	}
	if !keep || !p.push(i) {
		i.close(ctx)
	}
}

// ofRun returns what there is of a run; its instance is made by the first who has the turn.
func (p *pool) ofRun(run string) *runInstance {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.runs[run]
	if !ok {
		r = &runInstance{turn: make(chan struct{}, 1)}
		p.runs[run] = r
	}
	return r
}

// EndRun closes the instance that the module keeps for a run, if it keeps one.
// No call of the run may be under way.
func (m *Module) EndRun(ctx context.Context, run string) {
	p := m.pool
	p.mu.Lock()
	r := p.runs[run]
	delete(p.runs, run)
	p.mu.Unlock()
	if r != nil && r.instance != nil {
		r.instance.close(ctx)
	}
}

// drain refuses new calls, waits for those under way, and closes the instances.
func (p *pool) drain(ctx context.Context) {
	p.gate.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if i := p.spare.Swap(nil); i != nil {
		i.close(ctx)
	}
	for _, i := range p.idle {
		i.close(ctx)
	}
	for _, r := range p.runs {
		if r.instance != nil {
			r.instance.close(ctx)
		}
	}
	p.idle, p.runs = nil, map[string]*runInstance{}
	if img := p.image.Swap(nil); img != nil {
		img.file.close()
	}
}
