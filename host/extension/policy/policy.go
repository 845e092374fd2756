// Package policy evaluates policies that OPA compiled to WebAssembly, on wazero
// and without OPA. It drives OPA's wasm ABI, 1.2 and later. Modules are rewritten as
// the sandbox's are, so that they run on fuel.
//
// A policy reaches the host through the builtins that its module imports. Those
// on this package's list are deterministic and pure; a module that names any
// other is refused when it is loaded. Package regoc is the compiler.
package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/hexdag/hexdag/host/kernel"
)

// Options are the data and the limits of a policy. The zero value of a field
// means its default.
type Options struct {
	// Name is how errors call the policy, a file's name for example.
	Name string
	// Data is the base document, a JSON object; {} by default.
	Data []byte
	// Cache keeps compiled modules across policies and, if it is on disk, runs.
	Cache wazero.CompilationCache
	// Interpreter runs the module without compiling it: evaluations are slower, but
	// a module made to take long to compile cannot.
	Interpreter bool
	// Instances bounds how many evaluations run at once; GOMAXPROCS by default.
	Instances int
	// Timeout bounds one evaluation, the wait for an instance included; 1 s by default.
	Timeout time.Duration
	// Fuel bounds one evaluation in the module's instructions; 2,000,000,000 by default.
	// The same policy, data and input take the same fuel everywhere.
	Fuel int64
	// Memory bounds an instance's memory in bytes; 64 MiB by default.
	Memory uint64
	// Input and Result bound the JSON texts of one evaluation; 1 MiB by default.
	Input, Result int
	// Builtins are offered to the policy beside this package's own, which come first.
	Builtins map[string]Builtin
	// Refused says why a builtin is not offered; WhyRefused by default.
	Refused func(name string) string
	// Now gives the one time that an evaluation sees; time.Now by default.
	Now func(context.Context) time.Time
	// Log takes what the policy prints, escaped; dropped by default.
	Log func(ctx context.Context, line string)
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "policy"
	}
	if o.Data == nil {
		o.Data = []byte("{}")
	}
	if o.Instances <= 0 {
		o.Instances = runtime.GOMAXPROCS(0)
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.Fuel <= 0 {
		o.Fuel = 2_000_000_000
	}
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	if o.Input <= 0 {
		o.Input = 1 << 20
	}
	if o.Result <= 0 {
		o.Result = 1 << 20
	}
	if o.Now == nil {
		o.Now = func(context.Context) time.Time { return time.Now() }
	}
	return o
}

func (o Options) whyRefused(name string) string {
	if o.Refused != nil {
		return o.Refused(name)
	}
	return WhyRefused(name)
}

// Policy is a compiled policy with its data. It is safe for concurrent use.
type Policy struct {
	opts      Options
	digest    string
	engine    *engine
	data      *document
	*image                   // what its instances are made of
	idle      chan *instance // one slot an instance; a nil has yet to be made
	closeOnce sync.Once
	closed    chan struct{}
}

// Load checks and compiles a module, and makes its first instance.
func Load(ctx context.Context, wasm []byte, opts Options) (*Policy, error) {
	opts = opts.withDefaults()
	e, err := newEngine(ctx, wasm, opts)
	if err != nil {
		return nil, err
	}
	d, first, err := e.read(ctx, opts.Data)
	if err != nil {
		e.release()
		return nil, err
	}
	p, err := newPolicy(opts, e, d, first)
	if err != nil {
		e.release()
	}
	return p, err
}

// newPolicy returns a policy of which first is an instance. It has the caller's use of
// the engine.
func newPolicy(opts Options, e *engine, d *document, first *instance) (*Policy, error) {
	m, err := first.capture()
	if err != nil {
		first.close()
		return nil, err
	}
	opts.Data = nil
	p := &Policy{opts: opts, digest: digest(e.digest, d.text), engine: e, data: d, image: m, idle: make(chan *instance, opts.Instances), closed: make(chan struct{})}
	p.idle <- first
	for range opts.Instances - 1 {
		p.idle <- nil
	}
	return p, nil
}

// LoadFile loads what ReadFile reads. Data in opts replaces the file's.
func LoadFile(ctx context.Context, path string, opts Options) (*Policy, error) {
	f, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	if opts.Data == nil {
		opts.Data = f.Data
	}
	if opts.Name == "" {
		opts.Name = path
	}
	return Load(ctx, f.Wasm, opts)
}

func digest(module [sha256.Size]byte, data []byte) string {
	d := sha256.Sum256(data)
	both := sha256.Sum256(append(module[:], d[:]...))
	return hex.EncodeToString(both[:])
}

// Digest identifies the module and its data: a SHA-256, in hexadecimal. How the data
// is written down is of no account.
func (p *Policy) Digest() string { return p.digest }

// Entrypoints returns the names that Eval takes, sorted, but for those that are materialized.
func (p *Policy) Entrypoints() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.entrypoints)), func(name string) bool { return strings.HasPrefix(name, Materialize) })
}

// Eval evaluates an entrypoint and returns its value, in which sets are sorted
// arrays. It is not defined if no rule gave one. A nil input is no input at all; json.RawMessage("null") is null.
//
// Errors are kernel.Errors: CodePolicy (no such entrypoint), CodeInput, CodeLimit,
// CodeTimeout, CodeCanceled, CodeTrap (the module failed) and CodeABI.
func (p *Policy) Eval(ctx context.Context, entrypoint string, input any) (result kernel.Value, defined bool, err error) {
	text, err := encodeInput(p.opts, input)
	if err != nil {
		return nil, false, err
	}
	answer, err := p.evaluate(ctx, entrypoint, text)
	if err != nil {
		return nil, false, err
	}
	return resultOf(p.opts.Name, answer)
}

// resultOf takes the value out of a module's answer.
func resultOf(name string, answer kernel.Value) (result kernel.Value, defined bool, err error) {
	results, ok := answer.([]any)
	if !ok || len(results) > 1 {
		return nil, false, protocol(name, "the policy's answer is not a list of one result", "")
	}
	if len(results) == 0 {
		return nil, false, nil
	}
	bindings, _ := results[0].(map[string]any)
	if result, defined = bindings["result"]; !defined {
		return nil, false, protocol(name, "the policy's answer has no result", "")
	}
	return result, true, nil
}

func encodeInput(opts Options, input any) ([]byte, error) {
	if input == nil {
		return nil, nil
	}
	text, err := kernel.EncodeJSON(input)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the policy's input is not JSON", Where: kernel.Where{File: opts.Name}, Why: kernel.Quote(err.Error()), Err: err}
	}
	if len(text) > opts.Input {
		return nil, limit(opts.Name, "the policy's input is too large", fmt.Sprintf("%d bytes of JSON, and the limit is %d", len(text), opts.Input))
	}
	return text, nil
}

// evaluate returns the module's answer: an array of results.
func (p *Policy) evaluate(ctx context.Context, entrypoint string, input []byte) (kernel.Value, error) {
	id, ok := p.entrypoints[entrypoint]
	if !ok {
		return nil, invalid(p.opts.Name, "the policy has no entrypoint "+kernel.Quote(entrypoint),
			"it has "+strings.Join(p.Entrypoints(), ", "), "mark the rule with entrypoint: true, or build with it as an entrypoint")
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	in, err := p.acquire(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := in.eval(ctx, id, input)
	if err != nil {
		in.close()
		in = nil
	}
	p.idle <- in
	return answer, err
}

// acquire takes a slot, and makes its instance if it has none. The caller gives
// the slot back, empty if the instance failed.
func (p *Policy) acquire(ctx context.Context) (*instance, error) {
	select {
	case <-p.closed:
		return nil, unavailable(p.opts.Name, "the policy is closed")
	default:
	}
	var in *instance
	select {
	case in = <-p.idle:
	case <-p.closed:
		return nil, unavailable(p.opts.Name, "the policy is closed")
	case <-ctx.Done():
		return nil, ended(p.opts, ctx.Err(), "it waited for an instance")
	}
	if in == nil {
		// Copying much data may take longer than a decision may: the new instance
		// has a deadline of its own, so that a tight one does not starve the pool.
		var err error
		if in, err = p.engine.copyOf(context.WithoutCancel(ctx), p.image); err != nil {
			p.idle <- nil
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		p.idle <- in
		return nil, ended(p.opts, err, "it waited for an instance")
	}
	return in, nil
}

// Close waits for the evaluations that run, and frees what the policy holds.
func (p *Policy) Close() error {
	p.closeOnce.Do(func() {
		close(p.closed)
		for range p.opts.Instances {
			<-p.idle
		}
		p.engine.release()
	})
	return nil
}
