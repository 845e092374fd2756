//go:build wasmtime

package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// wasmtimeEngine runs modules on wasmtime, through cgo: core modules alone, with
// our imports and none of its WASI. An instance has a store of its own, and is
// put back by copying, for the memory is wasmtime's. For that reason the memory
// that the host keeps for a plugin of Extism is limited by itself and not together
// with the plugin's own.
type wasmtimeEngine struct {
	engine    *wasmtime.Engine
	cacheDir  string
	functions map[string]map[string]hostFunction
}

// wasmtimeStack is how much of its thread's stack a guest may use; a thread has 8
// MiB. Calls that nest too deeply mostly end at the depth limit before.
const wasmtimeStack = 6 << 20

// newWasmtime opens wasmtime.
var newWasmtime = func(_ context.Context, cacheDir string) (engine, error) {
	config := wasmtime.NewConfig()
	config.SetMaxWasmStack(wasmtimeStack)
	config.SetWasmThreads(false)
	config.SetWasmRelaxedSIMD(false)
	config.SetWasmMultiMemory(false)
	config.SetWasmMemory64(false)
	config.SetWasmTailCall(false)
	config.SetWasmFunctionReferences(false)
	config.SetWasmGC(false)
	config.SetWasmWideArithmetic(false)
	e := &wasmtimeEngine{engine: wasmtime.NewEngineWithConfig(config), cacheDir: cacheDir, functions: map[string]map[string]hostFunction{}}
	for module, functions := range offers() {
		e.functions[module] = map[string]hostFunction{}
		for _, f := range functions {
			e.functions[module][f.name] = f
		}
	}
	return e, nil
}

// compile compiles a module, or takes it from the cache: whoever can write there
// can run code in the host.
func (e *wasmtimeEngine) compile(_ context.Context, wasm []byte) (code, error) {
	if e.cacheDir == "" {
		m, err := wasmtime.NewModule(e.engine, wasm)
		if err != nil {
			return nil, err
		}
		return e.code(m)
	}
	sum := sha256.Sum256(append([]byte("wasmtime 39.0.1 "+rewrite.Version), wasm...))
	file := filepath.Join(e.cacheDir, "wasmtime-"+hex.EncodeToString(sum[:]))
	if m, err := wasmtime.NewModuleDeserializeFile(e.engine, file); err == nil {
		return e.code(m)
	}
	m, err := wasmtime.NewModule(e.engine, wasm) // also where the entry is of no use
	if err != nil {
		return nil, err
	}
	if err := store(m, file); err != nil {
		m.Close()
		return nil, fmt.Errorf("keep a compiled module: %w", err)
	}
	return e.code(m)
}

// store writes compiled code under its name at once, so that nobody reads half of it.
func store(m *wasmtime.Module, file string) error {
	compiled, err := m.Serialize()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "wasmtime-*.part")
	if err != nil {
		return err
	}
	_, err = f.Write(compiled)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (e *wasmtimeEngine) close(context.Context) error {
	e.engine.Close()
	return nil
}

// wasmtimeCode is a compiled module with its imports, in their order.
type wasmtimeCode struct {
	engine  *wasmtimeEngine
	module  *wasmtime.Module
	imports []wasmtimeImport
}

type wasmtimeImport struct {
	hostFunction
	metering bool
}

func (e *wasmtimeEngine) code(m *wasmtime.Module) (code, error) {
	c := &wasmtimeCode{engine: e, module: m}
	for _, i := range m.Imports() {
		f, ok := e.functions[i.Module()][*i.Name()]
		if !ok { // what is not offered was refused when the module was checked
			m.Close()
			return nil, errors.New("an import that is not offered")
		}
		c.imports = append(c.imports, wasmtimeImport{f, i.Module() == rewrite.ImportModule})
	}
	return c, nil
}

func (c *wasmtimeCode) close(context.Context) error {
	c.module.Close()
	return nil
}

func (c *wasmtimeCode) instantiate(a *activation) (guest, error) {
	a.instance.memory.foreign = true
	g := &wasmtimeGuest{store: wasmtime.NewStore(c.engine.engine), linear: &a.instance.memory}
	g.store.Limiter(int64(g.linear.limit), -1, 1, -1, 1)
	imports := make([]wasmtime.AsExtern, len(c.imports))
	for n, i := range c.imports {
		imports[n] = wasmtime.NewFunc(g.store, wasmtime.NewFuncType(wasmtimeTypes(i.params), wasmtimeTypes(i.results)), g.serve(a, i))
	}
	var err error
	if g.instance, err = wasmtime.NewInstance(g.store, c.module, imports); err != nil {
		g.store.Close()
		if memories := a.module.description.Memories; len(memories) > 0 {
			g.linear.region, g.linear.length = nil, uint64(memories[0].Min)*pageSize // what it had, at least
		}
		return nil, cause(err)
	}
	g.sync()
	return g, nil
}

func wasmtimeTypes(types []rewrite.ValType) []*wasmtime.ValType {
	kinds := map[rewrite.ValType]wasmtime.ValKind{rewrite.I32: wasmtime.KindI32, rewrite.I64: wasmtime.KindI64}
	list := make([]*wasmtime.ValType, len(types))
	for n, t := range types {
		list[n] = wasmtime.NewValType(kinds[t])
	}
	return list
}

// wasmtimeGuest is an instance and the store that it is alone in.
type wasmtimeGuest struct {
	store    *wasmtime.Store
	instance *wasmtime.Instance
	memory   *wasmtime.Memory
	linear   *linearMemory
}

// sync shows the memory, which a guest may have moved by growing it.
func (g *wasmtimeGuest) sync() {
	if g.memory == nil && g.instance != nil {
		if e := g.instance.GetExport(g.store, abi.ExportMemory); e != nil {
			g.memory = e.Memory()
		}
	}
	if g.memory != nil {
		g.linear.region = g.memory.UnsafeData(g.store)
		g.linear.length = uint64(len(g.linear.region))
	}
}

// serve makes wasmtime's function of an import. A guest that is stopped inside of
// it ends with a trap.
func (g *wasmtimeGuest) serve(a *activation, i wasmtimeImport) func(*wasmtime.Caller, []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
	return func(caller *wasmtime.Caller, args []wasmtime.Val) (results []wasmtime.Val, trap *wasmtime.Trap) {
		defer func() {
			if r := recover(); r != nil {
				if _, deliberate := r.(stop); !deliberate {
					panic(r) // the binding passes it on to the caller
				}
				results, trap = nil, wasmtime.NewTrap(stop{}.Error())
			}
		}()
		if g.memory == nil { // the start function runs: there is no instance yet
			if e := caller.GetExport(abi.ExportMemory); e != nil {
				g.memory = e.Memory()
			}
		}
		g.sync()
		var stack [maxParams]uint64
		for n, v := range args {
			stack[n] = fromWasmtime(v)
		}
		if i.metering {
			i.run(a, nil, stack[:])
		} else {
			a.serve(i.run, stack[:])
		}
		if len(i.results) == 0 {
			return nil, nil
		}
		return []wasmtime.Val{toWasmtime(byte(i.results[0]), stack[0])}, nil
	}
}

// maxParams is how many parameters an import has at most.
const maxParams = 16

func fromWasmtime(v wasmtime.Val) uint64 {
	switch v.Kind() {
	case wasmtime.KindI32:
		return uint64(uint32(v.I32()))
	case wasmtime.KindF32:
		return uint64(math.Float32bits(v.F32()))
	case wasmtime.KindF64:
		return math.Float64bits(v.F64())
	}
	return uint64(v.I64())
}

func toWasmtime(t byte, v uint64) wasmtime.Val {
	switch rewrite.ValType(t) {
	case rewrite.I32:
		return wasmtime.ValI32(int32(v))
	case rewrite.F32:
		return wasmtime.ValF32(math.Float32frombits(uint32(v)))
	case rewrite.F64:
		return wasmtime.ValF64(math.Float64frombits(v))
	}
	return wasmtime.ValI64(int64(v))
}

func (g *wasmtimeGuest) function(name string) function {
	f := g.instance.GetFunc(g.store, name)
	if f == nil {
		return nil
	}
	return &wasmtimeFunction{g, f, len(f.Type(g.store).Params())}
}

type wasmtimeFunction struct {
	guest  *wasmtimeGuest
	f      *wasmtime.Func
	params int
}

// CallWithStack calls the function, whose parameters are i32, as those of all
// extension points are, and whose result is i32 or i64.
func (f *wasmtimeFunction) CallWithStack(_ context.Context, stack []uint64) error {
	args := make([]any, f.params)
	for n := range args {
		args[n] = int32(stack[n])
	}
	result, err := f.f.Call(f.guest.store, args...)
	f.guest.sync()
	switch v := result.(type) {
	case int32:
		stack[0] = uint64(uint32(v))
	case int64:
		stack[0] = uint64(v)
	}
	return cause(err)
}

// cause returns an error of wasmtime as wazero has it: the first line says why, the
// guest's backtrace is behind it.
func cause(err error) error {
	var trap *wasmtime.Trap
	if !errors.As(err, &trap) {
		return err
	}
	if code := trap.Code(); code != nil && *code == wasmtime.StackOverflow {
		return errTooDeep
	}
	guest, _, _ := strings.Cut(trap.Message(), "\n\nStack backtrace:") // the engine's own, of nameless functions
	lines := strings.Split(strings.TrimSpace(guest), "\n")
	return errors.New(strings.TrimSpace(lines[len(lines)-1]) + "\n" + guest)
}

func (g *wasmtimeGuest) global(name string) global {
	e := g.instance.GetExport(g.store, name)
	if e == nil || e.Global() == nil {
		return nil
	}
	return &wasmtimeGlobal{g.store, e.Global()}
}

type wasmtimeGlobal struct {
	store  *wasmtime.Store
	global *wasmtime.Global
}

func (g *wasmtimeGlobal) Get() uint64 {
	v := g.global.Get(g.store)
	switch v.Kind() {
	case wasmtime.KindI32, wasmtime.KindI64, wasmtime.KindF32, wasmtime.KindF64:
		return fromWasmtime(v)
	}
	return 0 // of a type with which an instance is not put back
}

func (g *wasmtimeGlobal) Set(v uint64) {
	kinds := map[wasmtime.ValKind]rewrite.ValType{wasmtime.KindI32: rewrite.I32, wasmtime.KindI64: rewrite.I64, wasmtime.KindF32: rewrite.F32, wasmtime.KindF64: rewrite.F64}
	t := kinds[g.global.Type(g.store).Content().Kind()]
	_ = g.global.Set(g.store, toWasmtime(byte(t), v)) // it is mutable and of this type
}

// grow grows the memory. One that is to shrink cannot.
func (g *wasmtimeGuest) grow(pages uint32) bool {
	if g.linear.shrink > 0 {
		g.linear.shrink = 0
		return false
	}
	_, err := g.memory.Grow(g.store, uint64(pages))
	g.sync()
	return err == nil
}

func (g *wasmtimeGuest) close(context.Context) { g.store.Close() }
