package rewrite

import (
	"errors"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"
)

const (
	opI32Eqz = 0x45
	opI32Mul = 0x6c
	opDrop   = 0x1a
	opNop    = 0x01
	opTee    = 0x22
)

var (
	unary   = FuncType{vals(I32), vals(I32)}
	nothing = FuncType{}
)

// TestFuelExact has the fuel of each path counted by hand: every instruction is 1, but
// block, loop, else and end.
func TestFuelExact(t *testing.T) {
	for _, test := range []struct {
		name  string
		build func(*builder)
		fuel  map[int]int64 // by the argument of f
	}{
		{"straight line", func(m *builder) {
			m.fn("f", unary, nil, asm(opLocalGet, 0, opI32Const, 1, opI32Add, opNop))
		}, map[int]int64{0: 4}},
		{"empty", func(m *builder) {
			m.fn("f", FuncType{Params: vals(I32)}, nil, nil)
		}, map[int]int64{0: 0}},
		{"locals are zeroed", func(m *builder) {
			m.fn("f", unary, make64(I64, 100), asm(opLocalGet, 0))
		}, map[int]int64{0: 1 + 100/LocalsPerFuel}},
		{"if without else", func(m *builder) { // 2 before, 2 inside, 1 after
			m.fn("f", unary, nil, asm(opLocalGet, 0, opIf, emptyBlock, opNop, opNop, opEnd, opLocalGet, 0))
		}, map[int]int64{0: 3, 1: 5}},
		{"if and else", func(m *builder) {
			m.fn("f", unary, nil, asm(opLocalGet, 0, opIf, I32, opI32Const, 1, opNop, opElse, opI32Const, 2, opEnd, opNop))
		}, map[int]int64{0: 4, 1: 5}},
		{"loop", func(m *builder) { // 5 per round, 1 at the end
			m.fn("f", unary, nil, asm(opLoop, emptyBlock, opLocalGet, 0, opI32Const, 1, opI32Sub, opTee, 0,
				opBrIf, 0, opEnd, opLocalGet, 0))
		}, map[int]int64{1: 6, 2: 11, 100: 501}},
		{"loop that does not repeat", func(m *builder) {
			m.fn("f", unary, nil, asm(opLoop, I32, opLocalGet, 0, opEnd))
		}, map[int]int64{1: 1}},
		{"loop left from its middle", func(m *builder) { // header 3; rest of a round 5
			m.fn("f", unary, nil, asm(opBlock, emptyBlock, opLoop, emptyBlock, opLocalGet, 0, opI32Eqz, opBrIf, 1,
				opLocalGet, 0, opI32Const, 1, opI32Sub, opLocalSet, 0, opBr, 0, opEnd, opEnd, opLocalGet, 0))
		}, map[int]int64{0: 4, 1: 12, 10: 84}},
		{"early return", func(m *builder) {
			m.fn("f", unary, nil, asm(opLocalGet, 0, opIf, emptyBlock, opI32Const, 7, opReturn, opNop, opEnd, opI32Const, 8, opNop))
		}, map[int]int64{0: 4, 1: 4}},
		{"branch out of the function", func(m *builder) {
			m.fn("f", unary, nil, asm(opI32Const, 9, opLocalGet, 0, opBrIf, 0, opNop, opNop))
		}, map[int]int64{0: 5, 1: 3}},
		{"br_table", func(m *builder) { // 2; case 0: 2, case 1: 1, default: 0; 1 at the end
			m.fn("f", unary, nil, asm(opBlock, emptyBlock, opBlock, emptyBlock, opBlock, emptyBlock,
				opLocalGet, 0, opBrTable, 2, 0, 1, 2, opEnd,
				opNop, opNop, opBr, 1, opEnd,
				opNop, opEnd, opI32Const, 5))
		}, map[int]int64{0: 2 + 3 + 1, 1: 2 + 1 + 1, 2: 3, 99: 3}},
		{"multi-value block and loop parameters", func(m *builder) {
			two := m.typ(FuncType{nil, vals(I32, I32)})
			twoOne := m.typ(FuncType{vals(I32, I32), vals(I32)})
			m.fn("f", unary, nil, asm(opBlock, two, opLocalGet, 0, opI32Const, 3, opEnd, opLoop, twoOne, opI32Add, opEnd, opNop))
		}, map[int]int64{4: 4}},
		{"calls", func(m *builder) { // the callee charges itself: 2 each
			g := m.fn("", unary, nil, asm(opLocalGet, 0, opI32Eqz))
			m.fn("f", unary, nil, asm(opLocalGet, 0, opCall, g, opCall, g, opNop))
		}, map[int]int64{4: 4 + 2*2}},
		{"recursion", func(m *builder) { // 2 at the bottom, else 6 a level, 1 to return
			m.fn("f", unary, nil, asm(opLocalGet, 0, opIf, I32, opLocalGet, 0, opI32Const, 1, opI32Sub, opCall, 0,
				opElse, opI32Const, 0, opEnd))
		}, map[int]int64{0: 3, 1: 6 + 3, 50: 50*6 + 3}},
		{"call_indirect", func(m *builder) {
			g := m.fn("", unary, nil, asm(opLocalGet, 0, opI32Eqz))
			m.tables = append(m.tables, asm(FuncRef, 0, 1))
			m.elems = append(m.elems, asm(0, opI32Const, 0, opEnd, 1, g))
			m.fn("f", unary, nil, asm(opLocalGet, 0, opI32Const, 0, opCallIndirect, m.typ(unary), 0))
		}, map[int]int64{4: 3 + 2}},
		{"dead code", func(m *builder) {
			m.fn("f", unary, nil, asm(opBlock, emptyBlock, opBr, 0, opNop, opNop, opLoop, emptyBlock, opNop, opBr, 0, opEnd, opEnd, opLocalGet, 0))
		}, map[int]int64{0: 2}},
		{"memory.fill", func(m *builder) {
			m.memories = append(m.memories, asm(0, 2))
			m.fn("f", unary, nil, asm(opI32Const, 0, opI32Const, 1, opLocalGet, 0, opPrefixMisc, miscMemoryFill, 0, opLocalGet, 0))
		}, map[int]int64{0: 5, 15: 5, 16: 6, 100_000: 5 + 100_000/BytesPerFuel}},
		{"memory.copy and grow", func(m *builder) {
			m.memories = append(m.memories, asm(0, 1))
			m.fn("f", unary, nil, asm(opLocalGet, 0, opMemoryGrow, 0, opDrop,
				opI32Const, 0, opI32Const, 1, opI32Const, int64(64), opPrefixMisc, miscMemoryCopy, 0, 0, opLocalGet, 0))
		}, map[int]int64{0: 8 + 4, 3: 8 + 4 + 3*FuelPerPage, -1: 8 + 4}},
		{"tables", func(m *builder) {
			m.tables = append(m.tables, asm(FuncRef, 0, 10))
			m.fn("f", unary, nil, asm(opRefNull, FuncRef, opLocalGet, 0, opPrefixMisc, miscTableGrow, 0, opDrop,
				opI32Const, 0, opRefNull, FuncRef, opI32Const, 5, opPrefixMisc, miscTableFill, 0, opLocalGet, 0))
		}, map[int]int64{0: 9 + 5, 100: 9 + 5 + 100}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var m builder
			test.build(&m)
			meter := newMeter()
			mod := start(t, m.wasm(), DefaultOptions(), meter)
			for arg, want := range test.fuel {
				before := meter.used(mod)
				if _, err := mod.ExportedFunction("f").Call(t.Context(), uint64(uint32(arg))); err != nil {
					t.Fatal(err)
				}
				if got := meter.used(mod) - before; got != want {
					t.Errorf("f(%d): %d fuel, want %d", arg, got, want)
				}
				if depth(mod) != DefaultOptions().MaxDepth {
					t.Errorf("f(%d): depth %d after the call", arg, depth(mod))
				}
			}
		})
	}
}

func make64(t ValType, n int) []ValType {
	all := make([]ValType, n)
	for i := range all {
		all[i] = t
	}
	return all
}

// TestFuelStops has guests that would run for very long, or for ever.
func TestFuelStops(t *testing.T) {
	for name, build := range map[string]func(*builder){
		"infinite loop": func(m *builder) {
			m.fn("f", nothing, nil, asm(opLoop, emptyBlock, opBr, 0, opEnd))
		},
		"loop of calls": func(m *builder) {
			g := m.fn("", nothing, nil, nil)
			m.fn("f", nothing, nil, asm(opLoop, emptyBlock, opCall, g, opBr, 0, opEnd))
		},
		"loop through br_table": func(m *builder) {
			m.fn("f", nothing, nil, asm(opLoop, emptyBlock, opLoop, emptyBlock, opI32Const, 0, opBrTable, 1, 1, 1, opEnd, opEnd))
		},
		"exponential calls": func(m *builder) {
			for i := range uint32(60) {
				code := asm(opCall, i+1, opCall, i+1)
				if i == 59 {
					code = nil
				}
				m.fn(map[bool]string{true: "f"}[i == 0], nothing, nil, code)
			}
		},
		"memory.fill": func(m *builder) {
			m.memories = append(m.memories, asm(0, 2))
			m.fn("f", nothing, nil, asm(opLoop, emptyBlock, opI32Const, 0, opI32Const, 0, opI32Const, int64(-1),
				opPrefixMisc, miscMemoryFill, 0, opBr, 0, opEnd))
		},
		"memory.grow": func(m *builder) {
			m.memories = append(m.memories, asm(0, 0))
			m.fn("f", nothing, nil, asm(opI32Const, int64(2000), opMemoryGrow, 0, opDrop))
		},
		"table.grow": func(m *builder) {
			m.tables = append(m.tables, asm(FuncRef, 0, 0))
			m.fn("f", nothing, nil, asm(opRefNull, FuncRef, opI32Const, int64(-1), opPrefixMisc, miscTableGrow, 0, opDrop))
		},
		"start function": func(m *builder) {
			m.start = asm(m.fn("f", nothing, nil, asm(opLoop, emptyBlock, opBr, 0, opEnd)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var m builder
			build(&m)
			meter := newMeter()
			meter.budget = 1_000_000
			res, err := Module(m.wasm(), DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			r := newRuntime(t, runtimeConfig)
			meter.define(t, r)
			began := time.Now()
			mod, err := r.Instantiate(t.Context(), res.Wasm)
			if err == nil {
				_, err = mod.ExportedFunction("f").Call(t.Context())
			}
			if !errors.Is(err, errFuel) {
				t.Errorf("it ended with %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestDepth has recursion without end, in every form.
func TestDepth(t *testing.T) {
	for name, build := range map[string]func(*builder){
		"plain": func(m *builder) {
			m.fn("f", nothing, nil, asm(opCall, 0))
		},
		"mutual": func(m *builder) {
			m.fn("f", nothing, nil, asm(opCall, 1))
			m.fn("", nothing, nil, asm(opCall, 0))
		},
		"call_indirect": func(m *builder) {
			f := m.fn("f", nothing, nil, asm(opI32Const, 0, opCallIndirect, 0, 0))
			m.tables = append(m.tables, asm(FuncRef, 0, 1))
			m.elems = append(m.elems, asm(0, opI32Const, 0, opEnd, 1, f))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var m builder
			build(&m)
			mod := start(t, m.wasm(), DefaultOptions(), newMeter())
			if _, err := mod.ExportedFunction("f").Call(t.Context()); !errors.Is(err, errOverflow) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// TestDepthExact finds the deepest recursion that a limit allows.
func TestDepthExact(t *testing.T) {
	operands := func(n int) []byte { // n calls whose results wait on the operand stack
		code := asm(opLocalGet, 0)
		for range n {
			code = append(code, opLocalGet, 0)
		}
		return code
	}
	for _, test := range []struct {
		name   string
		locals int
		code   []byte // before the recursive call, leaves one operand too many for each drop
		drops  int
		weight int
	}{
		{"small frame", 0, nil, 0, 1},
		{"many locals", 640, nil, 0, 11},
		{"many operands", 0, operands(128), 129, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			var m builder
			drop := make([]byte, test.drops)
			for i := range drop {
				drop[i] = opDrop
			}
			m.fn("f", FuncType{Params: vals(I32)}, make64(I32, test.locals), asm(opLocalGet, 0, opIf, emptyBlock, test.code,
				opLocalGet, 0, opI32Const, 1, opI32Sub, opCall, 0, drop, opEnd))
			opts := DefaultOptions()
			opts.MaxDepth = 100
			mod := start(t, m.wasm(), opts, newMeter())
			deepest := uint64(100/test.weight) - 1
			if _, err := mod.ExportedFunction("f").Call(t.Context(), deepest); err != nil {
				t.Errorf("depth %d: %v", deepest, err)
			}
			if depth(mod) != 100 {
				t.Errorf("depth %d after the call", depth(mod))
			}
			if _, err := mod.ExportedFunction("f").Call(t.Context(), deepest+1); !errors.Is(err, errOverflow) {
				t.Errorf("depth %d: %v", deepest+1, err)
			}
		})
	}
}

// TestSlices has the host give fuel in slices of different sizes: the sum is the same.
func TestSlices(t *testing.T) {
	var m builder
	m.fn("f", unary, nil, asm(opLoop, emptyBlock, opLocalGet, 0, opI32Const, 1, opI32Sub, opTee, 0, opBrIf, 0, opEnd, opLocalGet, 0))
	for _, slice := range []int64{1, 7, 1000, 1 << 40} {
		meter := newMeter()
		meter.slice = slice
		mod := start(t, m.wasm(), DefaultOptions(), meter)
		if _, err := mod.ExportedFunction("f").Call(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if got := meter.used(mod); got != 5001 {
			t.Errorf("slices of %d: %d fuel", slice, got)
		}
		if slice == 7 && meter.refills < 500 {
			t.Errorf("slices of %d: %d refills", slice, meter.refills)
		}
	}
	mod := start(t, m.wasm(), DefaultOptions(), newMeter())
	mod.ExportedGlobal(ExportFuel).(api.MutableGlobal).Set(6000)
	if _, err := mod.ExportedFunction("f").Call(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	if left := mod.ExportedGlobal(ExportFuel).Get(); left != 999 {
		t.Errorf("%d of 6000 fuel left", left)
	}
}
