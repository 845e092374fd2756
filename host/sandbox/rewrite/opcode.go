package rewrite

// Opcodes that the rewriter treats by name.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32LtS       = 0x48
	opI32LeU       = 0x4d
	opI64LtS       = 0x53
	opI64GeS       = 0x59
	opI32Sub       = 0x6b
	opI32Add       = 0x6a
	opI64Sub       = 0x7d
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	opPrefixMisc   = 0xfc
	opPrefixSIMD   = 0xfd
)

// Opcodes after the prefix 0xfc.
const (
	miscLastTrunc  = 7 // i64.trunc_sat_f64_u
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17
)

const simdConst = 12 // v128.const, after the prefix 0xfd

const emptyBlock = 0x40 // the block type without values

// immediate is what follows an opcode.
type immediate byte

const (
	immUnknown immediate = iota // not an opcode of WebAssembly 2.0
	immControl                  // structure, branches and calls: see scanner.control
	immNone
	immLocal
	immGlobal
	immTable
	immMemArg
	immMemory // a memory index, which must be 0
	immI32
	immI64
	immF32
	immF64
	immSelect
	immRefNull
	immRefFunc
	immMisc
	immSIMD
)

// opcode is what the scanner has to know of an instruction: its immediate and by
// how much it changes the height of the operand stack.
type opcode struct {
	imm   immediate
	delta int8
}

var opcodes = func() (t [256]opcode) {
	set := func(from, to int, imm immediate, delta int8) {
		for op := from; op <= to; op++ {
			t[op] = opcode{imm, delta}
		}
	}
	set(0x00, 0x01, immNone, 0)    // unreachable, nop
	set(0x02, 0x05, immControl, 0) // block, loop, if, else
	set(0x0b, 0x11, immControl, 0) // end, br, br_if, br_table, return, call, call_indirect
	set(0x1a, 0x1a, immNone, -1)   // drop
	set(0x1b, 0x1b, immNone, -2)   // select
	set(0x1c, 0x1c, immSelect, -2) // select t
	set(0x20, 0x20, immLocal, 1)   // local.get
	set(0x21, 0x21, immLocal, -1)  // local.set
	set(0x22, 0x22, immLocal, 0)   // local.tee
	set(0x23, 0x23, immGlobal, 1)  // global.get
	set(0x24, 0x24, immGlobal, -1) // global.set
	set(0x25, 0x25, immTable, 0)   // table.get
	set(0x26, 0x26, immTable, -2)  // table.set
	set(0x28, 0x35, immMemArg, 0)  // loads
	set(0x36, 0x3e, immMemArg, -2) // stores
	set(0x3f, 0x3f, immMemory, 1)  // memory.size
	set(0x40, 0x40, immMemory, 0)  // memory.grow
	set(0x41, 0x41, immI32, 1)     // i32.const
	set(0x42, 0x42, immI64, 1)     // i64.const
	set(0x43, 0x43, immF32, 1)     // f32.const
	set(0x44, 0x44, immF64, 1)     // f64.const
	set(0x45, 0x45, immNone, 0)    // i32.eqz
	set(0x46, 0x4f, immNone, -1)   // i32 comparisons
	set(0x50, 0x50, immNone, 0)    // i64.eqz
	set(0x51, 0x66, immNone, -1)   // i64, f32, f64 comparisons
	set(0x67, 0x69, immNone, 0)    // i32 clz, ctz, popcnt
	set(0x6a, 0x78, immNone, -1)   // i32 arithmetic
	set(0x79, 0x7b, immNone, 0)    // i64 clz, ctz, popcnt
	set(0x7c, 0x8a, immNone, -1)   // i64 arithmetic
	set(0x8b, 0x91, immNone, 0)    // f32 unary
	set(0x92, 0x98, immNone, -1)   // f32 binary
	set(0x99, 0x9f, immNone, 0)    // f64 unary
	set(0xa0, 0xa6, immNone, -1)   // f64 binary
	set(0xa7, 0xc4, immNone, 0)    // conversions, sign extension
	set(0xd0, 0xd0, immRefNull, 1) // ref.null
	set(0xd1, 0xd1, immNone, 0)    // ref.is_null
	set(0xd2, 0xd2, immRefFunc, 1) // ref.func
	set(0xfc, 0xfc, immMisc, 0)    // saturating truncation, bulk memory, tables
	set(0xfd, 0xfd, immSIMD, 0)    // SIMD
	return t
}()

// simdHole are the numbers below 256 after the prefix 0xfd that mean nothing.
var simdHole = map[uint32]bool{
	0x9a: true, 0xa2: true, 0xa5: true, 0xa6: true, 0xaf: true, 0xb0: true, 0xb2: true,
	0xb3: true, 0xb4: true, 0xbb: true, 0xc2: true, 0xc5: true, 0xc6: true, 0xcf: true,
	0xd0: true, 0xd2: true, 0xd3: true, 0xd4: true, 0xe2: true, 0xee: true,
}

// refusedOpcode returns the feature that an opcode outside WebAssembly 2.0
// belongs to, or "".
func refusedOpcode(op byte) string {
	switch op {
	case 0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f:
		return FeatureExceptions
	case 0x12, 0x13:
		return FeatureTailCall
	case 0x14, 0x15, 0xd4, 0xd5, 0xd6:
		return FeatureTypedRefs
	case 0xd3, 0xfb:
		return FeatureGC
	case 0xfe:
		return FeatureThreads
	}
	return ""
}

// refusedType returns the feature that a type's byte outside WebAssembly 2.0
// belongs to, or "".
func refusedType(b byte) string {
	switch b {
	case 0x63, 0x64:
		return FeatureTypedRefs
	case 0x69, 0x74:
		return FeatureExceptions
	case 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73, 0x5e, 0x5f, 0x4e, 0x4f, 0x50, 0x78, 0x77:
		return FeatureGC
	}
	return ""
}
