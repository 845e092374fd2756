package sandbox

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

const (
	i32 = rewrite.I32
	i64 = rewrite.I64
)

// Bounds that are part of the ABI rather than a limit of an operator.
const (
	maxPointer = 1 << 10 // bytes of a JSON pointer
	maxOp      = 128     // bytes of an operation's name
	maxRandom  = 1 << 16 // bytes of one read of randomness
)

// hostFunction is an import that the host offers.
type hostFunction struct {
	name            string
	params, results []rewrite.ValType
	run             handler
}

func (f hostFunction) signature() rewrite.FuncType {
	return rewrite.FuncType{Params: f.params, Results: f.results}
}

// handler is a host function: on the activation that called it and the guest's
// memory, with the parameters on the stack, where its result goes.
type handler func(a *activation, mem memory, stack []uint64)

// serve runs a host function for a guest, and charges what it did.
func (a *activation) serve(h handler, stack []uint64) {
	a.work = 0
	defer a.contain()
	h(a, a.instance.memory.bytes(), stack)
	a.charge()
}

// statusful makes a handler of a function that answers a status.
func statusful(f func(a *activation, mem memory, stack []uint64) abi.Status) handler {
	return func(a *activation, mem memory, stack []uint64) {
		stack[0] = uint64(uint32(f(a, mem, stack)))
	}
}

func sig(n int) []rewrite.ValType {
	types := make([]rewrite.ValType, n)
	for i := range types {
		types[i] = i32
	}
	return types
}

func nativeFunctions() []hostFunction {
	one, long := []rewrite.ValType{i32}, []rewrite.ValType{i64}
	return []hostFunction{
		{abi.ImportInput, sig(2), one, (*activation).input},
		{abi.ImportField, sig(5), long, (*activation).field},
		{abi.ImportKeys, sig(5), long, (*activation).keys},
		{abi.ImportSet, sig(6), one, statusful((*activation).set)},
		{abi.ImportBody, []rewrite.ValType{i32, i64, i32, i32}, long, (*activation).body},
		{abi.ImportAppend, sig(3), one, statusful((*activation).append)},
		{abi.ImportCall, sig(6), one, statusful((*activation).hostCall)},
		{abi.ImportLog, sig(3), one, statusful((*activation).log)},
		{abi.ImportClock, sig(1), long, (*activation).clock},
		{abi.ImportRandom, sig(2), one, statusful((*activation).random)},
	}
}

// view returns guest memory without copying: it is read before the guest runs on.
func view(mem memory, ptr, length uint64) ([]byte, bool) {
	return mem.read(uint32(ptr), uint32(length))
}

// answer copies text into a guest's buffer if the whole of it fits; otherwise the
// guest learns the length and asks again.
func (a *activation) answer(mem memory, ptr, capacity uint64, text []byte) abi.Status {
	a.work += len(text) // it had to be made, whether it fits or not
	if uint64(len(text)) > uint64(uint32(capacity)) {
		return abi.OK
	}
	if !mem.write(uint32(ptr), text) {
		return abi.Fault
	}
	a.usage.BytesIn += int64(len(text))
	return abi.OK
}

func fail(stack []uint64, status abi.Status) { stack[0] = uint64(int64(status)) }

func (a *activation) input(mem memory, stack []uint64) {
	text, status := a.docs[abi.DocInput].encoded()
	if status == abi.OK {
		status = a.answer(mem, stack[0], stack[1], text)
	}
	if status != abi.OK {
		stack[0] = uint64(uint32(status))
		return
	}
	stack[0] = uint64(uint32(len(text)))
}

// target returns the document that an import names, and the pointer's bytes.
func (a *activation) target(mem memory, doc, ptr, length uint64) (*document, []byte, abi.Status) {
	if uint32(doc) >= uint32(len(a.docs)) {
		return nil, nil, abi.Unsupported
	}
	if uint32(length) > maxPointer {
		return nil, nil, abi.Limit
	}
	pointer, ok := view(mem, ptr, length)
	if !ok {
		return nil, nil, abi.Fault
	}
	return &a.docs[uint32(doc)], pointer, abi.OK
}

func (a *activation) field(mem memory, stack []uint64) {
	doc, pointer, status := a.target(mem, stack[0], stack[1], stack[2])
	if status != abi.OK {
		fail(stack, status)
		return
	}
	v, found, status := doc.lookup(pointer)
	if status != abi.OK || !found {
		fail(stack, status) // OK, zero, is also how an absent value looks
		return
	}
	text, status := doc.encodedField(pointer, v, a.scratch[:0])
	if status == abi.OK {
		if len(pointer) > 0 { // the text of a whole document is the document's own
			a.scratch = text[:0:cap(text)]
		}
		status = a.answer(mem, stack[3], stack[4], text)
	}
	if status != abi.OK {
		fail(stack, status)
		return
	}
	stack[0] = uint64(kindOf(v))<<32 | uint64(uint32(len(text)))
}

func (a *activation) keys(mem memory, stack []uint64) {
	doc, pointer, status := a.target(mem, stack[0], stack[1], stack[2])
	if status != abi.OK {
		fail(stack, status)
		return
	}
	v, found, status := doc.lookup(pointer)
	if status == abi.OK && !found {
		status = abi.NotFound
	}
	if status != abi.OK {
		fail(stack, status)
		return
	}
	text, count, status := appendKeys(a.scratch[:0], v)
	if status == abi.OK {
		a.scratch = text[:0:cap(text)]
		status = a.answer(mem, stack[3], stack[4], text)
	}
	if status != abi.OK {
		fail(stack, status)
		return
	}
	stack[0] = uint64(uint32(count))<<32 | uint64(uint32(len(text)))
}

// spend charges what a guest writes to a document against the document's limit,
// so that no sequence of writes makes the host hold more.
func (a *activation) spend(doc abi.Doc, n int) abi.Status {
	if n > a.limits.Document-a.written[doc] {
		return abi.Limit
	}
	a.written[doc] += n
	a.out(n)
	return abi.OK
}

// out counts bytes that the guest gave the host.
func (a *activation) out(n int) {
	a.usage.BytesOut += int64(n)
	a.work += n
}

// writeOverhead is what a write costs beside its bytes.
const writeOverhead = 16

// parentOverhead is what an object costs that a write makes on its way.
const parentOverhead = 256

func (a *activation) set(mem memory, stack []uint64) abi.Status {
	doc, pointer, status := a.target(mem, stack[0], stack[1], stack[2])
	if status != abi.OK {
		return status
	}
	id, kind := abi.Doc(stack[0]), abi.Kind(uint32(stack[3]))
	if status := a.mayWrite(id, pointer); status != abi.OK {
		return status
	}
	if kind == abi.KindAbsent {
		return a.edit(doc, pointer, edit{remove: true})
	}
	parents := max(bytes.Count(pointer, []byte{'/'})-1, 0) // each may have to be made
	if status := a.spend(id, len(pointer)+int(min(uint32(stack[5]), 1<<30))+writeOverhead+parents*parentOverhead); status != abi.OK {
		return status
	}
	raw, ok := view(mem, stack[4], stack[5])
	if !ok {
		return abi.Fault
	}
	v, status := parseValue(kind, string(raw))
	if status != abi.OK {
		return status
	}
	return a.edit(doc, pointer, edit{value: v})
}

func (a *activation) edit(doc *document, pointer []byte, e edit) abi.Status {
	cloned, status := doc.apply(pointer, e)
	a.work += cloned * writeOverhead
	return status
}

func (a *activation) mayWrite(doc abi.Doc, pointer []byte) abi.Status {
	switch doc {
	case abi.DocRequest, abi.DocOutput:
		return abi.OK
	case abi.DocInput:
		root := a.call.Point.Patchable()
		rest, below := strings.CutPrefix(string(pointer), root)
		if root != "" && below && (rest == "" || rest[0] == '/') {
			return abi.OK
		}
	}
	return abi.Denied
}

func (a *activation) body(mem memory, stack []uint64) {
	doc, _, status := a.target(mem, stack[0], 0, 0)
	if status != abi.OK {
		fail(stack, status)
		return
	}
	offset, capacity := stack[1], uint64(uint32(stack[3]))
	if offset < uint64(len(doc.body)) && capacity > 0 {
		part := doc.body[offset:]
		part = part[:min(uint64(len(part)), capacity)]
		if !mem.write(uint32(stack[2]), part) {
			fail(stack, abi.Fault)
			return
		}
		a.usage.BytesIn += int64(len(part))
		a.work += len(part)
	}
	stack[0] = uint64(len(doc.body))
}

func (a *activation) append(mem memory, stack []uint64) abi.Status {
	doc, _, status := a.target(mem, stack[0], 0, 0)
	if status != abi.OK {
		return status
	}
	if id := abi.Doc(stack[0]); id != abi.DocRequest && id != abi.DocOutput {
		return abi.Denied
	}
	if uint64(uint32(stack[2])) > uint64(a.limits.Body-len(doc.body)) {
		return abi.Limit
	}
	raw, ok := view(mem, stack[1], stack[2])
	if !ok {
		return abi.Fault
	}
	doc.body = append(doc.body, raw...)
	a.out(len(raw))
	return abi.OK
}

func (a *activation) log(mem memory, stack []uint64) abi.Status {
	raw, ok := view(mem, stack[1], stack[2])
	if !ok {
		return abi.Fault
	}
	raw = raw[:min(len(raw), a.limits.LogLine)]
	a.usage.BytesOut += int64(len(raw))
	return a.logLine(min(abi.Level(uint32(stack[0])), abi.LevelError), raw)
}

// logLine passes one line on, unless the call has used up its lines.
func (a *activation) logLine(level abi.Level, line []byte) abi.Status {
	a.usage.LogLines++
	a.work += len(line)
	if a.usage.LogLines > a.limits.LogLines || a.budgets.LogLines.Take(1) == 0 {
		return abi.Limit
	}
	a.usage.Logged++
	if a.call.Host != nil {
		a.call.Host.Log(level, string(line))
	}
	return abi.OK
}

func (a *activation) clock(_ memory, stack []uint64) {
	if a.call.Host == nil || !a.started {
		fail(stack, abi.Denied)
		return
	}
	id := abi.ClockID(uint32(stack[0]))
	if id != abi.ClockWall && id != abi.ClockRun {
		fail(stack, abi.Unsupported)
		return
	}
	ns, err := a.call.Host.Clock(a.hostContext(), id)
	if err != nil {
		fail(stack, statusOf(err))
		return
	}
	stack[0] = uint64(max(ns, 0))
}

func (a *activation) random(mem memory, stack []uint64) abi.Status {
	if a.call.Host == nil || !a.started {
		return abi.Denied
	}
	if uint32(stack[1]) > maxRandom {
		return abi.Limit
	}
	p, ok := view(mem, stack[0], stack[1])
	if !ok {
		return abi.Fault
	}
	if err := a.call.Host.Random(a.hostContext(), p); err != nil {
		return statusOf(err)
	}
	return abi.OK
}

// statusOf translates an error of the host for a guest.
func statusOf(err error) abi.Status {
	switch kernel.CodeOf(err) {
	case kernel.CodeDenied, kernel.CodeApproval, kernel.CodeModuleGrant, kernel.CodeAudit:
		return abi.Denied
	case kernel.CodeNotFound:
		return abi.NotFound
	case kernel.CodeArguments:
		return abi.Invalid
	case kernel.CodeLimit:
		return abi.Limit
	case kernel.CodeUnsupported:
		return abi.Unsupported
	case kernel.CodeUnavailable:
		return abi.Unavailable
	case kernel.CodeTimeout, kernel.CodeCanceled:
		return abi.Timeout
	case kernel.CodeRetry:
		return abi.Retry
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return abi.Timeout
	}
	return abi.Failed
}
