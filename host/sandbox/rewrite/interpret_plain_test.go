package rewrite

import (
	"encoding/binary"
	"fmt"
	"math"
)

// plain runs the instructions without control flow.
func (in *interpreter) plain(code []byte, op byte, pc int) (int, error) {
	switch op {
	case opNop:
	case opDrop:
		in.pop()
	case opSelect:
		c, b, a := in.pop32(), in.pop(), in.pop()
		if c == 0 {
			a = b
		}
		in.push(a)
	case opGlobalGet:
		in.push(in.globals[in.u32(code, &pc)])
	case opGlobalSet:
		in.globals[in.u32(code, &pc)] = in.pop()
	case opI32Const:
		in.push(uint64(uint32(in.s64(code, &pc))))
	case opI64Const:
		in.push(uint64(in.s64(code, &pc)))
	case opRefNull:
		pc++
		in.push(math.MaxUint64)
	case opRefFunc:
		in.push(uint64(in.u32(code, &pc)))
	case opTableGet:
		pc++
		i := in.pop32()
		if i >= uint64(len(in.table)) {
			return pc, errTrap
		}
		in.push(uint64(in.table[i]))
	case opTableSet:
		pc++
		f, i := in.pop(), in.pop32()
		if i >= uint64(len(in.table)) {
			return pc, errTrap
		}
		in.table[i] = int(int64(f))
	case opMemoryGrow:
		pc++
		n, old := in.pop32(), len(in.memory)>>16
		in.fuel += int64(n) * FuelPerPage
		if uint64(old)+n > 3 {
			in.push(uint64(uint32(0xffffffff)))
			break
		}
		in.memory = append(in.memory, make([]byte, n<<16)...)
		in.push(uint64(old))
	case 0x28, 0x29, 0x37:
		return in.access(code, op, pc)
	default:
		return pc, in.arithmetic(op)
	}
	return pc, nil
}

func (in *interpreter) access(code []byte, op byte, pc int) (int, error) {
	in.u32(code, &pc)
	offset := uint64(in.u32(code, &pc))
	var v uint64
	if op == 0x37 {
		v = in.pop()
	}
	at := in.pop32() + offset
	size := map[byte]uint64{0x28: 4, 0x29: 8, 0x37: 8}[op]
	if at+size > uint64(len(in.memory)) {
		return pc, errTrap
	}
	switch b := in.memory[at:]; op {
	case 0x28:
		in.push(uint64(binary.LittleEndian.Uint32(b)))
	case 0x29:
		in.push(binary.LittleEndian.Uint64(b))
	case 0x37:
		binary.LittleEndian.PutUint64(b, v)
	}
	return pc, nil
}

func (in *interpreter) arithmetic(op byte) error {
	switch op {
	case opI64Eqz:
		in.push(truth(in.pop() == 0))
		return nil
	case opI32WrapI64:
		in.push(in.pop32())
		return nil
	case opI64ExtendU:
		in.push(in.pop32())
		return nil
	}
	b, a := in.pop(), in.pop()
	switch op {
	case opI32LtS:
		in.push(truth(int32(a) < int32(b)))
	case opI32Add, opI32Add + 18:
		in.number(op, a+b)
	case opI32Sub, opI64Sub:
		in.number(op, a-b)
	case opI32Mul, opI32Mul + 18:
		in.number(op, a*b)
	case opI32And, opI32And + 18:
		in.number(op, a&b)
	case 0x6e, 0x80: // div_u
		if op == 0x6e {
			a, b = uint64(uint32(a)), uint64(uint32(b))
		}
		if b == 0 {
			return errTrap
		}
		in.number(op, a/b)
	default:
		panic(fmt.Sprintf("%#x", op))
	}
	return nil
}

// number pushes the result of an i32 or i64 operation.
func (in *interpreter) number(op byte, v uint64) {
	if op < 0x79 {
		v = uint64(uint32(v))
	}
	in.push(v)
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
