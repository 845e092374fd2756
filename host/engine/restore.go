package engine

import (
	"encoding/json"
	"errors"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// pause is what a node that waits goes on with, as the journal keeps it.
type pause struct {
	Waits    []Wait       `json:"waits"`
	Setup    kernel.Value `json:"setup,omitempty"`
	Progress *Progress    `json:"progress,omitempty"`
}

// note takes down what became of a node.
func (g *graph) note(e ended, state journal.State, s *suspension) {
	if e.lane == nil {
		return
	}
	entry := journal.Entry{State: state, Value: e.output, Labels: e.labels, Cached: e.cached, Reads: g.r.context.ArtifactsRead(e.node.Name)}
	switch {
	case s != nil:
		text, err := json.Marshal(pause{s.waits, s.setup, s.progress})
		if err != nil { // then it cannot be kept to go on with, either
			text = nil
		}
		entry.Pause = text
	case state == journal.Failed:
		var failed *kernel.Error
		errors.As(e.err, &failed)
		entry.Value, entry.Failed = nil, failed
	}
	e.lane.Done(entry)
}

// restore takes what became of a node before the run's host died, and reports whether there was anything.
func (g *graph) restore(n *pipeline.Node) bool {
	if g.lane == nil {
		return false
	}
	was := g.lane.Inner(n.Name).Restored()
	if was == nil {
		return false
	}
	for _, id := range was.Reads {
		g.r.context.ReadArtifact(n.Name, id)
	}
	switch was.State {
	case journal.Waiting:
		var p pause
		if kernel.UnmarshalStrict(was.Pause, &p) != nil {
			return false // it comes to its wait again
		}
		g.wait(n, &suspension{waits: p.Waits, setup: p.Setup, progress: p.Progress})
		g.label(n.Index, was.Labels)
		return true
	case journal.Failed:
		g.failures = append(g.failures, nodeFailure{n, was.Failed})
		return true
	case journal.Skipped:
		g.state[n.Index] = skipped
	default:
		g.state[n.Index] = finished
		g.noteCached(ended{node: n, cached: was.Cached})
	}
	delete(g.progress, n.Name)
	g.settle(n, was.Value, was.Labels)
	return true
}
