package host

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/sandbox"
)

// ModuleInfo is what can be said of a module without running it.
type ModuleInfo struct {
	File         string           `json:"file"`
	Name         string           `json:"name"`
	Version      string           `json:"version"`
	Description  string           `json:"description,omitempty"`
	Digest       string           `json:"digest"`
	Size         int              `json:"size"`
	Dialect      string           `json:"dialect"`
	Points       []abi.Point      `json:"points"`
	Imports      []string         `json:"imports"`
	Exports      []string         `json:"exports"`
	Tools        []abi.Tool       `json:"tools"`
	Operations   []abi.Operation  `json:"operations"`   // of ports that it can be
	Capabilities []abi.Capability `json:"capabilities"` // requested; nothing here is granted
	Producers    []Producer       `json:"producers"`    // what made it, as it says itself
	Limits       sandbox.Limits   `json:"limits"`       // of each call, where the operator sets no others
	StaticLimits map[string]int   `json:"static_limits"`
	Functions    int              `json:"functions"`
	Memory       uint64           `json:"memory_bytes"`     // that it starts with
	MemoryMax    uint64           `json:"memory_max_bytes"` // to which it can grow, within limits.memory
}

// Producer is an entry of a module's producers section.
type Producer struct {
	Field   string `json:"field"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

// InspectModule checks a module and says what it is. It compiles the module and
// runs nothing of it.
func InspectModule(ctx context.Context, file string, opts Options) (*ModuleInfo, error) {
	runtime, err := openRuntime(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer runtime.Close(ctx)
	wasm, err := extension.ReadFile(file, 0)
	if err != nil {
		return nil, err
	}
	m, err := runtime.Load(ctx, wasm, sandbox.LoadOptions{})
	if err != nil {
		return nil, kernel.At(err, kernel.Where{File: file})
	}
	info := &ModuleInfo{
		File: file, Name: m.Name(), Digest: m.Digest(), Size: m.Size(), Dialect: string(m.Dialect()),
		Points: m.Points(), Imports: m.Imports(), Exports: m.Exports(), Limits: m.Limits(), StaticLimits: map[string]int{},
	}
	info.Functions, info.Memory, info.MemoryMax = m.Shape()
	for _, p := range m.Producers() {
		info.Producers = append(info.Producers, Producer{Field: p.Field, Name: p.Name, Version: p.Version})
	}
	static := m.Static()
	for _, s := range static.Settings() {
		info.StaticLimits[s.Name] = *s.Value
	}
	if manifest := m.Manifest(); manifest != nil {
		info.Version, info.Description, info.Tools, info.Operations, info.Capabilities = manifest.Version, manifest.Description, manifest.Tools, manifest.Operations, manifest.Capabilities
	}
	return info, nil
}

func openRuntime(ctx context.Context, opts Options) (*sandbox.Runtime, error) {
	h := &Host{config: &Config{}, cache: opts.CacheDir}
	if err := h.openCache(); err != nil {
		return nil, err
	}
	return sandbox.New(ctx, sandbox.Options{CacheDir: filepath.Join(h.cache, "modules"), Worker: opts.CompileWorker, Log: opts.Log, Engine: sandbox.Engine(opts.Engine)})
}

// ModuleCall says how to call an extension point of a module by itself.
type ModuleCall struct {
	Export string
	Input  any // the whole message, as abi/README.md describes it for the extension point
	Config any
	Grants []abi.Capability
	Limits sandbox.Limits
	// Isolation is what one of the calls of Bench can leave to the next: "call",
	// "run" or "shared"; "" means call.
	Isolation string
	Bench     int    // how many more calls to make, to time them
	Record    string // a file to write, a case that is this call with what came of it; "" is none
	Dialect   string // "native", "extism" or "wasi-command"; "" means what the module looks like
}

// ModuleOutcome is what the module answered.
type ModuleOutcome struct {
	Verdict      string           `json:"verdict"`
	RetryAfterMS uint32           `json:"retry_after_ms,omitempty"`
	Patched      kernel.Value     `json:"patched,omitempty"`
	Output       kernel.Value     `json:"output"`
	BodyBytes    int              `json:"body_bytes"`
	Counters     map[string]int64 `json:"counters,omitempty"`
	Usage        ModuleUsage      `json:"usage"` // of the first call
	Bench        *ModuleBench     `json:"bench,omitempty"`
}

// ModuleBench is what repeated calls took.
type ModuleBench struct {
	Calls   int           `json:"calls"`
	Median  time.Duration `json:"median_ns"`
	Slowest time.Duration `json:"slowest_ns"`
}

// ModuleUsage is what the call used.
type ModuleUsage struct {
	Fuel      int64         `json:"fuel"`
	Wall      time.Duration `json:"wall_ns"`
	Memory    uint64        `json:"peak_memory_bytes"`
	HostCalls int           `json:"host_calls"`
	LogLines  int           `json:"log_lines"`
	BytesIn   int64         `json:"bytes_in"`
	BytesOut  int64         `json:"bytes_out"`
}

// CallModule loads a module with the grants and calls one extension point. Its
// ports are in memory and start empty; nothing is recorded.
func CallModule(ctx context.Context, file string, call ModuleCall, opts Options) (*ModuleOutcome, error) {
	runtime, err := openRuntime(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer runtime.Close(ctx)
	door := ports.NewDoor(allowAll{}, discard{})
	if err := door.Register(memoryOps()...); err != nil {
		return nil, err
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config, err := kernel.ToValue(call.Config)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the module's configuration is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err}
	}
	isolation := sandbox.Isolation(call.Isolation)
	if !isolation.Known() {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no isolation " + kernel.Quote(call.Isolation), Fix: "write call, run or shared"}
	}
	spec := extension.Spec{Path: file, Config: config, Grants: call.Grants, Limits: call.Limits, Isolation: isolation, Dialect: sandbox.Dialect(call.Dialect)}
	writer := caseWriter{write: func(*extension.Trace) string { return call.Record }}
	if call.Record != "" {
		spec.Trace = writer.trace
	}
	m, err := extension.Load(ctx, runtime, door, log, spec)
	if err != nil {
		return nil, err
	}
	run := &kernel.RunContext{RunID: newRunID(), PipelineName: "module call", Tenant: "default", Principal: "local", Started: time.Now()}
	defer m.Close(ctx)
	out, err := invoke(kernel.WithRun(ctx, run), m, run, call)
	if recorded := writer.err(); recorded != nil {
		return nil, errors.Join(err, recorded)
	}
	return out, err
}

func invoke(ctx context.Context, m *extension.Module, run *kernel.RunContext, call ModuleCall) (*ModuleOutcome, error) {
	input, err := kernel.ToValue(call.Input)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the input is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err}
	}
	out, err := m.Invoke(ctx, extension.Invocation{Point: abi.Point(call.Export), Message: input})
	if err != nil {
		return nil, err
	}
	bench, err := benchmark(ctx, m, abi.Point(call.Export), input, call.Bench)
	if err != nil {
		return nil, err
	}
	return &ModuleOutcome{
		Bench: bench, Verdict: out.Verdict.String(), RetryAfterMS: out.Arg, Patched: out.Patched, Output: out.Output, BodyBytes: len(out.Body), Counters: run.Counters(),
		Usage: ModuleUsage{Fuel: out.Usage.Fuel, Wall: out.Usage.Wall, Memory: out.Usage.Memory, HostCalls: out.Usage.HostCalls, LogLines: out.Usage.LogLines, BytesIn: out.Usage.BytesIn, BytesOut: out.Usage.BytesOut},
	}, nil
}

// benchmark times n calls.
func benchmark(ctx context.Context, m *extension.Module, point abi.Point, input kernel.Value, n int) (*ModuleBench, error) {
	if n <= 0 {
		return nil, nil
	}
	times := make([]time.Duration, n)
	for i := range times {
		start := time.Now()
		if _, err := m.Invoke(ctx, extension.Invocation{Point: point, Message: input}); err != nil {
			return nil, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return &ModuleBench{Calls: n, Median: times[n/2], Slowest: times[n-1]}, nil
}

// allowAll and discard stand for governance and audit where a module is called
// by itself: the grants of the call are the whole of its rights.
type allowAll struct{}

func (allowAll) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{Effect: kernel.Allow}, nil
}

type discard struct{}

func (discard) Audit(context.Context, *kernel.AuditRecord) error { return nil }
