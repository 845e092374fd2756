package engine

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// Results keeps what nodes answered.
type Results interface {
	// Answer returns the answer that is kept to a question, with where it is from, or has work
	// answer it and keeps that. Of those who ask the same at the same time one works, if
	// that can be arranged. An error is work's, or of ctx, or a denial.
	Answer(ctx context.Context, q *Question, work func(ctx context.Context) (*Answer, error)) (*Answer, *kernel.Cached, error)
}

// Question is what a node has to answer.
type Question struct {
	Node  string
	Kind  string
	Body  string              // the composite's that the node is in; "" at the top
	Basis [sha256.Size]byte   // of all that the answer depends on: what the node is given, its configuration, its modules
	Scope pipeline.CacheScope // for whom an answer is kept
	TTL   time.Duration       // how long one is good; 0: for as long as it is kept
	Local bool                // it depends on Go code, which has no digest: an answer is for this process alone
	Again bool                // what is kept has not been good enough: the node is tried again
}

// Answer is what a node answered.
type Answer struct {
	Value   kernel.Value
	Labels  *kernel.Labels // of all that it was made of
	Passing bool           // it is not to be kept
}

// caching is how a node's answer is kept.
type caching struct {
	*pipeline.Caching
	configuration [sha256.Size]byte
	own           []string // the modules that the node runs
	modules       []string // those, and all that can be around what it does
	local         bool
}

// caching looks up what the answer of a node depends on; nil where it is not kept.
func (c *checker) caching(n *pipeline.Node) *caching {
	if n.Cache == nil {
		return nil
	}
	if c.engine.results == nil {
		c.add(n.Cache.Where, kernel.CodePipeline, "what node "+kernel.Quote(n.Name)+" answers cannot be kept: there is no store for it", "configure the port artifacts, or remove cache")
		return nil
	}
	if b, ok := n.Body.(*pipeline.ServiceCall); ok {
		c.changing(n, b)
	}
	digest, err := n.Configuration()
	if err != nil {
		c.list = append(c.list, kernel.At(err, at(n)))
		return nil
	}
	used := map[string]bool{}
	k := &caching{Caching: n.Cache, configuration: digest}
	k.local = c.runs(n, used)
	k.own = slices.Sorted(maps.Keys(used))
	for name, m := range c.engine.modules {
		if slices.ContainsFunc(around(), m.Has) {
			used[name] = true
		}
	}
	k.modules = slices.Sorted(maps.Keys(used))
	return k
}

// around are the extension points of modules that take part in what others do.
func around() []abi.Point {
	return []abi.Point{abi.NodeBefore, abi.NodeAfter, abi.PortBefore, abi.PortAfter, abi.PortCall, abi.Authorize}
}

// changing refuses to keep the answer of a method that is sure to change something, or to be of the run alone.
func (c *checker) changing(n *pipeline.Node, b *pipeline.ServiceCall) {
	op := b.Service + "." + b.Method
	if service, named := c.pipeline.Services[b.Service]; named {
		if service.Module != "" {
			return
		}
		op = service.Builtin + "." + b.Method
	}
	refuse := func(why, fix string) {
		c.list = append(c.list, &kernel.Error{Code: kernel.CodePipeline, What: "what node " + kernel.Quote(n.Name) + " answers cannot be kept", Where: n.Cache.Where, Why: op + why, Fix: fix})
	}
	switch {
	case ports.MayChange(op) && !n.Cache.SideEffects:
		refuse(" may change something, which would not be done again", "remove cache, or write side_effects: true in it if once is enough")
	case ports.OfRun(op) && n.Cache.Scope != pipeline.CacheForRun:
		refuse(" answers with what is the run's alone", "remove cache, or write scope: run in it")
	}
}

// runs notes the modules that a node and those inside of it run, and reports whether it runs Go code
// of the embedding program.
func (c *checker) runs(n *pipeline.Node, used map[string]bool) (local bool) {
	n.Functions(func(f *pipeline.Function) {
		if _, own := c.engine.functions[f.String()]; own {
			local = true
			return
		}
		used[f.Module] = true
	})
	note := func(service string) {
		if s, named := c.pipeline.Services[service]; named {
			service = s.Module
		}
		if c.engine.modules[service] != nil {
			used[service] = true
		}
	}
	switch b := n.Body.(type) {
	case *pipeline.ServiceCall:
		note(b.Service)
	case *pipeline.ToolCall:
		owner, _ := c.engine.owner(b.Tool, c.pipeline.Services)
		note(owner)
	case *pipeline.Agent:
		for _, name := range toolNames(b, c.pipeline.Services) {
			owner, _ := c.engine.owner(name, c.pipeline.Services)
			note(owner)
		}
	case *pipeline.LLM, *pipeline.ToolExecutor:
		for _, name := range pipeline.ToolsOf(n) {
			owner, _ := c.engine.owner(name, c.pipeline.Services)
			note(owner)
		}
	case *pipeline.Composite:
		for _, body := range b.Bodies() {
			if body.Graph == nil {
				continue
			}
			for _, inner := range body.Graph.Nodes {
				local = c.runs(inner, used) || local
			}
		}
	}
	return local
}

// answer returns what the node answers, or answered before.
func (w *worker) answer(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
	c := w.caching
	switch {
	case c == nil:
		return w.execute(ctx, call)
	case w.from != nil: // what it goes on from is not the start
		return w.placed(ctx, call)
	}
	if was := w.lane.Answer(); was != nil {
		w.cached = was.Cached
		w.flow.Join(was.Labels)
		return was.Value, nil
	}
	if w.lane.Again() || w.lane.KnowsInside() { // it worked, whatever is kept now
		defer w.lane.Warnings()
		return w.placed(ctx, call)
	}
	q, err := w.question(c, call)
	if err != nil {
		return nil, err
	}
	a, cached, err := w.g.r.engine.results.Answer(ctx, q, func(ctx context.Context) (*Answer, error) { return w.worked(ctx, c, call) })
	if err != nil {
		return nil, err
	}
	if w.cached = cached; cached == nil {
		return a.Value, nil
	}
	w.flow.Join(a.Labels)
	w.lane.Took(a.Value, a.Labels, cached)
	return a.Value, nil
}

// placed executes the node in a place among those that run at once, which it takes only now: who waits for another's
// answer needs none.
func (w *worker) placed(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
	if w.takesPlace() {
		if err := w.g.r.acquire(ctx); err != nil {
			return nil, err
		}
		defer w.g.r.release()
		w.place.run = w.g.r
		defer func() { w.place.run = nil }()
	}
	return w.execute(ctx, call)
}

// worked has the node work for its answer, and sees whether that may be taken again.
func (w *worker) worked(ctx context.Context, c *caching, call *kernel.NodeCall) (*Answer, error) {
	traced, trace := kernel.WithTrace(ctx, c.own)
	v, err := w.placed(traced, call)
	if err != nil {
		return nil, err
	}
	a := &Answer{Value: v, Labels: w.flow.Labels()}
	why := ""
	switch op := trace.Changed(); {
	case trace.Once() != "":
		why = kernel.Quote(trace.Once())
	case trace.Secret() != "" && c.Scope == pipeline.CacheForTenant:
		why = "it took a secret, and others would share the answer"
	case op != "" && !c.SideEffects:
		why = "it called " + kernel.Quote(op) + ", which may change something; write side_effects: true in cache if once is enough"
	case trace.Private() != "" && c.Scope != pipeline.CacheForRun:
		why = "it called " + kernel.Quote(trace.Private()) + ", which answers with what is the run's alone; write scope: run in cache"
	}
	if why != "" {
		a.Passing = true
		kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeWarned, Node: w.n.Name, Kind: w.n.Kind, Wave: w.n.Wave, Body: w.g.body, Reason: "what it answered is not kept: " + why})
	}
	return a, nil
}

// takesPlace reports whether the node counts against the bounds of what runs at once.
func (w *worker) takesPlace() bool {
	_, composite := w.n.Body.(*pipeline.Composite)
	return !composite
}

// question says what the node's answer depends on.
func (w *worker) question(c *caching, call *kernel.NodeCall) (*Question, error) {
	run := w.g.r.context
	counts := call.Input
	if c.Key != nil {
		key, err := c.Key.Render(w.scope(call.Input))
		if err != nil {
			return nil, err
		}
		counts = key
	}
	modules := make([]any, len(c.modules))
	for i, name := range c.modules {
		modules[i] = name + "@" + w.g.r.engine.modules[name].DigestOf(run)
	}
	labels := make(map[string]any, len(run.Labels))
	for name, v := range run.Labels {
		labels[name] = v
	}
	text, err := kernel.AppendJSON(nil, []any{run.PipelineName, w.n.Name, modules, labels, w.flow.Labels().Value(), counts})
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "what node " + kernel.Quote(w.n.Name) + " is given has no digest", Why: err.Error(), Fix: "remove cache from the node", Err: err}
	}
	return &Question{
		Node: w.n.Name, Kind: w.n.Kind, Body: w.g.body, Scope: c.Scope, TTL: c.TTL, Local: c.local, Again: call.Attempt > 1,
		Basis: sha256.Sum256(append(text, c.configuration[:]...)),
	}, nil
}

// noteCached notes where a node's answer is from, for the run's result.
func (g *graph) noteCached(e ended) {
	if e.cached == nil {
		return
	}
	if g.cached == nil {
		g.cached = map[string]*kernel.Cached{}
	}
	g.cached[e.node.Name] = e.cached
}
