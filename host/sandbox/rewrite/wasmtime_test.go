//go:build wasmtime

package rewrite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/bytecodealliance/wasmtime-go/v39"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// rival is a rewritten module on wasmtime.
type rival struct {
	store    *wasmtime.Store
	instance *wasmtime.Instance
	meter    *meter
}

func newRival(wasm []byte) (*rival, error) {
	engine := wasmtime.NewEngine()
	r := &rival{store: wasmtime.NewStore(engine), meter: newMeter()}
	module, err := wasmtime.NewModule(engine, wasm)
	if err != nil {
		return nil, err
	}
	linker := wasmtime.NewLinker(engine)
	err = errors.Join(
		linker.FuncWrap(ImportModule, ImportRefill, func(left int64) int64 {
			stack := []uint64{uint64(left)}
			r.meter.refill(context.Background(), nil, stack)
			return int64(stack[0])
		}),
		linker.FuncWrap(ImportModule, ImportOverflow, func() *wasmtime.Trap { return wasmtime.NewTrap("out of depth") }),
		linker.FuncWrap("env", "host", func(v int32) int32 { return v*3 + 1 }),
	)
	if err != nil {
		return nil, err
	}
	r.instance, err = linker.Instantiate(r.store, module)
	return r, err
}

func (r *rival) used() int64 {
	return r.meter.granted - r.instance.GetExport(r.store, ExportFuel).Global().Get(r.store).I64()
}

// call calls a function and returns its results as words.
func (r *rival) call(name string, args []uint64) ([]uint64, error) {
	f := r.instance.GetFunc(r.store, name)
	var given []any
	for i, p := range f.Type(r.store).Params() {
		switch p.Kind() {
		case wasmtime.KindI32:
			given = append(given, int32(args[i]))
		case wasmtime.KindI64:
			given = append(given, int64(args[i]))
		case wasmtime.KindF32:
			given = append(given, math.Float32frombits(uint32(args[i])))
		case wasmtime.KindF64:
			given = append(given, math.Float64frombits(args[i]))
		}
	}
	result, err := f.Call(r.store, given...)
	var words []uint64
	word := func(v any) {
		switch v := v.(type) {
		case int32:
			words = append(words, uint64(uint32(v)))
		case int64:
			words = append(words, uint64(v))
		case float32:
			words = append(words, uint64(math.Float32bits(v)))
		case float64:
			words = append(words, math.Float64bits(v))
		case wasmtime.Val:
			words = append(words, wordOf(v))
		}
	}
	if list, ok := result.([]wasmtime.Val); ok {
		for _, v := range list {
			word(v)
		}
	} else {
		word(result)
	}
	return words, err
}

func wordOf(v wasmtime.Val) uint64 {
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

// Generated modules give the same results, traps and fuel on both engines.
func TestWasmtimeSameOnGenerated(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	returned := 0
	for n := range 200 {
		seed := make([]byte, 50+random.IntN(1000))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		res, err := Module(generateWasm(seed), DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		meter := newMeter()
		mod, want, wantErr := runGenerated(t, res.Wasm, meter)
		r, err := newRival(res.Wasm)
		if err != nil {
			t.Fatal(err)
		}
		got, gotErr := r.call("f", []uint64{5})
		switch {
		case (wantErr == nil) != (gotErr == nil):
			t.Errorf("module %d: wazero %v, wasmtime %v", n, wantErr, gotErr)
		case wantErr != nil:
			if meter.granted != r.meter.granted {
				t.Errorf("module %d: before the trap wazero was given %d of fuel, wasmtime %d", n, meter.granted, r.meter.granted)
			}
		default:
			returned++
			if len(got) != 1 || uint32(got[0]) != uint32(want) || meter.used(mod) != r.used() {
				t.Errorf("module %d: wazero %d with %d of fuel, wasmtime %d with %d", n, want, meter.used(mod), got, r.used())
			}
		}
	}
	if returned < 60 {
		t.Errorf("only %d modules returned", returned)
	}
}

// The modules of the specification tests that import nothing give the same
// results, traps and fuel on both engines.
func TestWasmtimeSameOnSpec(t *testing.T) {
	root := filepath.Join(wazeroDir(t), "internal", "integration_test", "spectest", "v2", "testdata")
	files, err := filepath.Glob(filepath.Join(root, "*.json"))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	total := 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { total += specOnBoth(t, file) })
	}
	t.Logf("%d calls compared", total)
	if total < 20_000 {
		t.Errorf("only %d calls were compared", total)
	}
}

// pair is one module on both engines.
type pair struct {
	wazero   api.Module
	meter    *meter
	wasmtime *rival
}

func specOnBoth(t *testing.T, file string) (compared int) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script struct{ Commands []specCommand }
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(err)
	}
	var last *pair
	for _, c := range script.Commands {
		switch c.Type {
		case "module":
			wasm, err := os.ReadFile(filepath.Join(filepath.Dir(file), c.Filename))
			if err != nil {
				t.Fatal(err)
			}
			last = newPair(t, wasm)
		case "action", "assert_return", "assert_trap":
			if last != nil && c.Action.Type == "invoke" && c.Action.Module == "" && last.compare(t, fmt.Sprintf("line %d", c.Line), &c.Action) {
				compared++
			}
		}
	}
	return compared
}

// newPair returns nil for a module that imports.
func newPair(t *testing.T, wasm []byte) *pair {
	res, err := Module(wasm, specOptions())
	if err != nil || len(res.Imports) > 0 {
		return nil
	}
	p := &pair{meter: newMeter()}
	r := newRuntime(t, wazero.NewRuntimeConfig())
	p.meter.define(t, r)
	p.wazero, err = r.Instantiate(t.Context(), res.Wasm)
	var rivalErr error
	p.wasmtime, rivalErr = newRival(res.Wasm)
	if (err == nil) != (rivalErr == nil) {
		t.Errorf("wazero: %v, wasmtime: %v", err, rivalErr)
	}
	if err != nil || rivalErr != nil {
		return nil
	}
	return p
}

// compare calls a function of numbers on both, and reports whether it was one.
func (p *pair) compare(t *testing.T, at string, a *specAction) bool {
	f := p.wazero.ExportedFunction(a.Field)
	for _, v := range append(f.Definition().ParamTypes(), f.Definition().ResultTypes()...) {
		if v < api.ValueTypeF64 || v > api.ValueTypeI32 {
			return false
		}
	}
	var args []uint64
	for _, v := range a.Args {
		args = append(args, v.words()...)
	}
	want, wantErr := f.Call(t.Context(), args...)
	for i, v := range f.Definition().ResultTypes() {
		if wantErr == nil && (v == api.ValueTypeI32 || v == api.ValueTypeF32) {
			want[i] = uint64(uint32(want[i])) // the rest of the word means nothing
		}
	}
	got, gotErr := p.wasmtime.call(a.Field, args)
	if (wantErr == nil) != (gotErr == nil) {
		t.Errorf("%s: wazero %v, wasmtime %v", at, wantErr, gotErr)
		return true
	}
	if wantErr != nil {
		depth := uint64(specOptions().MaxDepth)
		p.wazero.ExportedGlobal(ExportDepth).(api.MutableGlobal).Set(depth)
		_ = p.wasmtime.instance.GetExport(p.wasmtime.store, ExportDepth).Global().Set(p.wasmtime.store, wasmtime.ValI32(int32(depth)))
	} else if !sameWords(want, got, f.Definition().ResultTypes()) {
		t.Errorf("%s: wazero %x, wasmtime %x", at, want, got)
	}
	if w, g := p.meter.used(p.wazero), p.wasmtime.used(); w != g {
		t.Errorf("%s: wazero used %d of fuel, wasmtime %d", at, w, g)
	}
	return true
}
