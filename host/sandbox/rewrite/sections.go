package rewrite

import (
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

func (r *reader) valType() ValType {
	b := r.byte()
	switch t := ValType(b); t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return t
	}
	r.badType(b)
	return 0
}

func (r *reader) refType() ValType {
	b := r.byte()
	if t := ValType(b); t == FuncRef || t == ExternRef {
		return t
	}
	r.badType(b)
	return 0
}

func (r *reader) badType(b byte) {
	switch feature := refusedType(b); {
	case r.err != nil:
	case feature != "":
		r.unsupported(feature)
	default:
		r.invalid("unknown type %#x", b)
	}
}

func (r *reader) valTypes(limit int) []ValType {
	n := r.count("parameters or results", limit)
	types := make([]ValType, 0, n)
	for range n {
		types = append(types, r.valType())
	}
	return types
}

func (m *module) parseType(r *reader, _ *section) {
	switch form := r.byte(); form {
	case 0x60:
		m.types = append(m.types, FuncType{r.valTypes(m.o.MaxParams), r.valTypes(m.o.MaxParams)})
	case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
		r.unsupported(FeatureGC)
	default:
		r.invalid("unknown form of type %#x", form)
	}
}

func (m *module) parseImport(r *reader, _ *section) {
	i := Import{Module: r.name(), Name: r.name()}
	if i.Module == ImportModule || strings.HasPrefix(i.Module, reservedPrefix) {
		r.invalid("import %s.%s: modules named hexdag and hexdag.* are the host's own", kernel.Quote(i.Module), kernel.Quote(i.Name))
	}
	kind := r.byte()
	i.Kind = ExternKind(kind)
	switch i.Kind {
	case ExternFunc:
		index := r.u32()
		i.Func = m.typeAt(r, index)
		m.funcs = append(m.funcs, index)
		m.importedFuncs++
	case ExternTable:
		r.refType()
		i.Limits = m.limits(r, "table elements")
		m.tables++
		m.desc.HasTableWrites = true
	case ExternMemory:
		i.Limits = m.limits(r, "memory pages")
		m.memories++
	case ExternGlobal:
		i.Global = m.globalType(r)
		if i.Global.Mutable && !m.o.AllowImportedGlobals {
			r.unsupported(FeatureMutableImport)
		}
		m.globals = append(m.globals, i.Global)
	case 4:
		r.unsupported(FeatureExceptions)
	default:
		r.invalid("unknown kind of import %#x", kind)
	}
	m.desc.Imports = append(m.desc.Imports, i)
}

func (m *module) parseFunction(r *reader, _ *section) {
	index := r.u32()
	m.typeAt(r, index)
	m.funcs = append(m.funcs, index)
	m.desc.Functions++
}

func (m *module) parseTable(r *reader, _ *section) {
	if r.peek() == 0x40 {
		r.unsupported(FeatureTypedRefs) // a table with an initializer
	}
	m.tableTypes = append(m.tableTypes, r.refType())
	m.tables++
	m.desc.Tables = append(m.desc.Tables, m.lowered(r, "table elements", m.o.tableElements()))
}

func (m *module) parseMemory(r *reader, _ *section) {
	m.memories++
	m.desc.Memories = append(m.desc.Memories, m.lowered(r, "memory pages", m.o.memoryPages()))
}

// lowered reads the limits of a defined memory or table, and lowers their maximum.
func (m *module) lowered(r *reader, name string, limit uint32) Limits {
	at := r.offset()
	l := m.limits(r, name)
	if r.err == nil && l.Min > limit {
		r.fail(exceeded(at, name, uint64(l.Min), int(limit)))
	}
	if !l.HasMax || l.Max > limit {
		l.Max, l.HasMax = limit, true
	}
	return l
}

// limits reads limits as they are declared.
func (m *module) limits(r *reader, name string) (l Limits) {
	memory := name == "memory pages"
	switch flags := r.byte(); {
	case flags >= 0x10 || r.err != nil:
		r.invalid("unknown limits %#x", flags)
	case flags&8 != 0:
		r.unsupported(FeatureCustomPageSize)
	case flags&4 != 0:
		r.unsupported(FeatureMemory64)
	case flags&2 != 0:
		r.unsupported(FeatureThreads)
	default:
		l.Min, l.HasMax = r.u32(), flags == 1
	}
	if l.HasMax {
		l.Max = r.u32()
	}
	// These are invalid, and would be valid once the maximum is lowered.
	if l.HasMax && l.Max < l.Min {
		r.invalid("%s: the maximum %d is below the minimum %d", name, l.Max, l.Min)
	}
	if memory && (l.Min > maxPages+1 || l.Max > maxPages+1) {
		r.invalid("memory of more than 4 GiB")
	}
	return l
}

func (m *module) globalType(r *reader) GlobalType {
	t := GlobalType{Type: r.valType()}
	switch mut := r.byte(); mut {
	case 0, 1:
		t.Mutable = mut == 1
	case 2, 3:
		r.unsupported(FeatureThreads)
	default:
		r.invalid("unknown mutability %#x", mut)
	}
	return t
}

func (m *module) parseGlobal(r *reader, s *section) {
	t := m.globalType(r)
	m.constExpr(r, s)
	if t.Mutable {
		index := uint32(len(m.globals))
		m.desc.MutableGlobals = append(m.desc.MutableGlobals, MutableGlobal{index, t.Type, GlobalExport(index)})
	}
	m.globals = append(m.globals, t)
}

func (m *module) parseExport(r *reader, s *section) {
	e := Export{Name: r.name()}
	kind := r.byte()
	e.Kind = ExternKind(kind)
	at := r.pos
	e.Index = r.u32()
	if strings.HasPrefix(e.Name, reservedPrefix) {
		r.invalid("export %s: names starting with hexdag. are the host's own", kernel.Quote(e.Name))
	}
	switch e.Kind {
	case ExternFunc:
		m.patchFunc(r, s, at, e.Index)
		if r.err == nil {
			e.Func = m.types[m.funcs[e.Index]]
		}
	case ExternTable:
		m.checkTable(r, e.Index)
		m.desc.HasTableWrites = true
	case ExternMemory:
		if uint64(e.Index) >= uint64(m.memories) {
			r.invalid("memory %d of %d", e.Index, m.memories)
		}
	case ExternGlobal:
		m.checkGlobal(r, e.Index)
	case 4:
		r.unsupported(FeatureExceptions)
	default:
		r.invalid("unknown kind of export %#x", kind)
	}
	m.desc.Exports = append(m.desc.Exports, e)
}

func (m *module) parseStart() error {
	s := &m.sections[secStart]
	if !s.present {
		return nil
	}
	m.desc.HasStart = true
	r := &reader{buf: s.payload, base: s.base}
	m.patchFunc(r, s, 0, r.u32())
	return r.close("start section")
}

// checkTotals checks what no single section shows.
func (m *module) checkTotals() error {
	if n := len(m.funcs); n > m.o.MaxFunctions {
		return exceeded(0, "functions", uint64(n), m.o.MaxFunctions)
	}
	if m.memories > 1 {
		return unsupported(m.sections[secMemory].base, FeatureMultiMemory)
	}
	if n := len(m.globals); n > m.o.MaxGlobals {
		return exceeded(0, "globals", uint64(n), m.o.MaxGlobals)
	}
	if m.tables > m.o.MaxTables {
		return exceeded(0, "tables", uint64(m.tables), m.o.MaxTables)
	}
	return nil
}

// typeAt returns a type by its index.
func (m *module) typeAt(r *reader, index uint32) FuncType {
	if r.err != nil || uint64(index) >= uint64(len(m.types)) {
		r.invalid("type %d of %d", index, len(m.types))
		return FuncType{}
	}
	return m.types[index]
}

// checkFunc returns the index of a function if there is one.
func (m *module) checkFunc(r *reader, index uint32) uint32 {
	if r.err == nil && uint64(index) >= uint64(len(m.funcs)) {
		r.invalid("function %d of %d", index, len(m.funcs))
	}
	return index
}

func (m *module) checkGlobal(r *reader, index uint32) {
	if r.err == nil && uint64(index) >= uint64(len(m.globals)) {
		r.invalid("global %d of %d", index, len(m.globals))
	}
}

func (m *module) checkTable(r *reader, index uint32) {
	if r.err == nil && uint64(index) >= uint64(m.tables) {
		r.invalid("table %d of %d", index, m.tables)
	}
}

// patchFunc notes a function index that was read from at on.
func (m *module) patchFunc(r *reader, s *section, at int, index uint32) {
	m.checkFunc(r, index)
	s.patches = append(s.patches, edit{at, r.pos, editFunc, index})
}
