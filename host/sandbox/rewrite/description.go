package rewrite

import (
	"fmt"
	"strings"
)

// ValType is the type of a value, as its byte in the binary format.
type ValType byte

// The value types of WebAssembly 2.0.
const (
	I32       ValType = 0x7f
	I64       ValType = 0x7e
	F32       ValType = 0x7d
	F64       ValType = 0x7c
	V128      ValType = 0x7b
	FuncRef   ValType = 0x70
	ExternRef ValType = 0x6f
)

// String returns the name in the text format.
func (t ValType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	}
	return fmt.Sprintf("type(%#x)", byte(t))
}

// FuncType is the signature of a function.
type FuncType struct {
	Params, Results []ValType
}

// String returns the signature as "(i32, i64) -> (f32)".
func (t FuncType) String() string {
	return "(" + join(t.Params) + ") -> (" + join(t.Results) + ")"
}

func join(types []ValType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}

// ExternKind is what an import or export is, as its byte in the binary format.
type ExternKind byte

// The kinds of imports and exports.
const (
	ExternFunc ExternKind = iota
	ExternTable
	ExternMemory
	ExternGlobal
)

// String returns "func", "table", "memory" or "global".
func (k ExternKind) String() string {
	if int(k) < len(externNames) {
		return externNames[k]
	}
	return fmt.Sprintf("kind(%#x)", byte(k))
}

var externNames = [...]string{"func", "table", "memory", "global"}

// Limits are the size of a memory in pages, or of a table in elements.
type Limits struct {
	Min, Max uint32
	HasMax   bool
}

// GlobalType is the type of a global.
type GlobalType struct {
	Type    ValType
	Mutable bool
}

// Import is something that a module needs. Of Func, Limits and Global the one of
// its kind is set.
type Import struct {
	Module, Name string
	Kind         ExternKind
	Func         FuncType
	Limits       Limits
	Global       GlobalType
}

// Export is something that a module offers. Func is set for functions.
type Export struct {
	Name  string
	Kind  ExternKind
	Index uint32
	Func  FuncType
}

// MutableGlobal is a mutable global that a module defines.
type MutableGlobal struct {
	Index  uint32
	Type   ValType
	Export string // the name under which the rewritten module exports it
}

// CustomSection is a custom section. Bytes is a view of the module's bytes.
type CustomSection struct {
	Name  string
	Bytes []byte
}

// Producer is an entry of the producers section: what made the module.
type Producer struct {
	Field, Name, Version string // for instance "language", "Go", "go1.26"
}

// Description is what a module consists of, as its author made it: without what
// rewriting adds. Names in it are the module's and are not escaped.
type Description struct {
	Imports        []Import
	Exports        []Export
	Memories       []Limits // those that the module defines, their maxima already lowered
	Tables         []Limits // likewise
	MutableGlobals []MutableGlobal
	Custom         []CustomSection
	Producers      []Producer // empty as well if the section is malformed
	Functions      int        // defined, without imports
	HasStart       bool       // a start function runs when the module is instantiated

	// HasTableWrites says that a table may change while the module runs: it has
	// table.set, grow, fill, copy or init, or exports or imports a table.
	HasTableWrites bool

	// HasSegmentDrops says that a segment may be gone after a call: the module has
	// data.drop or elem.drop.
	HasSegmentDrops bool
}

// Result is a rewritten module.
type Result struct {
	Description
	Wasm []byte
}
