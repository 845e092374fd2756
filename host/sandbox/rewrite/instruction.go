package rewrite

// instruction reads one instruction.
func (s *scanner) instruction() {
	at := s.pos
	op := s.byte()
	if s.err != nil {
		return
	}
	info := opcodes[op]
	if info.imm == immControl {
		if costs(op) {
			s.spend(1)
		}
		s.control(op, at)
		return
	}
	s.spend(1)
	s.immediate(op, info.imm, at)
	s.move(int(info.delta))
	if op == opUnreachable {
		s.stop()
	}
}

// immediate reads what follows an opcode.
func (s *scanner) immediate(op byte, imm immediate, at int) {
	switch imm {
	case immNone:
	case immLocal:
		if i := s.u32(); s.err == nil && uint64(i) >= uint64(s.locals) {
			s.invalid("local %d of %d", i, s.locals)
		}
	case immGlobal:
		s.m.checkGlobal(&s.reader, s.u32())
	case immTable:
		s.m.checkTable(&s.reader, s.u32())
		s.tableWrites = s.tableWrites || op == opTableSet
	case immMemArg:
		s.memArg()
	case immMemory:
		s.memoryIndex()
		if op == opMemoryGrow {
			s.edit(editHelper, at, at, helperPages)
		}
	case immI32:
		s.skipS32()
	case immI64:
		s.skipS64()
	case immF32:
		s.bytes(4)
	case immF64:
		s.bytes(8)
	case immSelect:
		for n := s.count("types of select", s.o.MaxParams); n > 0; n-- {
			s.valType()
		}
	case immRefNull:
		s.refType()
	case immRefFunc:
		index := s.m.checkFunc(&s.reader, s.u32())
		s.edit(editFunc, at+1, s.pos, index)
	case immMisc:
		s.misc(at)
	case immSIMD:
		s.simd()
	case immUnknown:
		if feature := refusedOpcode(op); feature != "" {
			s.unsupported(feature)
		} else {
			s.invalid("unknown opcode %#x", op)
		}
	}
}

func (s *scanner) memArg() {
	if align := s.u32(); align >= 64 && align < 128 {
		s.unsupported(FeatureMultiMemory) // bit 6 says that a memory index follows
	}
	s.u32()
}

func (s *scanner) memoryIndex() {
	if s.byte() != 0 {
		s.unsupported(FeatureMultiMemory)
	}
}

// misc reads an instruction after the prefix 0xfc. The length of a bulk operation
// is its last operand, so the helper that charges it takes it and gives it back.
func (s *scanner) misc(at int) {
	switch op := s.u32(); {
	case s.err != nil || op <= miscLastTrunc:
	case op == miscMemoryInit:
		s.u32()
		s.memoryIndex()
		s.bulk(at, helperBytes)
	case op == miscMemoryCopy:
		s.memoryIndex()
		s.memoryIndex()
		s.bulk(at, helperBytes)
	case op == miscMemoryFill:
		s.memoryIndex()
		s.bulk(at, helperBytes)
	case op == miscDataDrop, op == miscElemDrop:
		s.u32()
		s.segmentDrops = true
	case op == miscTableInit:
		s.u32()
		s.m.checkTable(&s.reader, s.u32())
		s.bulkTable(at, 3)
	case op == miscTableCopy:
		s.m.checkTable(&s.reader, s.u32())
		s.m.checkTable(&s.reader, s.u32())
		s.bulkTable(at, 3)
	case op == miscTableFill:
		s.m.checkTable(&s.reader, s.u32())
		s.bulkTable(at, 3)
	case op == miscTableGrow:
		s.m.checkTable(&s.reader, s.u32())
		s.bulkTable(at, 1)
	case op == miscTableSize:
		s.m.checkTable(&s.reader, s.u32())
		s.grow(1)
	case op >= 19 && op <= 22:
		s.unsupported(FeatureWideArithmetic)
	default:
		s.invalid("unknown opcode 0xfc %#x", op)
	}
}

func (s *scanner) bulk(at int, helper uint32) {
	s.edit(editHelper, at, at, helper)
	s.pop(3)
}

func (s *scanner) bulkTable(at, operands int) {
	s.edit(editHelper, at, at, helperElements)
	s.pop(operands)
	s.tableWrites = true
}

// simd reads an instruction after the prefix 0xfd. For the height of the operand
// stack it is enough never to assume too little: only v128.const adds to it.
func (s *scanner) simd() {
	switch op := s.u32(); {
	case s.err != nil:
	case op <= 11 || op == 92 || op == 93: // loads and v128.store
		s.memArg()
	case op == simdConst:
		s.bytes(16)
		s.grow(1)
	case op == 13: // i8x16.shuffle
		s.bytes(16)
	case op >= 21 && op <= 34: // lanes
		s.byte()
	case op >= 84 && op <= 91: // loads and stores of a lane
		s.memArg()
		s.byte()
	case op >= 0x100 && op <= 0x12f:
		s.unsupported(FeatureRelaxedSIMD)
	case op > 0xff || simdHole[op]:
		s.invalid("unknown opcode 0xfd %#x", op)
	}
}
