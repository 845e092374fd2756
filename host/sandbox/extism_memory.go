package sandbox

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
)

// plugin is what an Extism plugin keeps with the host: the memory through which
// it speaks, which lasts for a call, and its variables, which last as long as
// the instance's own memory does.
//
// Addresses count from the start of memory. A block's address is its handle; 0
// is none. A handle that is not that of a block stands for an empty one.
type plugin struct {
	memory []byte
	blocks map[uint64]uint64   // length of each block that is in use
	unused map[uint64][]uint64 // freed blocks, by size
	count  int                 // of blocks, freed ones included

	input      uint64 // handle
	output     []byte
	failed     bool
	failure    string
	httpStatus uint64

	vars     map[string][]byte
	varBytes int
}

// Blocks are aligned, and cost the host more than their bytes.
const (
	blockAlign    = 16
	blockOverhead = 64
)

func newPlugin() *plugin {
	p := &plugin{}
	p.forget()
	p.vars = map[string][]byte{}
	return p
}

// forget drops all that a call has made. The first bytes stay unused, so that no
// block has the address 0.
func (p *plugin) forget() {
	const keep = 64 << 10
	memory := p.memory[:0]
	if cap(memory) > keep {
		memory = nil
	}
	*p = plugin{memory: append(memory, make([]byte, blockAlign)...), blocks: map[uint64]uint64{}, unused: map[uint64][]uint64{}, vars: p.vars, varBytes: p.varBytes}
}

// reset prepares for a call, and cleans up after it.
func (p *plugin) reset(i *instance, keepVars bool) {
	p.forget()
	if !keepVars && p.varBytes > 0 {
		p.vars, p.varBytes = map[string][]byte{}, 0
	}
	i.memory.limit = uint64(i.module.limits.pages()) * pageSize
}

// held is how many bytes the host holds for the plugin.
func (p *plugin) held() uint64 { return uint64(len(p.memory)) + uint64(p.count)*blockOverhead }

// alloc makes a block, within limits.memory, which holds for the plugin's own
// memory and this together.
func (p *plugin) alloc(a *activation, n uint64) (uint64, error) {
	if n == 0 {
		return 0, nil
	}
	own, limit := &a.instance.memory, uint64(a.limits.pages())*pageSize
	size := (n + blockAlign - 1) &^ (blockAlign - 1)
	if list := p.unused[size]; len(list) > 0 && n <= size {
		at := list[len(list)-1]
		p.unused[size] = list[:len(list)-1]
		p.blocks[at] = n
		return at, nil
	}
	if room := limit - own.length; n > room || p.held()+size+blockOverhead > room {
		return 0, a.errorf(kernel.CodeLimit, fmt.Sprintf("the plugin ran out of memory in %s", a.call.Point),
			fmt.Sprintf("it asked for %d bytes; its own memory has %d, Extism's %d, and limits.memory is %d", n, own.length, p.held(), limit), "raise it, or use less")
	}
	at := uint64(len(p.memory))
	if at+size > uint64(cap(p.memory)) { // to twice as much, within the limit
		p.memory = slices.Grow(p.memory, int(max(size, min(at, limit-at))))
	}
	p.memory = p.memory[:at+size]
	clear(p.memory[at:])
	p.blocks[at] = n
	p.count++
	own.limit = limit - p.held()
	a.work += int(size)
	return at, nil
}

// put makes a block of text.
func (p *plugin) put(a *activation, text []byte) (uint64, error) {
	at, err := p.alloc(a, uint64(len(text)))
	if err == nil {
		copy(p.memory[at:], text)
	}
	return at, err
}

// give is put for imports.
func (p *plugin) give(a *activation, text []byte) uint64 {
	at, err := p.put(a, text)
	if err != nil {
		a.stopWith(err)
	}
	a.usage.BytesIn += int64(len(text))
	return at
}

// allocate stops a plugin that asks for too much: PDKs do not look at the answer.
func (p *plugin) allocate(a *activation, stack []uint64) {
	at, err := p.alloc(a, stack[0])
	if err != nil {
		a.stopWith(err)
	}
	stack[0] = at
}

// free takes a block back. PDKs free some twice: that does nothing.
func (p *plugin) free(at uint64) {
	n, ok := p.blocks[at]
	if !ok {
		return
	}
	delete(p.blocks, at)
	size := (n + blockAlign - 1) &^ (blockAlign - 1)
	p.unused[size] = append(p.unused[size], at)
}

func (p *plugin) lengthOf(_ *activation, stack []uint64) { stack[0] = p.blocks[stack[0]] }

// text returns the content of a block.
func (p *plugin) text(handle uint64) []byte {
	n, ok := p.blocks[handle]
	if !ok {
		return nil
	}
	return p.memory[handle:][:n]
}

// at returns a range of memory, or stops a plugin that names none.
func (p *plugin) at(a *activation, addr, n uint64) []byte {
	if size := uint64(len(p.memory)); addr < blockAlign || addr > size || n > size-addr {
		a.stopWith(a.errorf(kernel.CodeTrap, fmt.Sprintf("the plugin reached outside of Extism's memory in %s", a.call.Point),
			fmt.Sprintf("%d bytes at %d, of %d", n, addr, size), "use memory that the PDK has allocated"))
	}
	return p.memory[addr:][:n]
}

// load reads one byte or eight.
func (p *plugin) load(a *activation, stack []uint64, addr, n uint64) {
	raw := p.at(a, addr, n)
	if n == 1 {
		stack[0] = uint64(raw[0])
		return
	}
	stack[0] = binary.LittleEndian.Uint64(raw)
}

// loadInput is load from an offset in the input.
func (p *plugin) loadInput(a *activation, stack []uint64, n uint64) {
	if length := p.blocks[p.input]; stack[0] > length || n > length-stack[0] {
		a.stopWith(a.errorf(kernel.CodeTrap, fmt.Sprintf("the plugin read past its input in %s", a.call.Point),
			fmt.Sprintf("%d bytes at %d, of %d", n, stack[0], length), "see input_length"))
	}
	p.load(a, stack, p.input+stack[0], n)
	a.usage.BytesIn += int64(n)
}
