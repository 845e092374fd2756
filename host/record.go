package host

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/moduletest"
)

// caseWriter writes the first call of each extension point as a case.
type caseWriter struct {
	write func(*extension.Trace) (file string)

	mu       sync.Mutex
	seen     map[abi.Point]bool
	problems []error
}

func (r *caseWriter) trace(ctx context.Context, t *extension.Trace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[t.Point] {
		return
	}
	if r.seen == nil {
		r.seen = map[abi.Point]bool{}
	}
	r.seen[t.Point] = true
	var started time.Time
	if run := kernel.RunFrom(ctx); run != nil {
		started = run.Started
	}
	c, err := moduletest.FromTrace(t, started)
	if err == nil {
		c.File = r.write(t)
		err = c.Write()
	}
	if err != nil {
		r.problems = append(r.problems, err)
	}
}

func (r *caseWriter) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.problems...)
}

// record returns what keeps the calls of a module as cases, if the host is to.
func (h *Host) record(module string) func(context.Context, *extension.Trace) {
	dir := h.opts.RecordCases
	if dir == "" {
		return nil
	}
	r := &caseWriter{write: func(t *extension.Trace) string {
		return filepath.Join(dir, module+"."+string(t.Point)+moduletest.Suffix)
	}}
	h.closers.add(func(context.Context) error { return r.err() }) // a case that could not be written fails no run
	return r.trace
}
