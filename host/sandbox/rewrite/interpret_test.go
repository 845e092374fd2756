package rewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// interpreter runs what the generator makes, and counts. It shares nothing with the
// rewriter but the parsed types: it is the oracle for the fuel.
type interpreter struct {
	wasm    *builder
	funcs   []icode
	memory  []byte
	globals [3]uint64
	table   []int // function indices, -1 is null
	stack   []uint64
	fuel    int64
}

// icode is a function body with the place of each structure's else and end.
type icode struct {
	typ    FuncType
	locals int
	code   []byte
	elses  map[int]int
	ends   map[int]int
}

var errTrap = errors.New("trap")

func (in *interpreter) u32(code []byte, pc *int) uint32 {
	v, n := binary.Uvarint(code[*pc:])
	*pc += n
	return uint32(v)
}

func (in *interpreter) s64(code []byte, pc *int) (v int64) {
	for shift := 0; ; shift += 7 {
		b := code[*pc]
		*pc++
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if b&0x40 != 0 && shift+7 < 64 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// newInterpreter prepares a generated module.
func newInterpreter(m *builder) *interpreter {
	in := &interpreter{wasm: m, memory: make([]byte, 1<<16), globals: [3]uint64{genSteps, 7, ^uint64(4)}}
	copy(in.memory[16:], "some data that is there at the start")
	in.table = []int{1, 2, 3, 0, 4, 5, -1, -1}
	in.funcs = append(in.funcs, icode{typ: unary})
	for i, body := range m.bodies {
		pc := 0
		in.u32(body, &pc)
		c := icode{typ: m.types[m.funcs[i]], elses: map[int]int{}, ends: map[int]int{}}
		c.locals = int(in.u32(body, &pc))
		c.code = body[pc+2*c.locals:]
		in.structure(&c)
		in.funcs = append(in.funcs, c)
	}
	return in
}

// structure finds the else and end of each block.
func (in *interpreter) structure(c *icode) {
	var open []int
	for pc := 0; pc < len(c.code); {
		at := pc
		op := c.code[pc]
		pc++
		switch op {
		case opBlock, opLoop, opIf:
			open = append(open, at)
			in.s64(c.code, &pc)
		case opElse:
			c.elses[open[len(open)-1]] = pc
			c.ends[at] = open[len(open)-1]
		case opEnd:
			if len(open) > 0 {
				c.ends[open[len(open)-1]] = pc
				open = open[:len(open)-1]
			}
		default:
			in.skip(c.code, op, &pc)
		}
	}
}

// skip passes over an instruction's immediates.
func (in *interpreter) skip(code []byte, op byte, pc *int) {
	n := 0
	switch op {
	case opBr, opBrIf, opCall, opLocalGet, opLocalSet, opTee, opGlobalGet, opGlobalSet, opTableGet, opTableSet,
		opMemoryGrow, opMemorySize, opI32Const, opI64Const, opRefNull, opRefFunc:
		n = 1
	case opCallIndirect, 0x28, 0x29, 0x37:
		n = 2
	case opBrTable:
		n = int(in.u32(code, pc)) + 1
	case opPrefixMisc:
		n = map[uint32]int{miscMemoryInit: 2, miscMemoryCopy: 2, miscMemoryFill: 1, miscTableInit: 2,
			miscTableFill: 1, miscTableGrow: 1}[in.u32(code, pc)]
	}
	for range n {
		in.s64(code, pc)
	}
}

func (in *interpreter) push(v uint64) { in.stack = append(in.stack, v) }

func (in *interpreter) pop() uint64 {
	v := in.stack[len(in.stack)-1]
	in.stack = in.stack[:len(in.stack)-1]
	return v
}

func (in *interpreter) pop32() uint64 { return uint64(uint32(in.pop())) }

// label is an open structure: where a branch goes on, with how many values.
type label struct {
	pc, arity, height int
	loop              bool
}

func (in *interpreter) call(index int) error {
	if index == 0 { // env.host
		in.push(uint64(uint32(in.pop()*3 + 1)))
		return nil
	}
	c := &in.funcs[index]
	params := len(c.typ.Params)
	base := len(in.stack) - params
	locals := append(append([]uint64{}, in.stack[base:]...), make([]uint64, c.locals)...)
	in.stack = in.stack[:base]
	in.fuel += int64(c.locals) / LocalsPerFuel
	labels := []label{{len(c.code), len(c.typ.Results), base, false}}
	for pc := 0; pc < len(c.code); {
		next, err := in.step(c, pc, locals, &labels)
		if err != nil {
			return err
		}
		pc = next
	}
	return nil
}

// branch unwinds to a label and returns where to go on.
func (in *interpreter) branch(labels *[]label, n int) int {
	l := (*labels)[len(*labels)-1-n]
	keep := in.stack[len(in.stack)-l.arity:]
	in.stack = append(in.stack[:l.height], keep...)
	*labels = (*labels)[:len(*labels)-1-n]
	if l.loop {
		*labels = append(*labels, l)
	}
	return l.pc
}

func (in *interpreter) step(c *icode, pc int, locals []uint64, labels *[]label) (int, error) {
	at := pc
	op := c.code[pc]
	pc++
	if op != opBlock && op != opLoop && op != opElse && op != opEnd {
		in.fuel++
	}
	switch op {
	case opUnreachable:
		return pc, errTrap
	case opBlock, opLoop, opIf:
		return in.enter(c, op, at, pc, labels), nil
	case opElse: // the end of an if's first arm
		*labels = (*labels)[:len(*labels)-1]
		return c.ends[c.ends[at]], nil
	case opEnd:
		*labels = (*labels)[:len(*labels)-1]
	case opBr:
		return in.branch(labels, int(in.u32(c.code, &pc))), nil
	case opBrIf:
		n := int(in.u32(c.code, &pc))
		if in.pop32() != 0 {
			return in.branch(labels, n), nil
		}
	case opBrTable:
		n := in.u32(c.code, &pc)
		targets := make([]int, n+1)
		for i := range targets {
			targets[i] = int(in.u32(c.code, &pc))
		}
		return in.branch(labels, targets[min(in.pop32(), uint64(n))]), nil
	case opReturn:
		return in.branch(labels, len(*labels)-1), nil
	case opCall:
		return pc + 1, in.call(int(c.code[pc]))
	case opCallIndirect:
		t := in.wasm.types[in.u32(c.code, &pc)]
		slot := in.pop32()
		if slot >= uint64(len(in.table)) || in.table[slot] < 0 || in.funcs[in.table[slot]].typ.String() != t.String() {
			return pc, errTrap
		}
		return pc + 1, in.call(in.table[slot])
	case opLocalGet:
		in.push(locals[in.u32(c.code, &pc)])
	case opLocalSet:
		locals[in.u32(c.code, &pc)] = in.pop()
	case opPrefixMisc:
		return in.misc(c.code, pc)
	default:
		return in.plain(c.code, op, pc)
	}
	return pc, nil
}

func (in *interpreter) enter(c *icode, op byte, at, pc int, labels *[]label) int {
	block := in.s64(c.code, &pc)
	var t FuncType
	if block >= 0 {
		t = in.wasm.types[block]
	} else if block != -64 {
		t = FuncType{nil, vals(I64)} // the only one that the generator uses
	}
	run := op != opIf || in.pop32() != 0
	height := len(in.stack) - len(t.Params)
	if op == opLoop {
		*labels = append(*labels, label{pc, len(t.Params), height, true})
		return pc
	}
	if !run {
		pc = c.elses[at]
		if pc == 0 {
			return c.ends[at]
		}
	}
	*labels = append(*labels, label{c.ends[at], len(t.Results), height, false})
	return pc
}

// misc runs the bulk operations.
func (in *interpreter) misc(code []byte, pc int) (int, error) {
	op := in.u32(code, &pc)
	n := in.pop32()
	ok := true
	switch op {
	case miscMemoryFill:
		pc++
		in.fuel += int64(n / BytesPerFuel)
		v, d := byte(in.pop()), in.pop32()
		if ok = d+n <= uint64(len(in.memory)); ok {
			for i := range n {
				in.memory[d+i] = v
			}
		}
	case miscMemoryCopy:
		pc += 2
		in.fuel += int64(n / BytesPerFuel)
		s, d := in.pop32(), in.pop32()
		if ok = max(s, d)+n <= uint64(len(in.memory)); ok {
			copy(in.memory[d:d+n], in.memory[s:s+n])
		}
	case miscMemoryInit:
		pc += 2
		in.fuel += int64(n / BytesPerFuel)
		const data = "passive"
		s, d := in.pop32(), in.pop32()
		if ok = d+n <= uint64(len(in.memory)) && s+n <= uint64(len(data)); ok {
			copy(in.memory[d:], data[s:s+n])
		}
	case miscTableInit:
		pc += 2
		in.fuel += int64(n)
		s, d := in.pop32(), in.pop32()
		if ok = d+n <= uint64(len(in.table)) && s+n <= 2; ok {
			copy(in.table[d:], []int{3, 4}[s:s+n])
		}
	case miscTableFill:
		pc++
		in.fuel += int64(n)
		f, d := in.pop(), in.pop32()
		if ok = d+n <= uint64(len(in.table)); ok {
			for i := range n {
				in.table[d+i] = int(int64(f))
			}
		}
	case miscTableGrow:
		pc++
		in.fuel += int64(n)
		f, old := in.pop(), len(in.table)
		if uint64(old)+n > 2*tableSlots {
			in.push(uint64(uint32(0xffffffff)))
			break
		}
		for range n {
			in.table = append(in.table, int(int64(f)))
		}
		in.push(uint64(old))
	default:
		panic(fmt.Sprintf("0xfc %d", op))
	}
	if !ok {
		return pc, errTrap
	}
	return pc, nil
}
