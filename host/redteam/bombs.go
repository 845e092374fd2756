package redteam

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hexdag/hexdag/abi"
)

// Modules that WebAssembly's text cannot express, or that would be megabytes.

// Sections of a module, in their order.
const (
	sectionType, sectionFunction, sectionTable, sectionMemory = 1, 3, 4, 5
	sectionExport, sectionElement, sectionCode, sectionData   = 7, 9, 10, 11
)

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func section(id byte, content ...[]byte) []byte {
	payload := slices.Concat(content...)
	return slices.Concat([]byte{id}, leb(len(payload)), payload)
}

// vector is n times the same item.
func vector(n int, item []byte) []byte { return append(leb(n), bytes.Repeat(item, n)...) }

func text(s string) []byte { return append(leb(len(s)), s...) }

// parts are the sections of a module with one page of memory and one function,
// port_before; an attack puts others in their place.
type parts map[byte][]byte

func assemble(replaced parts) []byte {
	p := parts{
		sectionType:     section(sectionType, []byte{1, 0x60, 1, 0x7f, 1, 0x7e}),
		sectionFunction: section(sectionFunction, []byte{1, 0}),
		sectionMemory:   section(sectionMemory, []byte{1, 0, 1}),
		sectionExport:   section(sectionExport, []byte{2}, text("memory"), []byte{2, 0}, text("port_before"), []byte{0, 0}),
		sectionCode:     section(sectionCode, []byte{1}, body(nil, []byte{0x42, 0})),
	}
	for id, replacement := range replaced {
		p[id] = replacement
	}
	module := []byte("\x00asm\x01\x00\x00\x00")
	for id := byte(1); id <= sectionData; id++ {
		module = append(module, p[id]...)
	}
	return module
}

// body is a function of locals and code.
func body(locals, code []byte) []byte {
	if locals == nil {
		locals = []byte{0}
	}
	content := slices.Concat(locals, code, []byte{0x0b})
	return append(leb(len(content)), content...)
}

// function is a module whose one function is that.
func function(locals, code []byte) []byte {
	return assemble(parts{sectionCode: section(sectionCode, []byte{1}, body(locals, code))})
}

// loopsAndLocals nests loops around reads of many locals, each of which
// every loop has to carry: 18 KB of it take wazero's compiler half a minute.
func loopsAndLocals(loops, locals int) []byte {
	var code []byte
	for range loops {
		code = append(code, 0x03, 0x40)
	}
	for i := range locals {
		code = slices.Concat(code, []byte{0x20}, leb(i+1), []byte{0x42, 1, 0x7c, 0x21}, leb(i+1)) // local i += 1
	}
	for range loops {
		code = append(code, 0x20, 0, 0x0d, 0, 0x0b) // br_if 0 (local 0)
	}
	return function(slices.Concat([]byte{1}, leb(locals), []byte{0x7e}), append(code, 0x42, 0))
}

func nestedBlocks(n int) []byte {
	return function(nil, slices.Concat(bytes.Repeat([]byte{0x02, 0x40}, n), bytes.Repeat([]byte{0x0b}, n), []byte{0x42, 0}))
}

// ifs is a chain of conditions, each of which is a place where paths meet.
func ifs(n, locals int) []byte {
	var code []byte
	for i := range n {
		code = slices.Concat(code, []byte{0x20, 0, 0x04, 0x40, 0x42, 1, 0x21}, leb(1+i%locals), []byte{0x0b})
	}
	return function(slices.Concat([]byte{1}, leb(locals), []byte{0x7e}), append(code, 0x42, 0))
}

// manyLocals declares locals in one run of five bytes.
func manyLocals(n int) []byte {
	return function(slices.Concat([]byte{1}, leb(n), []byte{0x7e}), []byte{0x42, 0})
}

func manyFunctions(n int) []byte {
	return assemble(parts{
		sectionFunction: section(sectionFunction, vector(n, []byte{0})),
		sectionCode:     section(sectionCode, vector(n, body(nil, []byte{0x42, 0}))),
	})
}

func manyExports(n int) []byte {
	list := leb(n + 2)
	list = slices.Concat(list, text("memory"), []byte{2, 0}, text("port_before"), []byte{0, 0})
	for i := range n {
		list = append(append(list, text(fmt.Sprint("e", i))...), 0, 0)
	}
	return assemble(parts{sectionExport: section(sectionExport, list)})
}

// manyNames has a name section with names of functions that are not there.
func manyNames(n int) []byte {
	list := leb(n)
	for i := range n {
		list = append(append(list, leb(i)...), text("an innocent name of a function")...)
	}
	module, err := abi.AppendCustomSection(assemble(nil), "name", slices.Concat([]byte{1}, leb(len(list)), list))
	if err != nil {
		panic(err) // the module is made here
	}
	return module
}

// manySegments has passive data segments, empty ones or of some bytes.
func manySegments(n, size int) []byte {
	return assemble(parts{sectionData: section(sectionData, vector(n, slices.Concat([]byte{1}, leb(size), make([]byte, size))))})
}

// giantElements has a table, and segments that fill it with a function again and again.
func giantElements(n int) []byte {
	return assemble(parts{
		sectionTable:   section(sectionTable, []byte{1, 0x70, 0}, leb(n)),
		sectionElement: section(sectionElement, []byte{1, 0, 0x41, 0, 0x0b}, vector(n, []byte{0})),
	})
}

// lyingCount says that it has four billion functions, and has none.
func lyingCount() []byte {
	return assemble(parts{sectionFunction: section(sectionFunction, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})})
}

func twiceTheExport() []byte {
	return assemble(parts{sectionExport: section(sectionExport, []byte{3}, text("memory"), []byte{2, 0}, text("port_before"), []byte{0, 0}, text("port_before"), []byte{0, 0})})
}

// withManifests appends sections that hold manifests.
func withManifests(contents ...string) []byte {
	module := assemble(nil)
	for _, content := range contents {
		var err error
		if module, err = abi.AppendCustomSection(module, abi.ManifestSection, []byte(content)); err != nil {
			panic(err) // the module is made here
		}
	}
	return module
}
