package rewrite

// control handles the instructions that structure the code, branch or call.
// It returns after those that cost nothing; the others cost 1, like any.
func (s *scanner) control(op byte, at int) {
	switch op {
	case opBlock, opLoop, opIf:
		s.enter(op, at)
	case opElse:
		s.elseBranch()
	case opEnd:
		s.leave()
	case opBr:
		s.branch()
		s.stop()
	case opBrIf:
		s.pop(1)
		s.branch()
		if s.charge != dead {
			s.open(editCharge)
		}
	case opBrTable:
		s.countControl()
		for n := s.count("targets of br_table", s.o.MaxBrTable); n > 0 && s.err == nil; n-- {
			s.label()
		}
		s.label()
		s.stop()
	case opReturn:
		s.countControl()
		s.target(0)
		s.edit(editReturn, at, s.pos, uint32(len(s.frames)-1+s.top().wraps))
		s.stop()
	case opCall:
		index := s.m.checkFunc(&s.reader, s.u32())
		s.edit(editStore, at, at, 0)
		s.edit(editFunc, at+1, s.pos, index)
		if s.err == nil {
			s.call(s.m.types[s.m.funcs[index]])
		}
	case opCallIndirect:
		t := s.m.typeAt(&s.reader, s.u32())
		s.m.checkTable(&s.reader, s.u32())
		s.edit(editStore, at, at, 0)
		s.pop(1)
		s.call(t)
	}
}

// costs reports whether a control instruction costs anything.
func costs(op byte) bool {
	return op != opBlock && op != opLoop && op != opElse && op != opEnd
}

func (s *scanner) call(t FuncType) {
	s.out.calls = true
	s.edit(editLoad, s.pos, s.pos, 0)
	s.pop(len(t.Params))
	s.grow(len(t.Results))
}

// countControl counts what the number of control structures is limited for: the
// edges of the control flow graph, give or take a factor.
func (s *scanner) countControl() {
	s.controls++
	if s.controls > s.o.MaxControls {
		s.fail(exceeded(s.offset(), "blocks and branches in a function", uint64(s.controls), s.o.MaxControls))
	}
}

func (s *scanner) branch() {
	s.countControl()
	s.label()
}

// label reads a branch's target.
func (s *scanner) label() {
	at := s.pos
	depth := s.u32()
	if s.err != nil {
		return
	}
	if uint64(depth) >= uint64(len(s.frames)) {
		s.invalid("branch to label %d out of %d", depth, len(s.frames))
		return
	}
	frame := len(s.frames) - 1 - int(depth)
	if more := s.top().wraps - s.frames[frame].wraps; more > 0 { // the loops that are added on the way
		s.edit(editLabel, at, s.pos, depth+uint32(more))
	}
	s.target(frame)
}

// target notes a jump to the label of an open frame.
func (s *scanner) target(frame int) {
	s.frames[frame].targeted = true
	s.top().exit = min(s.top().exit, frame)
	s.out.early = s.out.early || frame == 0
}

// enter opens a block, loop or if.
func (s *scanner) enter(op byte, at int) {
	s.countControl()
	t := s.blockType()
	f := frame{op: op, before: s.charge, params: len(t.Params), results: len(t.Results)}
	switch op {
	case opIf:
		s.pop(1)
		s.open(editCharge)
	case opLoop:
		s.loops++
		s.maxLoops = max(s.maxLoops, s.loops)
		if f.wrapped = f.params == 0; f.wrapped {
			s.edit(editLoop, at, at, uint32(s.pos))
			s.open(editHeader)
		} else {
			s.open(editChecked)
		}
		f.header = s.charge
	}
	s.push(f)
}

// blockType reads the type of a block.
func (s *scanner) blockType() FuncType {
	if b := s.peek(); b == emptyBlock {
		s.byte()
		return FuncType{}
	} else if b&0xc0 == 0x40 { // a negative number of one byte
		return FuncType{Results: []ValType{s.valType()}}
	}
	index := s.s33()
	if index < 0 {
		s.invalid("block type %d", index)
		return FuncType{}
	}
	return s.m.typeAt(&s.reader, uint32(index))
}

func (s *scanner) elseBranch() {
	f := s.top()
	if f.op != opIf {
		s.invalid("else without if")
		return
	}
	f.op = opElse
	s.height = f.base
	s.grow(f.params)
	s.open(editCharge)
}

// leave closes the innermost control structure. If nothing inside jumps past its
// end, the code after it runs exactly when the code before it does, and
// is paid for there.
func (s *scanner) leave() {
	f := *s.top()
	s.frames = s.frames[:len(s.frames)-1]
	s.height = f.base
	s.grow(f.results)
	if len(s.frames) == 0 {
		return
	}
	s.top().exit = min(s.top().exit, f.exit)
	if f.op == opLoop {
		s.loops--
		if !f.targeted { // it never repeats
			s.out.edits[f.header].kind = editCharge
		}
		if f.wrapped {
			s.edit(editClose, s.pos, s.pos, 0)
		}
	}
	switch {
	case f.exit >= len(s.frames):
		s.charge = f.before
	case f.op != opLoop && (f.op != opBlock || f.targeted):
		s.open(editCharge)
	}
}
