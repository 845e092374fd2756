package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// TestRenumbering has every place that holds a function index refer to a function
// that says which one it is.
func TestRenumbering(t *testing.T) {
	result := FuncType{nil, vals(I32)}
	for name, imports := range map[string]int{"no imports": 0, "imports": 2} {
		t.Run(name, func(t *testing.T) {
			var m builder
			for i := range imports {
				m.importFunc("env", fmt.Sprint("i", i), result)
			}
			n := uint32(imports)
			one := m.fn("one", result, nil, asm(opI32Const, 1))
			two := m.fn("two", result, nil, asm(opI32Const, 2))
			three := m.fn("", result, nil, asm(opI32Const, 3))
			started := m.global(I32, 1, opI32Const, 0)
			m.start = asm(m.fn("", nothing, nil, asm(opI32Const, 9, opGlobalSet, started)))
			m.fn("call", result, nil, asm(opCall, one, opI32Const, 10, opI32Mul, opCall, two, opI32Add))
			m.fn("table", unary, nil, asm(opLocalGet, 0, opCallIndirect, m.typ(result), 0))
			m.fn("started", result, nil, asm(opGlobalGet, started))
			m.global(FuncRef, 0, opRefFunc, three)
			m.fn("drop", nothing, nil, asm(opPrefixMisc, miscElemDrop, 1))
			m.fn("set", nothing, nil, asm(opI32Const, 6, opRefFunc, two, opTableSet, 0))
			m.fn("copy", nothing, nil, asm(opI32Const, 7, opGlobalGet, 1, opTableSet, 0,
				opI32Const, 8, opI32Const, 0, opI32Const, 1, opPrefixMisc, miscTableInit, 1, 0,
				opI32Const, 9, opI32Const, 0, opI32Const, 1, opPrefixMisc, miscTableInit, 5, 0))
			m.tables = append(m.tables, asm(FuncRef, 0, 10))
			m.elems = append(m.elems,
				asm(0, opI32Const, 0, opEnd, 1, one),
				asm(1, 0, 1, two),
				asm(2, 0, opI32Const, 1, opEnd, 0, 1, three),
				asm(3, 0, 1, two),
				asm(4, opI32Const, 2, opEnd, 1, opRefFunc, one, opEnd),
				asm(5, FuncRef, 1, opRefFunc, three, opEnd),
				asm(6, 0, opI32Const, 3, opEnd, FuncRef, 2, opRefFunc, two, opEnd, opRefNull, FuncRef, opEnd),
				asm(7, FuncRef, 1, opRefFunc, two, opEnd))
			if imports > 0 {
				m.elems = append(m.elems, asm(0, opI32Const, 5, opEnd, 1, n-1))
				m.export("imported", ExternFunc, n-1)
			}
			checkRenumbered(t, m.wasm(), imports > 0)
		})
	}
}

func checkRenumbered(t *testing.T, wasm []byte, imports bool) {
	res, err := Module(wasm, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t, runtimeConfig)
	newMeter().define(t, r)
	env := r.NewHostModuleBuilder("env")
	for i := range 2 {
		env.NewFunctionBuilder().WithFunc(func() int32 { return int32(70 + i) }).Export(fmt.Sprint("i", i))
	}
	if _, err := env.Instantiate(t.Context()); err != nil {
		t.Fatal(err)
	}
	mod, err := r.Instantiate(t.Context(), res.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	call := func(name string, want uint64, args ...uint64) {
		t.Helper()
		got, err := mod.ExportedFunction(name).Call(t.Context(), args...)
		if err != nil || len(got) > 0 && got[0] != want {
			t.Errorf("%s%v: %v, %v, want %d", name, args, got, err, want)
		}
	}
	call("one", 1)
	call("two", 2)
	call("call", 12)
	call("started", 9)
	call("set", 0)
	call("copy", 0)
	for slot, want := range map[uint64]uint64{0: 1, 1: 3, 2: 1, 3: 2, 6: 2, 7: 3, 8: 2, 9: 3} {
		call("table", want, slot)
	}
	if imports {
		call("imported", 71)
		call("table", 71, 5)
	}
	if mod.ExportedGlobal(GlobalExport(0)).Get() != 9 {
		t.Error("the mutable global is not exported")
	}
}

// TestNames has the names of functions, locals and labels follow their functions.
func TestNames(t *testing.T) {
	var m builder
	m.importFunc("env", "i", nothing)
	f := m.fn("f", nothing, nil, nil)
	m.before = []CustomSection{{"first", []byte{1}}}
	names := asm(0, 2, "m", 1, 8, 2, 0, "i", f, "ff", 2, 6, 1, f, 1, 0, "x", 3, 6, 1, f, 1, 0, "l", 7, 4, 1, 0, "g")
	m.after = []CustomSection{
		{"name", names},
		{"hexdag.manifest", []byte("{}")},
		{".debug_info", []byte{1, 2}},
		{"name", []byte{1, 99}},
	}
	res, err := Module(m.wasm(), DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	g := f + numImports
	want := asm(0, 2, "m", 1, 8, 2, 0, "i", g, "ff", 2, 6, 1, g, 1, 0, "x", 3, 6, 1, g, 1, 0, "l", 7, 4, 1, 0, "g")
	var got []string
	r := &reader{buf: res.Wasm, pos: 8}
	for r.more() {
		if id, s := r.byte(), r.sub(r.u32()); id == secCustom {
			name := s.name()
			got = append(got, name)
			if rest := s.buf[s.pos:]; name == "name" && !bytes.Equal(rest, want) {
				t.Errorf("name section %x, want %x", rest, want)
			} else if name == markSection && string(rest) != Version {
				t.Errorf("mark %q", rest)
			}
		}
	}
	if want := []string{"first", "name", "hexdag.manifest", markSection}; !slices.Equal(got, want) {
		t.Errorf("custom sections %q, want %q", got, want)
	}
	if len(res.Custom) != 5 {
		t.Errorf("custom sections described: %d", len(res.Custom))
	}
}

func TestDescription(t *testing.T) {
	var m builder
	m.importFunc("env", "i", FuncType{vals(I32, I64), vals(F32)})
	m.fn("f", FuncType{vals(V128), vals(F64, ExternRef)}, nil, asm(opUnreachable))
	m.memories = append(m.memories, asm(1, 1, 9))
	m.tables = append(m.tables, asm(FuncRef, 0, 3), asm(ExternRef, 1, 0, uint32(1<<20)))
	m.global(I32, 0, opI32Const, 0)
	m.global(I64, 1, opI64Const, 0)
	m.after = []CustomSection{{"producers", asm(1, "language", 1, "Go", "1.26")}}
	d, err := Inspect(m.wasm(), DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	want := "[{env i func (i32, i64) -> (f32) {0 0 false} {type(0x0) false}}] [{f func 1 (v128) -> (f64, externref)}] " +
		"[{1 9 true}] [{3 100000 true} {0 100000 true}] [{1 i64 hexdag.global.1}] [{language Go 1.26}] 1 false false false"
	got := fmt.Sprint(d.Imports, d.Exports, d.Memories, d.Tables, d.MutableGlobals, d.Producers, d.Functions, d.HasStart, d.HasTableWrites, d.HasSegmentDrops)
	if got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// TestLowered has a module grow its memory and its table past the limits.
func TestLowered(t *testing.T) {
	var m builder
	m.memories = append(m.memories, asm(0, 1))
	m.tables = append(m.tables, asm(FuncRef, 0, 1))
	m.fn("memory", unary, nil, asm(opLocalGet, 0, opMemoryGrow, 0))
	m.fn("table", unary, nil, asm(opRefNull, FuncRef, opLocalGet, 0, opPrefixMisc, miscTableGrow, 0))
	opts := DefaultOptions()
	opts.MaxMemoryPages, opts.MaxTableElements = 5, 7
	mod := start(t, m.wasm(), opts, newMeter())
	for _, test := range []struct {
		fn   string
		n    uint64
		want int32
	}{{"memory", 5, -1}, {"memory", 4, 1}, {"memory", 1, -1}, {"table", 7, -1}, {"table", 6, 1}, {"table", 1, -1}} {
		got, err := mod.ExportedFunction(test.fn).Call(t.Context(), test.n)
		if err != nil || api.DecodeI32(got[0]) != test.want {
			t.Errorf("%s.grow(%d): %v, %v", test.fn, test.n, got, err)
		}
	}
}
