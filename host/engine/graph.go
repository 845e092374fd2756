package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// graph is the execution of one graph: a pipeline's, or a body's. Everything in it
// is touched by the goroutine of run alone.
type graph struct {
	*pipeline.Graph
	r      *run
	input  kernel.Value
	labels []*kernel.Labels // of the results; nil while none has any
	given  pipeline.Given
	// inputLabels are those of the input.
	inputLabels *kernel.Labels
	body        string        // the composite that it is a body of, for events; "" at the top
	lane        *journal.Lane // its own; nil where nothing is taken down
	at          int           // how many nodes of it run at once
	timeout     time.Duration // of nodes that name none; 0 means none

	results  []kernel.Value
	state    []nodeState
	missing  []int // how many dependencies of a node are not done
	ready    []int
	running  int
	done     int
	waves    []waveState
	waits    []Wait
	failures []nodeFailure
	progress map[string]*Progress // of the nodes that wait, and of those that go on
	cached   map[string]*kernel.Cached
}

type nodeState uint8

// The states of a node.
const (
	pending nodeState = iota
	finished
	skipped
	waiting // for an event
)

type waveState struct {
	left    int
	started time.Time
}

// graph prepares the execution of a graph.
func (r *run) graph(g *pipeline.Graph, input kernel.Value, lane *journal.Lane) *graph {
	x := &graph{
		Graph: g, r: r, input: input, lane: lane, at: r.Concurrency, timeout: r.NodeTimeout,
		results: make([]kernel.Value, len(g.Nodes)), state: make([]nodeState, len(g.Nodes)), missing: make([]int, len(g.Nodes)), waves: make([]waveState, len(g.Waves)),
	}
	for i, count := range g.Waves {
		x.waves[i].left = count
	}
	for i, n := range g.Nodes {
		if x.missing[i] = len(n.Dependencies()); x.missing[i] == 0 {
			x.ready = append(x.ready, i)
		}
	}
	x.given = pipeline.Given{Input: input, Results: x, Run: r.context}
	return x
}

// Result implements pipeline.Results.
func (g *graph) Result(name string) (kernel.Value, bool) {
	n := g.Node(name)
	if n == nil || g.state[n.Index] == pending {
		return nil, false
	}
	return g.results[n.Index], true
}

// reads returns the labels of what a node is given and of what decides that it runs.
func (g *graph) reads(n *pipeline.Node) *kernel.Labels {
	if g.labels == nil && g.inputLabels == nil {
		return nil
	}
	nodes, input := n.Reads()
	var l *kernel.Labels
	if input {
		l = g.inputLabels
	}
	return l.Join(g.joined(nodes))
}

// joined returns the labels of results together.
func (g *graph) joined(nodes []int) *kernel.Labels {
	var l *kernel.Labels
	if g.labels != nil {
		for _, i := range nodes {
			l = l.Join(g.labels[i])
		}
	}
	return l
}

func (g *graph) label(i int, l *kernel.Labels) {
	if l == nil && g.labels == nil {
		return
	}
	if g.labels == nil {
		g.labels = make([]*kernel.Labels, len(g.Nodes))
	}
	g.labels[i] = l
}

// labelled returns the labels of the results that have any, and of what failed, by node.
func (g *graph) labelled() map[string]*kernel.Labels {
	var all map[string]*kernel.Labels
	for i, l := range g.labels {
		failed := func(f nodeFailure) bool { return f.node.Index == i }
		if l == nil || g.state[i] == pending && !slices.ContainsFunc(g.failures, failed) {
			continue
		}
		if all == nil {
			all = map[string]*kernel.Labels{}
		}
		all[g.Nodes[i].Name] = l
	}
	return all
}

// values returns the results of the nodes that are done, by name.
func (g *graph) values() map[string]kernel.Value {
	values := make(map[string]kernel.Value, g.done)
	for i, n := range g.Nodes {
		if g.state[i] != pending {
			values[n.Name] = g.results[i]
		}
	}
	return values
}

// resume takes up what was done before the run was suspended.
func (g *graph) resume(from *Resumption) {
	if from == nil {
		return
	}
	ready := g.ready[:0]
	g.waits = append(g.waits, from.Waits...)
	for _, w := range from.Waits {
		if n := g.Node(w.Node); n != nil {
			g.state[n.Index] = waiting
			g.label(n.Index, from.Labels[w.Node])
		}
	}
	g.progress = maps.Clone(from.Progress)
	for _, w := range from.Expired {
		g.expire(w)
	}
	for i, n := range g.Nodes {
		if v, there := from.Results[n.Name]; there && g.state[i] == pending {
			g.results[i], g.state[i] = v, finished
			if pipeline.IsSkipped(v) {
				g.state[i] = skipped
			}
			g.label(i, from.Labels[n.Name])
			g.done++
			g.waves[n.Wave-1].left--
		}
	}
	for i, n := range g.Nodes {
		g.missing[i] = 0
		for _, d := range n.Dependencies() {
			if g.state[d] == pending || g.state[d] == waiting {
				g.missing[i]++
			}
		}
		if g.state[i] == pending && g.missing[i] == 0 {
			ready = append(ready, i)
		}
	}
	g.ready = ready
}

// expire ends a wait for which no event came in time.
func (g *graph) expire(w Wait) {
	n := g.Node(w.Node)
	if n == nil || g.state[n.Index] == finished || slices.ContainsFunc(g.failures, func(f nodeFailure) bool { return f.node == n }) {
		return
	}
	err := &kernel.Error{Code: kernel.CodeTimeout, What: "no event " + kernel.Quote(w.EventKey) + " came for node " + kernel.Quote(w.Node), Where: at(n), Why: "its timeout is " + w.Timeout.String(), Fix: "send it in time, or name a node in on_timeout"}
	if w.OnTimeout == "" && n.OnError == "" {
		g.failures = append(g.failures, nodeFailure{n, err})
		return
	}
	g.results[n.Index], g.state[n.Index] = errorValue(n, err), finished
	g.done++
	g.waves[n.Wave-1].left--
}

// ended is what the work on a node came to.
type ended struct {
	node     *pipeline.Node
	output   kernel.Value
	err      error
	duration time.Duration
	skip     string         // why it was skipped
	labels   *kernel.Labels // of what it was given, and then of its output
	from     *Progress      // what it goes on from; nil: from the start
	cached   *kernel.Cached // where its output is from; nil: it worked for it
	lane     *journal.Lane
}

// run starts nodes as they become ready until all are done or one has failed.
// Those that run when one fails are waited for, and their results kept.
func (g *graph) run(ctx context.Context) {
	var done chan ended
	var owned sync.WaitGroup
	defer owned.Wait()
	for {
		for len(g.ready) > 0 && g.running < g.at && len(g.failures) == 0 && ctx.Err() == nil {
			n := g.Nodes[g.ready[0]]
			g.ready = g.ready[1:]
			if g.restore(n) {
				continue
			}
			given, e, settled := g.prepare(ctx, n)
			if settled {
				g.unworked(ctx, e)
				g.finish(ctx, e)
				continue
			}
			// What is alone, or takes no time, needs no goroutine.
			if g.running == 0 && len(g.ready) == 0 || g.isLight(n) {
				g.finish(ctx, g.work(ctx, given, e))
				continue
			}
			if done == nil {
				done = make(chan ended, g.at)
			}
			g.running++
			owned.Go(func() {
				e := g.work(ctx, given, e)
				e.lane.Ready()
				done <- e
			})
		}
		if g.running == 0 {
			return
		}
		e := <-done
		g.running--
		g.finish(ctx, e)
	}
}

// isLight reports whether a node only computes, and not for long.
func (g *graph) isLight(n *pipeline.Node) bool {
	if len(g.r.sites[n].hooks) > 0 || n.Lock != nil || n.Cache != nil {
		return false
	}
	switch b := n.Body.(type) {
	case *pipeline.Data:
		return true
	case *pipeline.Compute:
		return b.Merge == nil || b.Merge.Reducer == nil
	}
	return false
}

// prepare decides whether a node runs, and on what. settled says that it does not.
func (g *graph) prepare(ctx context.Context, n *pipeline.Node) (given kernel.Value, e ended, settled bool) {
	e.node, e.lane = n, g.lane.Inner(n.Name)
	if w := &g.waves[n.Wave-1]; w.started.IsZero() {
		w.started = time.Now()
	}
	if p := g.progress[n.Name]; p != nil { // it goes on with what it was given
		e.labels, e.from = p.Labels, p
		return p.Input, e, false
	}
	e.labels = g.reads(n)
	if deps := n.Dependencies(); len(deps) > 0 && g.allSkipped(deps) {
		e.labels = e.labels.Join(g.joined(deps))
		e.skip, e.output = upstreamSkipped, skipValue(upstreamSkipped, true)
		e.err = criticalSkip(n, e.skip)
		return nil, e, true
	}
	if g.r.observed() {
		g.given.Warn = func(text string) {
			kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeWarned, Node: n.Name, Kind: n.Kind, Wave: n.Wave, Reason: text})
		}
	}
	g.given.Clock = e.lane.Clock()
	given, e.err = n.Prepare(&g.given)
	if e.err != nil {
		return nil, e, true
	}
	if n.When != nil && !g.holds(ctx, n, given, e.lane) {
		e.skip = "when clause '" + n.When.Text + "' evaluated to False"
		e.output, e.err = skipValue(e.skip, false), criticalSkip(n, e.skip)
		return nil, e, true
	}
	if e.err = required(n, given); e.err != nil {
		return nil, e, true
	}
	if n.Input != nil {
		if err := n.Input.Check(given); err != nil {
			e.err = worded(err, kernel.CodeInput, "what node "+kernel.Quote(n.Name)+" is given breaks its input_schema", kernel.Where{})
			return nil, e, true
		}
	}
	return given, e, false
}

// unworked has a node that fails before it works be seen in a span, too.
func (g *graph) unworked(ctx context.Context, e ended) {
	if t := g.r.engine.tracer; t != nil && e.err != nil {
		_, span := t.Node(ctx, e.node.Name, e.node.Kind, g.body)
		span.EndNode(0, nil, false, e.err)
	}
}

// holds evaluates a when clause. What cannot be evaluated does not hold.
func (g *graph) holds(ctx context.Context, n *pipeline.Node, given kernel.Value, lane *journal.Lane) bool {
	scope := n.ScopeOf(given, g.r.context, lane.Clock())
	scope.Input, scope.Results = g.input, g
	ok, err := n.When.Predicate(scope)
	if err != nil && g.r.observed() {
		kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeWarned, Node: n.Name, Kind: n.Kind, Wave: n.Wave, Reason: err.Error()})
	}
	return ok
}

func (g *graph) allSkipped(deps []int) bool {
	for _, d := range deps {
		if g.state[d] != skipped {
			return false
		}
	}
	return true
}

const upstreamSkipped = "all upstream dependencies were skipped"

// skipValue is the result of a node that was skipped, in hexDAG's form.
func skipValue(reason string, upstream bool) kernel.Value {
	v := map[string]any{"_skipped": true, "reason": reason}
	if upstream {
		v["_upstream_skipped"] = true
	}
	return v
}

func criticalSkip(n *pipeline.Node, reason string) error {
	if !n.Critical {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "Critical node '" + n.Name + "' was skipped", Why: reason, Fix: "see to it that its condition holds, or remove critical"}
}

func required(n *pipeline.Node, given kernel.Value) error {
	fields, _ := given.(map[string]any)
	for _, name := range n.Required {
		if fields[name] == nil {
			return &kernel.Error{Code: kernel.CodeInput, What: "node " + kernel.Quote(n.Name) + " requires " + kernel.Quote(name), Why: "required_inputs names it, and it is missing or null", Fix: "pass it, or map it in input_mapping"}
		}
	}
	return nil
}

// errorValue is the result of a failed node whose errors are handled, in hexDAG's form.
func errorValue(n *pipeline.Node, err error) kernel.Value {
	message := err.Error()
	var e *kernel.Error
	if errors.As(err, &e) {
		message = e.What
		if e.Why != "" {
			message += ": " + e.Why
		}
	}
	return map[string]any{"_error": map[string]any{"node": n.Name, "type": string(kernel.CodeOf(err)), "message": message}}
}

// finish notes what became of a node, and readies those that waited for it.
func (g *graph) finish(ctx context.Context, e ended) {
	n := e.node
	var s *suspension
	switch {
	case errors.As(e.err, &s):
		g.note(e, journal.Waiting, s)
		g.wait(n, s)
		g.label(n.Index, e.labels)
		g.emitNode(ctx, kernel.NodeCompleted, e, nil)
		return
	case e.err != nil && !g.handled(ctx, &e):
		g.label(n.Index, e.labels) // of what the error says
		return
	case e.skip != "":
		g.note(e, journal.Skipped, nil)
		g.state[n.Index] = skipped
		if g.r.observed() {
			kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeSkipped, Node: n.Name, Kind: n.Kind, Wave: n.Wave, Reason: e.skip})
		}
	default:
		g.state[n.Index] = finished
		delete(g.progress, n.Name)
		g.noteCached(e)
		if e.err == nil {
			g.note(e, journal.Finished, nil)
			g.emitNode(ctx, kernel.NodeCompleted, e, nil)
		}
	}
	w := g.settle(n, e.output, e.labels)
	if w.left == 0 && g.r.observed() {
		kernel.Emit(ctx, &kernel.Event{Type: kernel.WaveCompleted, Wave: n.Wave, DurationMS: milliseconds(time.Since(w.started)), Body: g.body})
	}
}

// settle notes the result of a node that is done, and readies those that waited for it.
func (g *graph) settle(n *pipeline.Node, output kernel.Value, labels *kernel.Labels) *waveState {
	g.results[n.Index] = output
	g.label(n.Index, labels)
	g.done++
	for _, next := range n.Dependents() {
		if g.missing[next]--; g.missing[next] == 0 {
			g.ready = append(g.ready, next)
		}
	}
	w := &g.waves[n.Wave-1]
	w.left--
	return w
}

// wait notes what a node waits for, and how far it came.
func (g *graph) wait(n *pipeline.Node, s *suspension) {
	g.waits = append(g.waits, s.waits...)
	g.state[n.Index], g.results[n.Index] = waiting, s.setup
	if s.progress == nil {
		return
	}
	if g.progress == nil {
		g.progress = map[string]*Progress{}
	}
	g.progress[n.Name] = s.progress
}

// handled reports whether a failed node has a handler, and turns its error into
// its result. The end of the run itself is nothing that a node can handle.
func (g *graph) handled(ctx context.Context, e *ended) bool {
	n := e.node
	e.err = kernel.At(e.err, kernel.Where{File: n.Where.File, Line: n.Where.Line, Column: n.Where.Column, Node: n.Name, Run: g.r.context.RunID})
	event := kernel.NodeFailed
	if code := kernel.CodeOf(e.err); code == kernel.CodeTimeout || code == kernel.CodeCanceled {
		event = kernel.NodeCancelled
	}
	fails := n.OnError == "" || ctx.Err() != nil
	if fails {
		g.note(*e, journal.Failed, nil)
	} else {
		handled := *e
		handled.output = errorValue(n, e.err)
		g.note(handled, journal.Finished, nil)
	}
	if e.skip == "" {
		var shown *kernel.Error
		errors.As(e.err, &shown)
		g.emitNode(ctx, event, *e, shown)
	}
	if fails {
		g.failures = append(g.failures, nodeFailure{n, e.err})
		return false
	}
	e.output, e.skip = errorValue(n, e.err), ""
	return true
}

func (g *graph) emitNode(ctx context.Context, what kernel.EventType, e ended, failure *kernel.Error) {
	if !g.r.observed() {
		return
	}
	event := &kernel.Event{Type: what, Node: e.node.Name, Kind: e.node.Kind, Wave: e.node.Wave, DurationMS: milliseconds(e.duration), Result: e.output, Error: failure, Body: g.body, Labels: e.labels, Cached: e.cached}
	if failure != nil {
		event.Result, event.Reason = nil, string(failure.Code)
	}
	kernel.Emit(ctx, event)
}
