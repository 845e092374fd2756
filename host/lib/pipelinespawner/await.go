package pipelinespawner

import (
	"context"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

// Await returns what came of a run that was started here, or that the registry knows.
func (s *Spawner) Await(ctx context.Context, tenant, run string) (*Outcome, error) {
	s.mu.Lock()
	c := s.children[run]
	s.mu.Unlock()
	if c != nil {
		select {
		case <-c.done:
			return c.outcome, nil
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		}
	}
	return s.elsewhere(ctx, tenant, run)
}

// elsewhere waits for what came of a run by the registry.
func (s *Spawner) elsewhere(ctx context.Context, tenant, run string) (*Outcome, error) {
	p, err := s.known(ctx, tenant, run)
	if err != nil {
		return nil, err
	}
	o := &Outcome{Status: p.Status, Labels: p.Labels}
	if p.Error != nil {
		o.Err = p.Error
	}
	switch {
	case p.Status == processregistry.Lost:
		o.Err = &kernel.Error{Code: kernel.CodeUnavailable, What: "the run is lost", Where: kernel.Where{Run: run}, Why: "its host has died", Fix: "start it anew; durable runs are recovered: hexdag resume --crashed"}
	case p.Omitted && o.Err == nil:
		o.Err = &kernel.Error{Code: kernel.CodeLimit, What: "what came of the run is not kept", Where: kernel.Where{Run: run}, Why: fmt.Sprintf("it is secret, or larger than %d bytes", processregistry.MaxOutput), Fix: "await it while the run that has started it is under way, or have it store an artifact"}
	case len(p.Output) > 0:
		o.Output, err = kernel.DecodeJSON(p.Output)
	}
	return o, err
}

// known waits for what came of a run. Of one that seems lost its journal knows whether another host goes on with it, or did.
func (s *Spawner) known(ctx context.Context, tenant, run string) (*processregistry.Process, error) {
	for {
		p, err := s.registry.Wait(ctx, tenant, run)
		if err != nil || p.Status != processregistry.Lost || s.opts.Recorded == nil {
			return p, err
		}
		now, err := s.opts.Recorded(ctx, tenant, run)
		switch {
		case err != nil:
			return nil, err
		case now == nil || now.Status == processregistry.Lost:
			return p, nil
		case now.Status != processregistry.Running:
			return now, nil
		}
		select {
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		case <-time.After(recheck):
		}
	}
}

// leads reports whether a run has led to another: that one's parent, or the parent of that.
func (s *Spawner) leads(run, to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for to != "" && to != run {
		c := s.children[to]
		if c == nil {
			return false
		}
		to = c.parent
	}
	return to == run
}
