package engine

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Progress is how far a node had come when it had to wait for something inside. The
// members that do not apply to its kind are empty.
type Progress struct {
	Input  kernel.Value   `json:"input"` // what it was given, as its hooks left it
	Labels *kernel.Labels `json:"labels,omitempty"`
	// Steps are what the module that waits has done: the node's function, or the tool
	// that an agent calls.
	Steps []kernel.Step `json:"steps,omitempty"`
	Turns []Turn        `json:"turns,omitempty"` // of an agent
	Begun bool          `json:"begun,omitempty"` // it waits inside of a tool

	Given  *kernel.Labels        `json:"given_labels,omitempty"` // of a composite: what its bodies are given carries these
	Branch *int                  `json:"branch,omitempty"`       // of an if or a switch; -1 is none
	State  map[string]any        `json:"state,omitempty"`        // of a while, before the iteration that waits
	Bodies map[int]*BodyProgress `json:"bodies,omitempty"`       // of a composite, by their iterations
}

// Turn is a step of an agent that is over: what its model answered, or what came of a
// call of a tool. The labels of all of them are the progress's.
type Turn struct {
	Answer *string       `json:"answer,omitempty"`
	Calls  []any         `json:"calls,omitempty"` // of the answer
	Tool   string        `json:"tool,omitempty"`
	Value  kernel.Value  `json:"value,omitempty"`
	Failed *kernel.Error `json:"failed,omitempty"`
}

// BodyProgress is how far a body had come. One that is done has a result, or has failed.
type BodyProgress struct {
	Done   bool           `json:"done,omitempty"`
	Result kernel.Value   `json:"result,omitempty"`
	Labels *kernel.Labels `json:"labels,omitempty"`
	Failed *kernel.Error  `json:"failed,omitempty"`

	Steps      []kernel.Step             `json:"steps,omitempty"` // of a function
	Nodes      map[string]kernel.Value   `json:"nodes,omitempty"` // results of its nodes that are done
	NodeLabels map[string]*kernel.Labels `json:"node_labels,omitempty"`
	Inside     map[string]*Progress      `json:"inside,omitempty"` // of its nodes that wait for something inside
	Waits      []Wait                    `json:"waits,omitempty"`  // of its wait_nodes

	waits []Wait // all that it waits for
	err   error
}

func (b *BodyProgress) paused() bool { return len(b.waits) > 0 }

// started reports whether the body had begun before its node waited.
func (b *BodyProgress) started() bool {
	return b.Done || b.Steps != nil || b.Nodes != nil || b.Inside != nil || b.Waits != nil
}

// pause notes how far a body of nodes came.
func (b *BodyProgress) pause(g *graph) {
	b.waits, b.Labels = g.waits, g.all()
	b.Nodes, b.NodeLabels, b.Inside, b.Waits = map[string]kernel.Value{}, g.labelled(), g.progress, nil
	for i, n := range g.Nodes {
		if g.state[i] == finished || g.state[i] == skipped {
			b.Nodes[n.Name] = g.results[i]
		}
	}
	for _, w := range g.waits {
		if len(w.Path) == 0 && !kernel.NeededInside(w.EventKey) {
			b.Waits = append(b.Waits, w)
		}
	}
}

// resumption is what the graph of the body goes on with.
func (b *BodyProgress) resumption() *Resumption {
	if !b.started() {
		return nil
	}
	return &Resumption{Results: b.Nodes, Labels: b.NodeLabels, Progress: b.Inside, Waits: b.Waits}
}

// before returns what the i-th body goes on from: nothing, if it has not begun.
func (c *composite) before(i int) *BodyProgress {
	if c.from == nil || c.from.Bodies[i] == nil {
		return &BodyProgress{}
	}
	one := *c.from.Bodies[i]
	if one.Failed != nil {
		one.err = one.Failed
	}
	return &one
}

// finished returns the bodies that were done before the node waited, up to the first that was not.
func (c *composite) finished() []*BodyProgress {
	var bodies []*BodyProgress
	for one := c.before(0); one.Done; one = c.before(len(bodies)) {
		bodies = append(bodies, one)
	}
	return bodies
}

// outcomes are the results and the failures of bodies.
func outcomes(bodies []*BodyProgress) (results []any, failures []error) {
	results, failures = make([]any, len(bodies)), make([]error, len(bodies))
	for i, b := range bodies {
		results[i], failures[i] = b.Result, b.err
	}
	return results, failures
}

// pause is the suspension of a composite with bodies that wait.
func (c *composite) pause(bodies []*BodyProgress) error {
	s := &suspension{progress: c.now}
	c.now.Bodies = map[int]*BodyProgress{}
	for i, b := range bodies {
		if b.err != nil {
			b.Done, b.Failed = true, failureOf(b.err)
		}
		if b.started() || b.paused() {
			c.now.Bodies[i] = b
		}
		for _, w := range b.waits {
			inner := []string{strconv.Itoa(i)}
			if w.Node != c.n.Name || len(w.Path) > 0 { // a node of the body, not the body itself
				inner = append(inner, w.Node)
			}
			w.Path, w.Node = slices.Concat(inner, w.Path), c.n.Name
			s.waits = append(s.waits, w)
		}
	}
	return s
}

func failureOf(err error) *kernel.Error {
	var e *kernel.Error
	if errors.As(err, &e) {
		return e
	}
	return &kernel.Error{Code: kernel.CodeOf(err), What: err.Error()}
}

// Answer gives what has asked the run's client the data of the event with that key, and reports whether anything has.
func (p *Progress) Answer(key string, data kernel.Value, labels *kernel.Labels) bool {
	if p == nil {
		return false
	}
	came := answerStep(p.Steps, key, data, labels)
	for _, body := range p.Bodies {
		came = answerStep(body.Steps, key, data, labels) || came
		for _, inside := range body.Inside {
			came = inside.Answer(key, data, labels) || came
		}
	}
	return came
}

func answerStep(steps []kernel.Step, key string, data kernel.Value, labels *kernel.Labels) (came bool) {
	for i := range steps {
		if steps[i].Asked == key {
			steps[i].Asked, steps[i].Value, steps[i].Labels, came = "", data, labels, true
		}
	}
	return came
}

// Deliver gives a wait_node inside of a composite the data of its event, and the data's labels.
func (p *Progress) Deliver(path []string, data kernel.Value, labels *kernel.Labels) error {
	for len(path) >= 2 && p != nil {
		i, err := strconv.Atoi(path[0])
		if err != nil || p.Bodies[i] == nil {
			break
		}
		body, node := p.Bodies[i], path[1]
		if path = path[2:]; len(path) > 0 {
			p = body.Inside[node]
			continue
		}
		body.Waits = slices.DeleteFunc(body.Waits, func(w Wait) bool { return w.Node == node })
		if body.Nodes == nil {
			body.Nodes = map[string]kernel.Value{}
		}
		body.Nodes[node] = data
		if labels != nil {
			if body.NodeLabels == nil {
				body.NodeLabels = map[string]*kernel.Labels{}
			}
			body.NodeLabels[node] = labels.Join(body.NodeLabels[node])
		}
		return nil
	}
	return fmt.Errorf("nothing waits at %s", strings.Join(path, "/"))
}
