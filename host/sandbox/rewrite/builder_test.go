package rewrite

// builder assembles modules for tests. Functions are defined after all imports.
type builder struct {
	types    []FuncType
	imports  [][]byte
	imported int // functions
	funcs    []uint32
	tables   [][]byte
	memories [][]byte
	globals  [][]byte
	exports  [][]byte
	start    []byte
	elems    [][]byte
	bodies   [][]byte
	data     [][]byte
	before   []CustomSection // custom sections before and after the others
	after    []CustomSection
	counted  bool // has a data count section
}

// asm puts code together: integers are single bytes.
func asm(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case uint32:
			b = appendU32(b, p)
		case int64:
			b = appendS64(b, p)
		case string:
			b = appendName(b, p)
		case []byte:
			b = append(b, p...)
		case ValType:
			b = append(b, byte(p))
		default:
			panic(p)
		}
	}
	return b
}

func vals(t ...ValType) []ValType { return t }

func (m *builder) typ(t FuncType) uint32 {
	for i, u := range m.types {
		if t.String() == u.String() {
			return uint32(i)
		}
	}
	m.types = append(m.types, t)
	return uint32(len(m.types) - 1)
}

func (m *builder) importFunc(module, name string, t FuncType) uint32 {
	m.imports = append(m.imports, asm(module, name, 0, m.typ(t)))
	m.imported++
	return uint32(m.imported - 1)
}

// fn defines a function and exports it under a name if that is not empty; the
// code lacks its end.
func (m *builder) fn(name string, t FuncType, locals []ValType, code []byte) uint32 {
	body := appendU32(nil, uint32(len(locals)))
	for _, l := range locals {
		body = append(body, 1, byte(l))
	}
	return m.rawFn(name, t, append(append(body, code...), opEnd))
}

func (m *builder) rawFn(name string, t FuncType, body []byte) uint32 {
	m.funcs = append(m.funcs, m.typ(t))
	m.bodies = append(m.bodies, asm(uint32(len(body)), body))
	index := uint32(m.imported + len(m.funcs) - 1)
	if name != "" {
		m.export(name, ExternFunc, index)
	}
	return index
}

func (m *builder) export(name string, kind ExternKind, index uint32) {
	m.exports = append(m.exports, asm(name, int(kind), index))
}

func (m *builder) global(t ValType, mutable int, init ...any) uint32 {
	m.globals = append(m.globals, asm(t, mutable, asm(init...), opEnd))
	return uint32(len(m.globals) - 1)
}

func vector(entries [][]byte) []byte {
	b := appendU32(nil, uint32(len(entries)))
	for _, e := range entries {
		b = append(b, e...)
	}
	return b
}

func (m *builder) wasm() []byte {
	out := append(append([]byte{}, magic...), version1...)
	add := func(id byte, entries [][]byte) {
		if len(entries) > 0 {
			out = appendSection(out, id, vector(entries))
		}
	}
	custom := func(all []CustomSection) {
		for _, c := range all {
			out = appendSection(out, secCustom, asm(c.Name, c.Bytes))
		}
	}
	var types, funcs [][]byte
	for _, t := range m.types {
		e := appendU32([]byte{0x60}, uint32(len(t.Params)))
		for _, p := range t.Params {
			e = append(e, byte(p))
		}
		e = appendU32(e, uint32(len(t.Results)))
		for _, r := range t.Results {
			e = append(e, byte(r))
		}
		types = append(types, e)
	}
	for _, f := range m.funcs {
		funcs = append(funcs, appendU32(nil, f))
	}
	custom(m.before)
	add(secType, types)
	add(secImport, m.imports)
	add(secFunction, funcs)
	add(secTable, m.tables)
	add(secMemory, m.memories)
	add(secGlobal, m.globals)
	add(secExport, m.exports)
	if m.start != nil {
		out = appendSection(out, secStart, m.start)
	}
	add(secElement, m.elems)
	if m.counted {
		out = appendSection(out, secDataCount, appendU32(nil, uint32(len(m.data))))
	}
	add(secCode, m.bodies)
	add(secData, m.data)
	custom(m.after)
	return out
}
