package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// startFuel bounds making an instance, beside startTimeout.
const startFuel = 20_000_000_000

// maxNames bounds the JSON in which a module lists its builtins or entrypoints.
const maxNames = 1 << 20

// instance is one policy with its memory and its parsed data. Only one goroutine
// uses it at a time. After a failure it is closed, never used again.
type instance struct {
	opts        *Options
	offered     map[string]builtin // by the host, for in.builtins to be of
	env, policy api.Module
	memory      api.Memory
	contract

	// Looked up once: a look-up takes longer than a call.
	evalFunc, malloc, parse, dump, heapGet api.Function

	paths *pathFunctions // nil where the module has no updates of data by path

	fuelGlobal api.MutableGlobal
	fuel       int64 // what the module may still be given

	data  uint32 // the address of the base document
	heap  uint32 // where an evaluation's memory starts
	fresh uint32 // heap, when the data was parsed as a whole; 0: that is what it is
	fault error  // why a host function stopped the module

	// Of the evaluation that runs.
	now        time.Time
	input      []byte
	evaluation *Evaluation // once a builtin asked for it
	timeless   bool        // it has no time
}

// pathFunctions are the exports, of ABI 1.3, that change data in places.
type pathFunctions struct{ add, remove, free, heapSet, stash, restore api.Function }

// contract is what a module says of itself, the same for each of its instances.
type contract struct {
	entrypoints map[string]int32
	builtins    map[uint32]builtin
	externals   map[uint32]Builtin
}

type instanceKey struct{}

// context returns ctx with the instance, where its host functions find it: they
// are shared by all instances.
func (in *instance) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, instanceKey{}, in)
}

func instanceFrom(ctx context.Context) *instance { return ctx.Value(instanceKey{}).(*instance) }

// bind looks up what the driver calls.
func (in *instance) bind() {
	in.fuelGlobal = in.policy.ExportedGlobal(rewrite.ExportFuel).(api.MutableGlobal)
	in.evalFunc = in.policy.ExportedFunction("opa_eval")
	in.malloc = in.policy.ExportedFunction("opa_malloc")
	in.parse = in.policy.ExportedFunction("opa_value_parse")
	in.dump = in.policy.ExportedFunction("opa_value_dump")
	in.heapGet = in.policy.ExportedFunction("opa_heap_ptr_get")
}

// bindPaths looks up the functions of a module that the engine found to have them all.
func (in *instance) bindPaths() {
	in.paths = &pathFunctions{
		add: in.policy.ExportedFunction("opa_value_add_path"), remove: in.policy.ExportedFunction("opa_value_remove_path"),
		free: in.policy.ExportedFunction("opa_value_free"), heapSet: in.policy.ExportedFunction("opa_heap_ptr_set"),
		stash: in.policy.ExportedFunction("opa_heap_blocks_stash"), restore: in.policy.ExportedFunction("opa_heap_blocks_restore"),
	}
}

// start reads what the module says of itself.
func (in *instance) start(ctx context.Context) error {
	if err := in.checkVersion(); err != nil {
		return err
	}
	if err := in.readBuiltins(ctx); err != nil {
		return err
	}
	ids, err := in.names(ctx, "entrypoints")
	if err != nil {
		return err
	}
	in.entrypoints = ids
	return nil
}

func (in *instance) checkVersion() error {
	major := in.policy.ExportedGlobal("opa_wasm_abi_version")
	minor := in.policy.ExportedGlobal("opa_wasm_abi_minor_version")
	if major == nil || minor == nil {
		return notOPA(in.opts.Name, "it does not say which ABI it is for")
	}
	if major.Get() != 1 || minor.Get() < 2 {
		return notOPA(in.opts.Name, fmt.Sprintf("it is for ABI %d.%d", int32(major.Get()), int32(minor.Get())))
	}
	return nil
}

func (in *instance) readBuiltins(ctx context.Context) error {
	ids, err := in.names(ctx, "builtins")
	if err != nil {
		return err
	}
	in.builtins = make(map[uint32]builtin, len(ids))
	in.externals = map[uint32]Builtin{}
	for name, id := range ids {
		if b, ok := in.offered[name]; ok {
			in.builtins[uint32(id)] = b
			continue
		}
		b, ok := in.opts.Builtins[name]
		if !ok {
			return invalid(in.opts.Name, "the policy calls "+kernel.Quote(name), in.opts.whyRefused(name), "pass what it needs as input or data")
		}
		in.externals[uint32(id)] = b
	}
	return nil
}

// names calls an export that returns an object of names and numbers.
func (in *instance) names(ctx context.Context, export string) (map[string]int32, error) {
	object, err := in.call(ctx, in.policy.ExportedFunction(export))
	if err != nil {
		return nil, err
	}
	address, err := in.call(ctx, in.policy.ExportedFunction("opa_json_dump"), uint64(object))
	if err != nil {
		return nil, err
	}
	text, err := in.text(address, maxNames)
	if err != nil {
		return nil, err
	}
	ids := map[string]int32{}
	if err := kernel.UnmarshalStrict(text, &ids); err != nil {
		return nil, protocol(in.opts.Name, "the policy's list of "+export+" cannot be read", kernel.Quote(err.Error()))
	}
	return ids, nil
}

// store copies text into memory of the module's and has it parsed. It returns 0 if
// it is not a value.
func (in *instance) store(ctx context.Context, text []byte) (uint32, error) {
	address, err := in.call(ctx, in.malloc, uint64(len(text)))
	if err != nil {
		return 0, err
	}
	if !in.memory.Write(address, text) {
		return 0, protocol(in.opts.Name, "opa_malloc gave memory that is not there", "")
	}
	return in.call(ctx, in.parse, uint64(address), uint64(len(text)))
}

// eval runs an entrypoint and returns an array of results.
func (in *instance) eval(ctx context.Context, entrypoint int32, input []byte) (kernel.Value, error) {
	in.now, in.input, in.evaluation = in.opts.Now(ctx), input, nil
	return in.run(in.context(ctx), entrypoint, in.opts.Fuel, in.opts.Result)
}

// run is eval of the evaluation that is set.
func (in *instance) run(ctx context.Context, entrypoint int32, fuel int64, most int) (kernel.Value, error) {
	address, heap, err := in.placeInput(in.input)
	if err != nil {
		return nil, err
	}
	in.setFuel(fuel)
	const reserved, formatRego = 0, 1 // as JSON, a set's elements would have no order
	result, err := in.call(ctx, in.evalFunc, reserved, uint64(uint32(entrypoint)), uint64(in.data),
		uint64(address), uint64(len(in.input)), uint64(heap), formatRego)
	if err != nil {
		return nil, err
	}
	text, err := in.text(result, most)
	if err != nil {
		return nil, err
	}
	term, err := parseTerm(string(text))
	if err != nil {
		return nil, protocol(in.opts.Name, "the policy's answer cannot be read", kernel.Quote(err.Error()))
	}
	return toValue(term), nil
}

// placeInput writes the input where the heap begins and returns its address and
// the heap's new start. Nothing is allocated: opa_eval starts there every time.
func (in *instance) placeInput(input []byte) (address, heap uint32, err error) {
	if input == nil {
		return 0, in.heap, nil
	}
	end := (uint64(in.heap) + uint64(len(input)) + 7) &^ 7
	if size := uint64(in.memory.Size()); end > size {
		if _, ok := in.memory.Grow(uint32((end - size + pageSize - 1) / pageSize)); !ok {
			return 0, 0, limit(in.opts.Name, "the policy's input does not fit into its memory", fmt.Sprintf("the limit is %d bytes", in.opts.Memory))
		}
	}
	if !in.memory.Write(in.heap, input) {
		return 0, 0, protocol(in.opts.Name, "the policy's heap is outside its memory", "")
	}
	return in.heap, uint32(end), nil
}

// call calls an export that takes at most seven numbers and returns at most one.
func (in *instance) call(ctx context.Context, f api.Function, args ...uint64) (uint32, error) {
	var stack [7]uint64
	copy(stack[:], args)
	if err := f.CallWithStack(ctx, stack[:]); err != nil {
		return 0, in.failure(ctx, err)
	}
	return uint32(stack[0]), nil
}

// failure says why a call failed, from what the host knows and not from the error's
// text, which the module can influence.
func (in *instance) failure(ctx context.Context, err error) error {
	if in.fault != nil {
		return in.fault
	}
	if cause := ctx.Err(); cause != nil {
		return ended(*in.opts, cause, "it ran")
	}
	return &kernel.Error{Code: kernel.CodeTrap, What: "the policy's module failed", Where: kernel.Where{File: in.opts.Name}, Why: kernel.Quote(err.Error()), Err: err}
}

// stop ends the running call of the module with a fault. It does not return.
func (in *instance) stop(fault error) {
	in.fault = fault
	panic(errStopped)
}

var errStopped = errors.New("stopped by the host")

func (in *instance) abort(message uint32) {
	why := "without a readable message"
	if text, err := in.text(message, maxTerm); err == nil {
		why = kernel.Quote(string(text))
	}
	in.stop(&kernel.Error{Code: kernel.CodeTrap, What: "the policy's module aborted", Where: kernel.Where{File: in.opts.Name}, Why: why})
}

func (in *instance) println(ctx context.Context, message uint32) {
	text, err := in.text(message, maxTerm)
	if err != nil {
		in.stop(err)
	}
	if in.opts.Log != nil {
		in.opts.Log(ctx, kernel.Quote(string(text)))
	}
}

// text returns the NUL-terminated string at address, without the NUL, if it has
// at most most bytes. It is valid until the module runs again.
func (in *instance) text(address uint32, most int) ([]byte, error) {
	size := in.memory.Size()
	if address >= size {
		return nil, protocol(in.opts.Name, "the policy gave a text outside its memory", "")
	}
	view, _ := in.memory.Read(address, min(size-address, uint32(most)+1))
	if n := bytes.IndexByte(view, 0); n >= 0 {
		return view[:n:n], nil
	}
	if len(view) <= most {
		return nil, protocol(in.opts.Name, "the policy gave a text without an end", "")
	}
	return nil, limit(in.opts.Name, "the policy gave too long a text", fmt.Sprintf("the limit is %d bytes", most))
}

// close frees the memory. Closing wazero's modules cannot fail.
func (in *instance) close() {
	ctx := context.Background()
	if in.policy != nil {
		_ = in.policy.Close(ctx)
	}
	_ = in.env.Close(ctx)
}
