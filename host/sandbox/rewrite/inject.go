package rewrite

import (
	"math"
	"strconv"
)

// Names of what the host and a rewritten module share.
const (
	ImportModule   = "hexdag"
	ImportRefill   = "refill"   // (i64) -> (i64)
	ImportOverflow = "overflow" // () -> ()
	ExportFuel     = "hexdag.fuel"
	ExportDepth    = "hexdag.depth"
)

// GlobalExport returns the name under which the mutable global with the given
// index is exported.
func GlobalExport(index uint32) string {
	return reservedPrefix + "global." + strconv.FormatUint(uint64(index), 10)
}

// The functions that are added. The imports follow the module's own imports, in
// this order, and the helpers follow its own functions.
const (
	importRefill = iota
	importOverflow
	numImports
)

// The helpers are (n i32) -> (n): they charge for a length that is on top of the
// operand stack, and leave it there.
const (
	helperBytes    = iota // charges for n bytes
	helperElements        // for n table elements
	helperPages           // for n pages of memory
	numHelpers
)

// The types that are added, in this order.
const (
	typeRefill   = iota // (i64) -> (i64)
	typeOverflow        // () -> ()
	typeLength          // (i32) -> (i32)
	numTypes
)

// added are the indices of what a rewritten module has more.
type added struct {
	imports uint32 // the first function that is imported in addition
	helpers uint32 // the first helper
	types   uint32 // the first type
	fuel    uint32 // the globals
	depth   uint32

	blocks     map[uint32]uint32 // by function type: the index of () -> its results
	blockTypes []uint32          // the keys of blocks, in the order of its values
}

func (m *module) add() *added {
	return &added{
		imports: uint32(m.importedFuncs),
		helpers: uint32(len(m.funcs)) + numImports,
		types:   uint32(len(m.types)),
		fuel:    uint32(len(m.globals)),
		depth:   uint32(len(m.globals)) + 1,
		blocks:  map[uint32]uint32{},
	}
}

// funcIndex returns where a function of the original module is now.
func (m *module) funcIndex(index uint32) uint32 {
	if index < uint32(m.importedFuncs) {
		return index
	}
	return index + numImports
}

// resultBlock returns the block type () -> results of a function type.
func (m *module) resultBlock(a *added, typ uint32) []byte {
	switch results := m.types[typ].Results; len(results) {
	case 0:
		return []byte{emptyBlock}
	case 1:
		return []byte{byte(results[0])}
	}
	index, ok := a.blocks[typ]
	if !ok {
		index = a.types + numTypes + uint32(len(a.blockTypes))
		a.blocks[typ] = index
		a.blockTypes = append(a.blockTypes, typ)
	}
	return appendS64(nil, int64(index))
}

// load appends code that gets the fuel from the global into a local. While the
// function runs and calls nothing it stays there, which is a register at best.
func (a *added) load(b []byte, local uint32) []byte {
	b = appendU32(append(b, opGlobalGet), a.fuel)
	return appendU32(append(b, opLocalSet), local)
}

// store appends code that puts the fuel back into the global.
func (a *added) store(b []byte, local uint32) []byte {
	b = appendU32(append(b, opLocalGet), local)
	return appendU32(append(b, opGlobalSet), a.fuel)
}

// spend appends code that subtracts a constant from the fuel.
func (a *added) spend(b []byte, local, cost uint32) []byte {
	b = appendU32(append(b, opLocalGet), local)
	b = appendS64(append(b, opI64Const), int64(cost))
	b = append(b, opI64Sub)
	return appendU32(append(b, opLocalSet), local)
}

// check appends code that refills if the fuel is below 0. The branch without the call comes
// first, because wazero keeps values where the first of a block's predecessors has them.
func (a *added) check(b []byte, local uint32) []byte {
	b = appendU32(append(b, opLocalGet), local)
	b = append(b, opI64Const, 0, opI64GeS, opIf, emptyBlock, opElse)
	b = appendU32(append(b, opLocalGet), local)
	b = appendU32(append(b, opCall), a.imports+importRefill)
	b = appendU32(append(b, opLocalSet), local)
	return append(b, opEnd)
}

// leave appends code that goes on at the loop around this one if the fuel is below 0. It is
// no br_if, because wazero puts the result of a comparison into a register for one that goes back.
func (a *added) leave(b []byte, local uint32) []byte {
	b = appendU32(append(b, opLocalGet), local)
	return append(b, opI64Const, 0, opI64LtS, opIf, emptyBlock, opBr, 2, opEnd)
}

// descend appends code that takes a weight from the depth.
func (a *added) descend(b []byte, weight uint32) []byte {
	b = a.moveDepth(b, opI32Sub, weight)
	b = appendU32(append(b, opGlobalGet), a.depth)
	b = append(b, opI32Const, 0, opI32LtS, opIf, emptyBlock)
	b = appendU32(append(b, opCall), a.imports+importOverflow)
	return append(b, opUnreachable, opEnd)
}

// ascend appends code that gives a weight back.
func (a *added) ascend(b []byte, weight uint32) []byte {
	return a.moveDepth(b, opI32Add, weight)
}

func (a *added) moveDepth(b []byte, op byte, weight uint32) []byte {
	b = appendU32(append(b, opGlobalGet), a.depth)
	b = appendS64(append(b, opI32Const), int64(weight))
	b = append(b, op)
	return appendU32(append(b, opGlobalSet), a.depth)
}

// appendHelpers appends the bodies of the helpers.
func (a *added) appendHelpers(b []byte, pages uint32) []byte {
	b = appendBytes(b, a.helper(opI64ShrU, bytesShift, math.MaxUint32))
	b = appendBytes(b, a.helper(opI64Shl, 0, math.MaxUint32))
	return appendBytes(b, a.helper(opI64Shl, pageShift, pages))
}

// helper returns the body of a helper that charges its argument, as a u64 and shifted, if
// that is at most a limit: growing a memory by more fails, and takes no time.
func (a *added) helper(shift byte, by int64, limit uint32) []byte {
	const length, fuel = 0, 1
	b := []byte{1, 1, byte(I64), opLocalGet, length}
	b = appendS64(append(b, opI32Const), int64(int32(limit)))
	b = append(b, opI32LeU, opIf, emptyBlock)

	b = appendU32(append(b, opGlobalGet), a.fuel)
	b = append(b, opLocalGet, length, opI64ExtendU)
	b = append(appendS64(append(b, opI64Const), by), shift, opI64Sub)
	b = a.check(append(b, opLocalSet, fuel), fuel)
	b = a.store(b, fuel)

	return append(b, opEnd, opLocalGet, length, opEnd)
}
