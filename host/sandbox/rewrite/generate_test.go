package rewrite

// generator makes a valid module from bytes: several functions that call each
// other, directly and through a table, in structured control flow over locals,
// globals, memory and tables. A counter in global 0, taken down by every
// function and loop, ends them all.
type generator struct {
	bytes  []byte
	m      builder
	code   []byte
	typ    FuncType
	locals []ValType // with the parameters
	labels [][]ValType
	size   int // of the function so far
}

const (
	genSteps     = 200 // the counter's start
	genFuncs     = 5
	genMaxSize   = 150 // statements in a function
	globalCount  = 0
	globalI32    = 1
	globalI64    = 2
	tableSlots   = 8
	opSelect     = 0x1b
	opI64Eqz     = 0x50
	opI32WrapI64 = 0xa7
	opI32GtS     = 0x4a
	opI32And     = 0x71
	opMemorySize = 0x3f
)

var genTypes = []FuncType{
	nothing, unary,
	{vals(I32, I64), vals(I64)},
	{vals(I64), vals(I32, I64)},
	{nil, vals(I64, I32, I32)},
}

func (g *generator) next() byte {
	if len(g.bytes) == 0 {
		return 0
	}
	b := g.bytes[0]
	g.bytes = g.bytes[1:]
	return b
}

func (g *generator) n(n int) int { return int(g.next()) % n }

func (g *generator) emit(parts ...any) { g.code = append(g.code, asm(parts...)...) }

// generate returns a module whose function "f" is (i32) -> (i32). It imports
// env.host: (i32) -> (i32).
func generate(bytes []byte) ([]byte, *builder) {
	g := &generator{bytes: bytes}
	m := &g.m
	m.importFunc("env", "host", unary)
	for _, t := range genTypes {
		m.typ(t)
	}
	m.memories = append(m.memories, asm(1, 1, 3))
	m.tables = append(m.tables, asm(FuncRef, 1, tableSlots, 2*tableSlots))
	m.global(I32, 1, opI32Const, int64(genSteps))
	m.global(I32, 1, opI32Const, 7)
	m.global(I64, 1, opI64Const, int64(-5))
	types := make([]FuncType, genFuncs)
	types[0] = unary
	for i := 1; i < genFuncs; i++ {
		types[i] = genTypes[g.n(len(genTypes))]
	}
	for i, t := range types {
		m.funcs = append(m.funcs, m.typ(t))
		m.bodies = append(m.bodies, nil)
		if i == 0 {
			m.export("f", ExternFunc, 1)
		}
	}
	for i, t := range types {
		g.function(i, t)
	}
	m.elems = append(m.elems, asm(0, opI32Const, 0, opEnd, 6, 1, 2, 3, 0, 4, 5), asm(1, 0, 2, 3, 4))
	m.data = append(m.data, asm(0, opI32Const, 16, opEnd, "some data that is there at the start"), asm(1, "passive"))
	m.counted = true
	return m.wasm(), m
}

func generateWasm(bytes []byte) []byte {
	wasm, _ := generate(bytes)
	return wasm
}

func (g *generator) function(i int, t FuncType) {
	g.typ, g.code, g.size = t, nil, 0
	g.labels = [][]ValType{t.Results}
	g.locals = append([]ValType{}, t.Params...)
	var declared []byte
	for range 2 + g.n(3) {
		local := vals(I32, I64)[g.n(2)]
		g.locals = append(g.locals, local)
		declared = append(declared, 1, byte(local))
	}
	g.emit(opGlobalGet, globalCount, opI32Const, 1, opI32Sub, opGlobalSet, globalCount)
	g.emit(opGlobalGet, globalCount, opI32Const, 0, opI32LtS, opIf, emptyBlock)
	g.zeroes(t.Results)
	g.emit(opReturn, opEnd)
	g.statements(3)
	g.exprs(t.Results, 2)
	body := asm(uint32(len(g.locals)-len(t.Params)), declared, g.code, opEnd)
	g.m.bodies[i] = asm(uint32(len(body)), body)
}

func (g *generator) zeroes(types []ValType) {
	for _, t := range types {
		if t == I32 {
			g.emit(opI32Const, 0)
		} else {
			g.emit(opI64Const, 0)
		}
	}
}

func (g *generator) exprs(types []ValType, depth int) {
	for _, t := range types {
		g.expr(t, depth)
	}
}

func (g *generator) drops(n int) {
	for range n {
		g.emit(opDrop)
	}
}

func (g *generator) statements(depth int) {
	for range 1 + g.n(5) {
		if g.size++; g.size < genMaxSize {
			g.statement(depth)
		}
	}
}

func (g *generator) statement(depth int) {
	if depth == 0 {
		g.simple()
		return
	}
	switch g.n(12) {
	case 0:
		g.expr(I32, depth)
		g.block(opIf, nil, nil, depth)
	case 1:
		g.block(opBlock, nil, nil, depth)
	case 2:
		g.block(opLoop, nil, nil, depth)
	case 3: // values through a block: (i32) -> (i32)
		g.expr(I32, depth)
		g.block([]int{opBlock, opLoop}[g.n(2)], vals(I32), vals(I32), depth)
		g.emit(opDrop)
	case 4: // (i64) -> (i32, i64)
		g.expr(I64, depth)
		g.block(opBlock, vals(I64), vals(I32, I64), depth)
		g.drops(2)
	case 5:
		g.expr(I32, depth)
		g.emit(opIf, I64)
		g.labels = append(g.labels, vals(I64))
		g.statements(depth - 1)
		g.expr(I64, depth-1)
		g.emit(opElse)
		g.statements(depth - 1)
		g.expr(I64, depth-1)
		g.pop()
		g.emit(opDrop)
	case 6:
		g.branch(depth)
	case 7:
		g.call(depth)
	default:
		g.simple()
	}
}

func (g *generator) pop() {
	g.emit(opEnd)
	g.labels = g.labels[:len(g.labels)-1]
}

// block emits a control structure whose parameters are on the stack.
func (g *generator) block(op int, params, results []ValType, depth int) {
	g.emit(op)
	if params == nil {
		g.emit(emptyBlock)
	} else {
		g.emit(int64(g.m.typ(FuncType{params, results})))
	}
	if op == opLoop {
		g.labels = append(g.labels, params)
		g.emit(opGlobalGet, globalCount, opI32Const, 1, opI32Sub, opGlobalSet, globalCount)
		g.emit(opGlobalGet, globalCount, opI32Const, 0, opI32LtS, opIf, emptyBlock)
		g.zeroes(g.typ.Results)
		g.emit(opReturn, opEnd)
	} else {
		g.labels = append(g.labels, results)
	}
	g.drops(len(params))
	g.statements(depth - 1)
	switch op {
	case opLoop: // again, sometimes
		g.exprs(params, 1)
		g.expr(I32, 1)
		g.emit(opBrIf, 0)
		g.drops(len(params))
	case opIf:
		if g.n(2) == 0 {
			g.emit(opElse)
			g.statements(depth - 1)
		}
	}
	g.exprs(results, 1)
	g.pop()
}

// branch emits br, br_if, br_table, return or, rarely, unreachable.
func (g *generator) branch(depth int) {
	label := g.n(len(g.labels))
	types := g.labels[len(g.labels)-1-label]
	switch g.n(5) {
	case 0:
		g.exprs(types, depth-1)
		g.emit(opBr, label)
	case 1, 2:
		g.exprs(types, depth-1)
		g.expr(I32, 1)
		g.emit(opBrIf, label)
		g.drops(len(types))
	case 3:
		var same []int
		for i := range g.labels {
			if t := g.labels[len(g.labels)-1-i]; join(t) == join(types) {
				same = append(same, i)
			}
		}
		g.exprs(types, depth-1)
		g.expr(I32, 1)
		g.emit(opBrTable, len(same))
		for _, l := range same {
			g.emit(l)
		}
		g.emit(label)
	case 4:
		if g.n(8) == 0 {
			g.emit(opUnreachable)
			return
		}
		g.exprs(g.typ.Results, depth-1)
		g.emit(opReturn)
	}
}

// call emits a call, mostly of a function that is there with the type it has.
func (g *generator) call(depth int) {
	if g.n(3) == 0 {
		t := genTypes[g.n(len(genTypes))]
		g.exprs(t.Params, depth-1)
		g.expr(I32, 0)
		g.emit(opI32Const, 3, opI32And, opCallIndirect, g.m.typ(t), 0)
		g.drops(len(t.Results))
		return
	}
	index := g.n(genFuncs + 1)
	t := unary
	if index > 0 {
		t = g.m.types[g.m.funcs[index-1]]
	}
	g.exprs(t.Params, depth-1)
	g.emit(opCall, index)
	g.drops(len(t.Results))
}

func (g *generator) simple() {
	switch local := g.n(len(g.locals)); g.n(12) {
	default:
		g.expr(g.locals[local], 2)
		g.emit(opLocalSet, local)
	case 0:
		g.expr(I32, 2)
		g.emit(opGlobalSet, globalI32)
	case 1:
		g.expr(I64, 2)
		g.emit(opGlobalSet, globalI64)
	case 2:
		g.address()
		g.expr(I64, 1)
		g.emit(0x37, 3, g.n(64)) // i64.store
	case 3:
		g.address()
		g.expr(I32, 1)
		g.length()
		g.emit(opPrefixMisc, miscMemoryFill, 0)
	case 4:
		g.address()
		g.address()
		g.length()
		g.emit(opPrefixMisc, miscMemoryCopy, 0, 0)
	case 5:
		g.emit(opI32Const, g.n(3), opMemoryGrow, 0, opGlobalSet, globalI32)
	case 6:
		g.emit(opI32Const, g.n(tableSlots+1), opI32Const, g.n(tableSlots), opTableGet, 0, opTableSet, 0)
	case 7:
		g.emit(opI32Const, g.n(tableSlots), opRefFunc, g.n(5), opI32Const, g.n(3), opPrefixMisc, miscTableFill, 0)
	case 8:
		g.emit(opRefNull, FuncRef, opI32Const, g.n(6), opPrefixMisc, miscTableGrow, 0, opGlobalSet, globalI32)
	case 9:
		g.address()
		g.emit(opI32Const, g.n(4), opI32Const, g.n(5), opPrefixMisc, miscMemoryInit, 1, 0)
	case 10:
		g.emit(opI32Const, g.n(tableSlots), opI32Const, 0, opI32Const, g.n(3), opPrefixMisc, miscTableInit, 1, 0)
	case 11:
		g.emit(opNop)
	}
}

// address emits an address that is mostly in bounds.
func (g *generator) address() {
	g.expr(I32, 1)
	if g.n(16) != 0 {
		g.emit(opI32Const, int64(0xfff), opI32And)
	}
}

func (g *generator) length() {
	g.expr(I32, 0)
	if g.n(16) != 0 {
		g.emit(opI32Const, int64(0xff), opI32And)
	}
}

// expr emits code that leaves one value.
func (g *generator) expr(t ValType, depth int) {
	choice := g.n(8)
	if depth <= 0 {
		choice %= 3
	}
	switch choice {
	case 0:
		if t == I32 {
			g.emit(opI32Const, int64(int8(g.next())))
		} else {
			g.emit(opI64Const, int64(int8(g.next()))<<g.n(50))
		}
	case 1:
		for i := range g.locals {
			if k := (i + int(g.n(4))) % len(g.locals); g.locals[k] == t {
				g.emit(opLocalGet, k)
				return
			}
		}
		g.zeroes(vals(t))
	case 2:
		g.emit(opGlobalGet, map[ValType]int{I32: globalI32, I64: globalI64}[t])
	case 3:
		g.exprs(vals(t, t, I32), depth-1)
		g.emit(opSelect)
	case 4:
		g.address()
		g.emit(map[ValType]int{I32: 0x28, I64: 0x29}[t], 2, g.n(64))
	case 5:
		if t == I32 {
			g.expr(I64, depth-1)
			g.emit([]int{opI64Eqz, opI32WrapI64}[g.n(2)])
		} else {
			g.expr(I32, depth-1)
			g.emit(opI64ExtendU)
		}
	default: // add, sub, mul, and: i64's are 0x12 after i32's
		g.exprs(vals(t, t), depth-1)
		op := []int{opI32Add, opI32Sub, opI32Mul, opI32And, 0x6e}[g.n(5)]
		if t == I64 {
			op += opI64Sub - opI32Sub
		}
		g.emit(op)
	}
}
