package rewrite

// constExpr reads an initializer: one constant instruction.
func (m *module) constExpr(r *reader, s *section) {
	op := r.byte()
	at := r.pos
	switch op {
	case opI32Const:
		r.skipS32()
	case opI64Const:
		r.skipS64()
	case opF32Const:
		r.bytes(4)
	case opF64Const:
		r.bytes(8)
	case opGlobalGet:
		m.checkGlobal(r, r.u32())
	case opRefNull:
		r.refType()
	case opRefFunc:
		m.patchFunc(r, s, at, r.u32())
	case opPrefixSIMD:
		if r.u32() != simdConst {
			r.invalid("not a constant instruction")
		}
		r.bytes(16)
	default:
		r.invalid("%#x is not a constant instruction", op)
	}
	switch end := r.byte(); {
	case r.err != nil || end == opEnd:
	case isExtendedConst(end) || end >= opI32Const && end <= opF64Const || end == opGlobalGet:
		r.unsupported(FeatureExtendedConst)
	default:
		r.invalid("an initializer is more than one constant instruction")
	}
}

func isExtendedConst(op byte) bool {
	return op >= 0x6a && op <= 0x6c || op >= 0x7c && op <= 0x7e // i32, i64: add, sub, mul
}

// Flags of an element segment.
const (
	elemNotActive = 1 << iota // passive or declarative
	elemExplicit              // active: has a table index; else: declarative
	elemExprs                 // has expressions, not function indices
)

func (m *module) parseElement(r *reader, s *section) {
	flags := r.u32()
	if flags > 7 {
		r.invalid("unknown element segment %#x", flags)
		return
	}
	active := flags&elemNotActive == 0
	if active {
		if flags&elemExplicit != 0 {
			m.checkTable(r, r.u32())
		}
		m.constExpr(r, s)
	}
	if !active || flags&elemExplicit != 0 {
		if flags&elemExprs != 0 {
			r.refType()
		} else if kind := r.byte(); kind != 0 {
			r.invalid("unknown kind of elements %#x", kind)
		}
	}
	n := r.count("elements", m.o.MaxElements-m.elements)
	m.elements += n
	for range n {
		if flags&elemExprs != 0 {
			m.constExpr(r, s)
		} else {
			at := r.pos
			m.patchFunc(r, s, at, r.u32())
		}
	}
}

func (m *module) parseData(r *reader, s *section) {
	switch flags := r.u32(); flags {
	case 0:
		m.constExpr(r, s)
	case 1:
	case 2:
		if r.u32() != 0 {
			r.unsupported(FeatureMultiMemory)
		}
		m.constExpr(r, s)
	default:
		r.invalid("unknown data segment %#x", flags)
	}
	at := r.offset()
	m.dataBytes += len(r.bytes(r.u32()))
	if m.dataBytes > m.o.MaxDataBytes {
		r.fail(exceeded(at, "data bytes", uint64(m.dataBytes), m.o.MaxDataBytes))
	}
}
