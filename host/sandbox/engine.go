package sandbox

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// engine compiles rewritten modules and makes instances of them. What a guest
// computes, and its fuel, is the same on all.
type engine interface {
	// compile returns a module's code, from the cache where it is there.
	compile(ctx context.Context, wasm []byte) (code, error)
	close(ctx context.Context) error
}

// code is a compiled module.
type code interface {
	// instantiate makes an instance for an activation, in its instance's memory,
	// and runs the start function.
	instantiate(a *activation) (guest, error)
	close(ctx context.Context) error
}

// guest is an instance. One call at a time uses it.
type guest interface {
	function(name string) function // nil where there is none
	global(name string) global     // likewise
	grow(pages uint32) bool        // its memory
	close(ctx context.Context)
}

// function is an exported function; parameters and results are on the stack.
type function interface {
	CallWithStack(ctx context.Context, stack []uint64) error
}

// errTooDeep is how a call ends that has used up an engine's own stack: frames may
// be larger than the depth limit expects.
var errTooDeep = errors.New("the stack of the engine is used up")

// global is an exported mutable global.
type global interface {
	Get() uint64
	Set(v uint64)
}

// Engine names what runs modules.
type Engine string

// The engines. Wazero is the default and in every build.
const (
	Wazero   Engine = "wazero"
	Wasmtime Engine = "wasmtime" // in programs that are built with cgo and the tag wasmtime
	// Interpreter is wazero's: it loads a module in a fraction of the time that compiling
	// takes, runs it many times slower and keeps nothing in the cache.
	Interpreter Engine = "interpreter"
)

func (e Engine) orDefault() Engine {
	if e == "" {
		return Wazero
	}
	return e
}

// opener returns what opens an engine with its cache's folder, which may be "".
func (e Engine) opener() (func(ctx context.Context, cacheDir string) (engine, error), error) {
	switch e {
	case "", Wazero:
		return newWazero, nil
	case Interpreter:
		return newInterpreter, nil
	case Wasmtime:
		if newWasmtime != nil {
			return newWasmtime, nil
		}
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "this program has no engine wasmtime", Why: "it was built without the tag wasmtime, which needs cgo",
			Fix: "build it with CGO_ENABLED=1 go build -tags wasmtime, or use the engine wazero"}
	}
	return nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no engine " + kernel.Quote(string(e)), Why: "the engines are wazero, interpreter and wasmtime", Fix: "name one of these"}
}

// offers lists what modules can import, by import module: the dialects' imports,
// and what the rewriter adds.
func offers() map[string][]hostFunction {
	return map[string][]hostFunction{
		abi.ImportModule:     nativeFunctions(),
		wasiModule:           wasiFunctions(),
		extismModule:         extismFunctions(),
		extismUserModule:     extismUserFunctions(),
		rewrite.ImportModule: meterFunctions(),
	}
}
