// Package rewrite makes an untrusted core WebAssembly module meterable. It is a
// pure function on bytes: it parses a module, holds it against static limits,
// and emits one that computes the same but counts its work, bounds its call
// depth and shows its mutable globals. What every engine then runs is the same
// module, so that fuel is the same number on every engine and machine.
//
// # Fuel
//
// The exported global "hexdag.fuel" (mutable i64, initially 0) is what the
// guest may still spend. When a call from the host returns, what it spent is
// exactly the number of instructions that it executed, not counting block,
// loop, else and end, which only mark structure, plus
//
//   - entering a function: 1 per [LocalsPerFuel] declared locals (they are zeroed);
//   - memory.fill, memory.copy, memory.init: 1 per [BytesPerFuel] bytes of length;
//   - table.fill, table.copy, table.init, table.grow: 1 per element of length;
//   - memory.grow: [FuelPerPage] per page, which is its zeroing at the rate of
//     memory.fill. Growing by more than the limit fails, and is not charged.
//
// Lengths are charged before the operation runs, in 64 bits. Instructions are
// charged a basic block at a time, when it is entered. Blocks that always run
// together are charged together: a structure that nothing inside jumps past
// does not end the block that it is in, and neither does a call.
//
// A function keeps the fuel in a local, a register at best, and puts it into the
// global before it calls, when it ends, and nowhere else. So the host sees the fuel
// in any of its functions, and may take some for its own work by setting it
// there. After a trap it sees the fuel of the last call or refill, and counts
// what it had given since as spent.
//
// Every charge subtracts, but only function entries, loop headers and lengths
// look at what is left. If that is below 0 they call the import
//
//	hexdag.refill: (i64) -> (i64)
//
// with what is left, and go on with what it returns: at least 0, or else it
// stops the guest by a panic or a trap. A loop without parameters gets another
// one around it, where the call is: its header leaves for that one if the fuel is
// below 0 before it charges an iteration. So the loop itself has no call, for which
// an engine would keep its values out of registers. What a guest can overspend until the next
// check is bounded by the size of its functions. (The entry of a function is
// not checked if it calls nothing and all its code is worth at most
// [smallLeaf].) A call may therefore return with fuel below 0: it spent more than it had.
//
// # Depth
//
// The exported global "hexdag.depth" (mutable i32, initially
// [Options].MaxDepth) is how much deeper calls may nest. A function that calls
// takes its weight on entry and gives it back at every exit: 1, plus 1 for
// each [SlotsPerDepth] parameters, locals and operands that its frame
// may hold, because the frame grows with them on the host's stack. When the
// depth falls below 0 the guest calls the import
//
//	hexdag.overflow: () -> ()
//
// which must not return; should it, the guest traps. After a trap the depth is
// not put back: the instance is to be discarded.
//
// A body that can leave before its end is wrapped in a block with the
// function's results, so that there is one exit at which fuel and depth are put back: a
// branch to the function's label then targets that block, and return becomes such a branch.
//
// # What else changes
//
// The two imports follow the module's own, and three helpers follow its own
// functions (see inject.go). So defined functions move up by two everywhere: in calls, ref.func,
// element segments, exports, start, initializers and the name section. New
// types, globals and locals come last, and move no index. Every mutable
// global that the module defines is exported as "hexdag.global.N". Maxima of
// the memories and tables that it defines are lowered to the limits. DWARF
// sections are dropped, for their offsets would lie, and so is a malformed
// name section. The custom section "hexdag.rewritten" carries [Version].
//
// # What is checked
//
// Structure, indices, limits, and that every opcode, section, type and flag is
// one of WebAssembly 2.0: what is not known is refused, never passed through.
// Operand types are left to the engine that compiles the result: whatever the
// code of an invalid module does wrong, it still does after rewriting.
package rewrite
