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
	runtime *sandbox.Runtime
	door    *ports.Door
	file    string
	grants  []abi.Capability
	tools   []abi.Tool
	base    *extension.Module // keeps the compiled code, which every case's module shares
}

// Options say what a suite runs with.
type Options struct {
	Runtime *sandbox.Runtime
	// Door has no operations yet; the suite adds Ops, with the cases' answers.
	Door *ports.Door
	Ops  []ports.Op
}

// Open checks a module and grants it what its manifest requests. The caller closes the suite.
func Open(ctx context.Context, file string, opts Options) (*Suite, error) {
	if err := opts.Door.Register(mocked(opts.Ops)...); err != nil {
		return nil, err
	}
	wasm, err := extension.ReadFile(file, 0)
	if err != nil {
		return nil, err
	}
	s := &Suite{runtime: opts.Runtime, door: opts.Door, file: file}
	manifest, err := abi.ReadManifest(wasm)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module's manifest cannot be read", Where: kernel.Where{File: file}, Why: kernel.Quote(err.Error()), Fix: "mend manifest.json and build the module again", Err: err}
	}
	if manifest != nil {
		s.grants, s.tools = manifest.Capabilities, manifest.Tools
	}
	s.base, err = s.load(ctx, &Case{}, nil)
	return s, err
}

// Close frees the module.
func (s *Suite) Close(ctx context.Context) error { return s.base.Close(ctx) }

// Module describes what is tested.
func (s *Suite) Module() *extension.Module { return s.base }

// Result is how a case ended.
type Result struct {
	Case     *Case
	Verdict  string // or the code of the error, where there is no verdict
	Trace    *extension.Trace
	Problems []string // what is not as expected, escaped; none where the case passed
}

// Passed reports whether all was as expected.
func (r *Result) Passed() bool { return len(r.Problems) == 0 }

// Run runs a case. The error is of a module that cannot be loaded; a case that
// fails is a result.
func (s *Suite) Run(ctx context.Context, c *Case) (*Result, error) {
	var trace *extension.Trace
	m, err := s.load(ctx, c, func(_ context.Context, t *extension.Trace) { trace = t })
	if err != nil {
		return nil, err
	}
	defer m.Close(ctx)
	play := newScript(c)
	if err := s.invoke(ctx, m, c, play); trace == nil {
		return nil, err // the module was not entered
	}
	r := &Result{Case: c, Trace: trace, Verdict: trace.Outcome.Verdict.String(), Problems: play.problems}
	if trace.Err != nil {
		r.Verdict = string(kernel.CodeOf(trace.Err))
	}
	r.compare()
	if c.Point == abi.ToolCall {
		r.Problems = append(r.Problems, s.toolProblems(c, trace)...)
	}
	return r, nil
}

func (s *Suite) load(ctx context.Context, c *Case, trace func(context.Context, *extension.Trace)) (*extension.Module, error) {
	return extension.Load(ctx, s.runtime, s.door, slog.New(slog.DiscardHandler), extension.Spec{Path: s.file, Config: c.Config, Grants: s.grants, Trace: trace})
}

func newScript(c *Case) *script {
	return &script{calls: c.Calls, done: make([]bool, len(c.Calls)), clock: c.Clock, random: c.Random}
}

// invoke makes the call of a case in a run of its own.
func (s *Suite) invoke(ctx context.Context, m *extension.Module, c *Case, play *script) error {
	run := &kernel.RunContext{RunID: "case", PipelineName: c.Name(), Tenant: "default", Principal: "local", Clock: play.now, Entropy: play}
	switch {
	case c.Started != nil:
		run.Started = *c.Started
	case len(c.Clock) > 0:
		run.Started = c.Clock[0]
	}
	ctx = context.WithValue(kernel.WithRun(ctx, run), scriptKey{}, play)
	_, err := m.Invoke(ctx, c.Point, message(c), raw(c.Text, c.Bytes))
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
	problems := violation("the case's arguments", s.tools[i].InputSchema, c.Input["args"])
	if t.Err == nil && t.Outcome.Verdict == abi.Continue {
		problems = append(problems, violation("the result", s.tools[i].OutputSchema, t.Outcome.Output)...)
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
		return []string{what + " do not fit the tool's schema: " + kernel.Quote(err.Error())}
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
	m, err := s.load(ctx, c, func(_ context.Context, t *extension.Trace) { usage = t.Outcome.Usage })
	if err != nil {
		return nil, err
	}
	defer m.Close(ctx)
	times := make([]time.Duration, n)
	for i := range times {
		play := newScript(c)
		start := time.Now()
		err := s.invoke(ctx, m, c, play)
		times[i] = time.Since(start)
		if got := kernel.CodeOf(err); got != c.Expect.Error {
			return nil, err
		}
	}
	slices.Sort(times)
	return &Timing{Case: c, Calls: n, Median: times[n/2], Slowest: times[n-1], Fuel: usage.Fuel, Memory: usage.Memory}, nil
}
