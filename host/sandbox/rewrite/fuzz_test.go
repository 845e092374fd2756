package rewrite

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// FuzzRewriteSame makes a module, runs it as it is, rewritten, and in the
// oracle: the same results, traps, memory and globals, and exact fuel.
func FuzzRewriteSame(f *testing.F) {
	f.Add([]byte{})
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { compareGenerated(t, data) })
}

// TestRewriteSame is the same on more modules than the fuzz test's corpus has.
func TestRewriteSame(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	returned := 0
	for range 300 {
		b := make([]byte, 50+random.IntN(1500))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if compareGenerated(t, b) {
			returned++
		}
	}
	if returned < 100 || returned > 290 {
		t.Errorf("%d of 300 modules returned, the others trapped", returned)
	}
}

// compareGenerated reports whether the generated module ended without a trap.
func compareGenerated(t *testing.T, data []byte) bool {
	wasm, m := generate(data)
	res, err := Module(wasm, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	meter := newMeter()
	want, wantResult, wantErr := runGenerated(t, wasm, newMeter())
	got, gotResult, gotErr := runGenerated(t, res.Wasm, meter)
	if firstLine(wantErr) != firstLine(gotErr) {
		t.Fatalf("original: %v, rewritten: %v", wantErr, gotErr)
	}
	oracle := newInterpreter(m)
	oracle.push(5)
	err = oracle.call(1)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("original: %v, oracle: %v", wantErr, err)
	}
	size := want.Memory().Size()
	a, _ := want.Memory().Read(0, size)
	b, _ := got.Memory().Read(0, size)
	if got.Memory().Size() != size || !bytes.Equal(a, b) || !bytes.Equal(a, oracle.memory) {
		t.Error("the memories differ")
	}
	for i, w := range oracle.globals {
		if g := got.ExportedGlobal(GlobalExport(uint32(i))).Get(); g != w {
			t.Errorf("global %d: rewritten %d, oracle %d", i, g, w)
		}
	}
	if wantErr != nil {
		return false
	}
	if result := oracle.pop32(); wantResult != result || gotResult != result {
		t.Errorf("result: original %d, rewritten %d, oracle %d", wantResult, gotResult, result)
	}
	if used := meter.used(got); used != oracle.fuel {
		t.Errorf("fuel %d, the oracle counts %d", used, oracle.fuel)
	}
	if depth(got) != DefaultOptions().MaxDepth {
		t.Errorf("depth %d after the call", depth(got))
	}
	return true
}

// runGenerated calls f(5).
func runGenerated(t *testing.T, wasm []byte, meter *meter) (api.Module, uint64, error) {
	t.Helper()
	r := newRuntime(t, wazero.NewRuntimeConfigInterpreter())
	meter.define(t, r)
	_, err := r.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithFunc(func(v uint32) uint32 { return v*3 + 1 }).Export("host").Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mod, err := r.Instantiate(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	results, err := mod.ExportedFunction("f").Call(t.Context(), 5)
	if err != nil {
		return mod, 0, err
	}
	return mod, results[0], nil
}

// FuzzRewriteBytes has bytes of any kind: no panic, nothing slow, and no memory out of
// proportion.
func FuzzRewriteBytes(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Add(generateWasm([]byte("some seed that is long enough for a few statements and more")))
	f.Add(withCode(opI32Const, 0, opBrTable, 1, 0, 0))
	f.Add(loopBomb(5, 10))
	f.Fuzz(func(t *testing.T, data []byte) { rewriteAny(t, data) })
}

// TestRewriteBytes mutates generated modules.
func TestRewriteBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	accepted := 0
	for range 5000 {
		seed := make([]byte, 200)
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		wasm := generateWasm(seed)
		for range 1 + random.IntN(4) {
			at := 8 + random.IntN(len(wasm)-8)
			wasm[at] = byte(random.Uint32())
		}
		if rewriteAny(t, wasm) {
			accepted++
		}
	}
	t.Logf("%d of 5000 mutated modules were accepted", accepted)
}

// rewriteAny reports whether bytes were accepted. What the engine would refuse it must
// refuse as well after rewriting.
func rewriteAny(t *testing.T, data []byte) bool {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	res, err := Module(data, DefaultOptions())
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if took > 5*time.Second {
		t.Errorf("%d bytes took %s", len(data), took)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20+100*uint64(len(data)) {
		t.Errorf("%d bytes made it allocate %d", len(data), used)
	}
	_, inspected := Inspect(data, DefaultOptions())
	if fmt.Sprint(err) != fmt.Sprint(inspected) {
		t.Errorf("Module: %v, Inspect: %v", err, inspected)
	}
	if err != nil {
		return false
	}
	r := newRuntime(t, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	_, original := r.CompileModule(t.Context(), data)
	_, rewritten := r.CompileModule(t.Context(), res.Wasm)
	if original != nil && strings.Contains(original.Error(), "custom section") {
		return true // malformed names do not make a module invalid, and are dropped
	}
	if (original == nil) != (rewritten == nil) {
		t.Errorf("the engine says of the original: %v, of the rewritten: %v", original, rewritten)
	}
	return true
}
