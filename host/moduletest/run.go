package moduletest

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/schema"
)

// Suite is a module that cases are run against. It is safe for concurrent use.
type Suite struct {
	tools  []abi.Tool
	ops    []abi.Operation
	live   bool
	module *extension.Module
}

// Options say what a suite runs with.
type Options struct {
	Runtime *sandbox.Runtime
	// Door has no operations yet; the suite adds Ops, with the cases' answers.
	Door *ports.Door
	Ops  []ports.Op
	// Live has the operations answer themselves, and the clock and the randomness be the
	// machine's: what a case gives and expects of these is not looked at.
	Live bool
}

// Open checks a module and grants it what its manifest requests. The caller closes the suite.
func Open(ctx context.Context, file string, opts Options) (*Suite, error) {
	wasm, err := extension.ReadFile(file, 0)
	if err != nil {
		return nil, err
	}
	s := &Suite{live: opts.Live}
	spec := extension.Spec{Path: file, Trace: keepTrace}
	manifest, err := abi.ReadManifest(wasm)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module's manifest cannot be read", Where: kernel.Where{File: file}, Why: kernel.Quote(err.Error()), Fix: "mend manifest.json and build the module again", Err: err}
	}
	if manifest != nil {
		spec.Grants, s.tools, s.ops = manifest.Capabilities, manifest.Tools, manifest.Operations
	}
	ops := opts.Ops
	if !opts.Live {
		ops = mocked(append(ops, elsewhere(ops, spec.Grants)...))
	}
	if err := opts.Door.Register(ops...); err != nil {
		return nil, err
	}
	s.module, err = extension.Load(ctx, opts.Runtime, opts.Door, slog.New(slog.DiscardHandler), spec)
	return s, err
}

// elsewhere are the operations that a module requests of ports that no host has by
// itself: another module's, with the arguments by which it asks for them.
func elsewhere(known []ports.Op, requests []abi.Capability) []ports.Op {
	var ops []ports.Op
	for _, r := range requests {
		op := ports.Op{Name: r.Op, Guards: slices.Sorted(maps.Keys(r.Args))}
		same := func(o ports.Op) bool { return o.Port() == op.Port() }
		if r.Op != abi.OpClock && r.Op != abi.OpRandom && !slices.ContainsFunc(known, same) && !slices.ContainsFunc(ops, func(o ports.Op) bool { return o.Name == op.Name }) {
			ops = append(ops, op)
		}
	}
	return ops
}

// Close frees the module.
func (s *Suite) Close(ctx context.Context) error { return s.module.Close(ctx) }

// Module describes what is tested.
func (s *Suite) Module() *extension.Module { return s.module }

// keepTrace gives a call's trace to the case that is played.
func keepTrace(ctx context.Context, t *extension.Trace) {
	if play, ok := ctx.Value(scriptKey{}).(*script); ok {
		play.trace = t
	}
}

// Result is how a case ended.
type Result struct {
	Case     *Case
	Verdict  string // or the code of the error, where there is no verdict
	Trace    *extension.Trace
	Problems []string // what is not as expected, escaped; none where the case passed
}

// Passed reports whether all was as expected.
func (r *Result) Passed() bool { return len(r.Problems) == 0 }

// Run runs a case. The error is of a call that was not made; a case that fails is a
// result.
func (s *Suite) Run(ctx context.Context, c *Case) (*Result, error) {
	play := newScript(c)
	if err := s.invoke(ctx, c, play); play.trace == nil {
		return nil, err
	}
	r := &Result{Case: c, Trace: play.trace, Verdict: play.trace.Outcome.Verdict.String(), Problems: play.problems}
	if r.Trace.Err != nil {
		r.Verdict = string(kernel.CodeOf(r.Trace.Err))
	}
	if s.live {
		return r, nil
	}
	r.compare()
	switch c.Point {
	case abi.ToolCall:
		r.Problems = append(r.Problems, s.toolProblems(c, r.Trace)...)
	case abi.PortCall:
		r.Problems = append(r.Problems, s.operationProblems(c, r.Trace)...)
	}
	return r, nil
}

func newScript(c *Case) *script {
	return &script{calls: c.Calls, done: make([]bool, len(c.Calls)), clock: c.Clock, random: c.Random}
}

// invoke makes the call of a case in a run of its own.
func (s *Suite) invoke(ctx context.Context, c *Case, play *script) error {
	run := &kernel.RunContext{RunID: "case", PipelineName: c.Name(), Tenant: "default", Principal: "local", Clock: play.now, Entropy: play}
	switch {
	case s.live:
		run.Started, run.Clock, run.Entropy = time.Now(), nil, nil
	case c.Started != nil:
		run.Started = *c.Started
	case len(c.Clock) > 0:
		run.Started = c.Clock[0]
	}
	ctx = context.WithValue(kernel.WithRun(ctx, run), scriptKey{}, play)
	_, err := s.module.Invoke(ctx, extension.Invocation{Point: c.Point, Message: message(c), Body: raw(c.Text, c.Bytes), Config: c.Config})
	return err
}

// message is the case's input with the run that every message has.
func message(c *Case) map[string]any {
	m := maps.Clone(objectOf(c.Input))
	if _, given := m["run"]; !given {
		m["run"] = map[string]any{"run_id": "case", "pipeline": "case", "tenant": "default", "principal": "local", "usage": map[string]any{
			"llm_calls": kernel.Number(0), "input_tokens": kernel.Number(0), "output_tokens": kernel.Number(0), "tool_calls": kernel.Number(0), "port_calls": kernel.Number(0),
		}}
	}
	return m
}

// toolProblems holds a tool's arguments and result to its schemas, as a host does.
func (s *Suite) toolProblems(c *Case, t *extension.Trace) []string {
	name, _ := c.Input["tool"].(string)
	i := slices.IndexFunc(s.tools, func(t abi.Tool) bool { return t.Name == name })
	if i < 0 {
		names := make([]string, len(s.tools))
		for i, tool := range s.tools {
			names[i] = tool.Name
		}
		return []string{"the manifest describes no tool " + kernel.Quote(name) + ": " + kernel.DidYouMean(name, names)}
	}
	return violations(s.tools[i].InputSchema, s.tools[i].OutputSchema, c, t)
}

// operationProblems holds an operation of a port to its schemas, as a host does.
func (s *Suite) operationProblems(c *Case, t *extension.Trace) []string {
	name, _ := c.Input["op"].(string)
	i := slices.IndexFunc(s.ops, func(o abi.Operation) bool { return o.Name == name })
	if i < 0 {
		names := make([]string, len(s.ops))
		for i, op := range s.ops {
			names[i] = op.Name
		}
		return []string{"the manifest describes no operation " + kernel.Quote(name) + ": " + kernel.DidYouMean(name, names)}
	}
	return violations(s.ops[i].InputSchema, s.ops[i].OutputSchema, c, t)
}

// violations are of the schemas of what a case calls.
func violations(input, output json.RawMessage, c *Case, t *extension.Trace) []string {
	problems := violation("the case's arguments", input, c.Input["args"])
	if t.Err == nil && t.Outcome.Verdict == abi.Continue {
		problems = append(problems, violation("the result", output, t.Outcome.Output)...)
	}
	return problems
}

func violation(what string, text json.RawMessage, v kernel.Value) []string {
	if len(text) == 0 {
		return nil
	}
	doc, err := kernel.DecodeJSON(text)
	object, _ := doc.(map[string]any)
	if err == nil {
		var compiled *schema.Schema
		if compiled, err = schema.Compile(object); err == nil {
			err = compiled.Validate(v)
		}
	}
	if err != nil {
		return []string{what + " do not fit the schema: " + kernel.Quote(err.Error())}
	}
	return nil
}

// Timing is what repeated calls of a case took.
type Timing struct {
	Case            *Case
	Calls           int
	Median, Slowest time.Duration
	Fuel            int64 // of one call
	Memory          uint64
}

// Bench makes the call of a case n times, with the same answers.
func (s *Suite) Bench(ctx context.Context, c *Case, n int) (*Timing, error) {
	var usage sandbox.Usage
	times := make([]time.Duration, n)
	for i := range times {
		play := newScript(c)
		start := time.Now()
		err := s.invoke(ctx, c, play)
		times[i] = time.Since(start)
		if got := kernel.CodeOf(err); got != c.Expect.Error {
			return nil, err
		}
		usage = play.trace.Outcome.Usage
	}
	slices.Sort(times)
	return &Timing{Case: c, Calls: n, Median: times[n/2], Slowest: times[n-1], Fuel: usage.Fuel, Memory: usage.Memory}, nil
}
