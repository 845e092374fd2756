package rewrite

import (
	"bytes"
)

// Identifiers of sections.
const (
	secCustom byte = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	secTag // of exception handling
	numSections
)

// sectionOrder is the order in which sections may appear.
var sectionOrder = [...]byte{
	secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport,
	secStart, secElement, secDataCount, secCode, secData,
}

// sectionRank is a section's place in sectionOrder, from 1.
var sectionRank = func() (rank [numSections]int) {
	for i, id := range sectionOrder {
		rank[id] = i + 1
	}
	return rank
}()

// section is the content of a section.
type section struct {
	payload []byte
	base    int // its place in the module
	present bool
	patches []edit // function indices in it
	entries int    // where its entries start, after their count
	count   int    // of entries
}

// custom is a custom section and the rank of the section that it follows.
type custom struct {
	name    string
	payload []byte // without the name
	base    int
	rank    int
}

// module is a parsed module. The first entries of an index space are its imports.
type module struct {
	o        *Options
	sections [numSections]section
	customs  []custom

	types         []FuncType
	funcs         []uint32 // type indices
	importedFuncs int
	globals       []GlobalType
	memories      int
	tables        int
	tableTypes    []ValType // of those that the module defines
	elements      int
	dataBytes     int

	desc Description
}

var (
	magic     = []byte("\x00asm")
	version1  = []byte{1, 0, 0, 0}
	component = []byte{0x0d, 0, 1, 0}
)

// parse reads all of a module but its code.
func parse(wasm []byte, o *Options) (*module, error) {
	if len(wasm) > o.MaxModuleBytes {
		return nil, exceeded(0, "module bytes", uint64(len(wasm)), o.MaxModuleBytes)
	}
	switch {
	case len(wasm) < 8 || !bytes.Equal(wasm[:4], magic):
		return nil, invalid(0, "not a WebAssembly module: the first bytes are not \"\\0asm\" and a version")
	case bytes.Equal(wasm[4:8], component):
		return nil, unsupported(4, FeatureComponent)
	case !bytes.Equal(wasm[4:8], version1):
		return nil, invalid(4, "binary version %x is not 1", wasm[4:8])
	}
	m := &module{o: o}
	if err := m.split(&reader{buf: wasm, pos: 8}); err != nil {
		return nil, err
	}
	return m, m.parseSections()
}

// split finds the sections.
func (m *module) split(r *reader) error {
	rank, customBytes := 0, 0
	for r.more() {
		at := r.offset()
		id := r.byte()
		body := r.sub(r.u32())
		switch {
		case body.err != nil:
			return body.err
		case id == secCustom:
			if err := m.splitCustom(body, rank, &customBytes); err != nil {
				return err
			}
		case id == secTag:
			return unsupported(at, FeatureExceptions)
		case id >= numSections:
			return invalid(at, "unknown section %d", id)
		case sectionRank[id] <= rank:
			return invalid(at, "section %d twice or out of order", id)
		default:
			rank = sectionRank[id]
			m.sections[id] = section{payload: body.buf, base: body.base, present: true}
		}
	}
	return r.err
}

func (m *module) splitCustom(r *reader, rank int, total *int) error {
	name := r.name()
	if r.err != nil {
		return r.err
	}
	if name == markSection {
		return rewrittenTwice(string(r.buf[r.pos:]))
	}
	if len(m.customs) >= m.o.MaxCustomNumber {
		return exceeded(r.offset(), "custom sections", uint64(len(m.customs))+1, m.o.MaxCustomNumber)
	}
	size := len(r.buf) - r.pos
	switch {
	case name == nameSection:
		if size > m.o.MaxNameBytes {
			return exceeded(r.offset(), "name section bytes", uint64(size), m.o.MaxNameBytes)
		}
	case keepCustom(name):
		if *total += size; *total > m.o.MaxCustomBytes {
			return exceeded(r.offset(), "custom section bytes", uint64(*total), m.o.MaxCustomBytes)
		}
	}
	c := custom{name: name, payload: r.buf[r.pos:], base: r.offset(), rank: rank}
	m.customs = append(m.customs, c)
	m.desc.Custom = append(m.desc.Custom, CustomSection{name, c.payload})
	if name == "producers" {
		m.desc.Producers = parseProducers(c)
	}
	return nil
}

// parseSections reads the sections before the code, in their order.
func (m *module) parseSections() error {
	for _, s := range [...]struct {
		id    byte
		name  string
		limit int
		entry func(*module, *reader, *section)
	}{
		{secType, "types", m.o.MaxTypes, (*module).parseType},
		{secImport, "imports", m.o.MaxImports, (*module).parseImport},
		{secFunction, "functions", m.o.MaxFunctions, (*module).parseFunction},
		{secTable, "tables", m.o.MaxTables, (*module).parseTable},
		{secMemory, "memories", 100, (*module).parseMemory}, // checkTotals refuses more than one by name
		{secGlobal, "globals", m.o.MaxGlobals, (*module).parseGlobal},
		{secExport, "exports", m.o.MaxExports, (*module).parseExport},
		{secElement, "element segments", m.o.MaxElementSegments, (*module).parseElement},
		{secData, "data segments", m.o.MaxDataSegments, (*module).parseData},
	} {
		if err := m.parseVector(s.id, s.name, s.limit, s.entry); err != nil {
			return err
		}
	}
	if err := m.checkTotals(); err != nil {
		return err
	}
	return m.parseStart()
}

// parseVector reads a section that is a vector.
func (m *module) parseVector(id byte, name string, limit int, entry func(*module, *reader, *section)) error {
	s := &m.sections[id]
	if !s.present {
		return nil
	}
	r := &reader{buf: s.payload, base: s.base}
	s.count = r.count(name, limit)
	s.entries = r.pos
	for range s.count {
		if entry(m, r, s); r.err != nil {
			return r.err
		}
	}
	return r.close("section of " + name)
}
