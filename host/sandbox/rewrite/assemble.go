package rewrite

// assemble puts the sections of the new module together.
func (m *module) assemble(a *added, code []byte, size int) []byte {
	out := make([]byte, 0, size+len(code)+4096)
	out = append(append(out, magic...), version1...)
	out = m.appendCustoms(out, 0)
	for i, id := range sectionOrder {
		s := &m.sections[id]
		switch id {
		case secType, secImport, secFunction, secGlobal, secExport:
			out = appendSection(out, id, m.extended(a, id))
		case secTable, secMemory:
			if s.present {
				out = appendSection(out, id, m.loweredLimits(id))
			}
		case secCode:
			out = appendSection(out, id, code)
		default:
			if s.present {
				out = appendSection(out, id, m.patched(nil, s, 0))
			}
		}
		out = m.appendCustoms(out, i+1)
	}
	return appendSection(out, secCustom, append(appendName(nil, markSection), Version...))
}

// patched appends a section's payload from a place on, its function indices moved.
func (m *module) patched(out []byte, s *section, from int) []byte {
	for _, p := range s.patches {
		out = append(out, s.payload[from:p.at]...)
		out = appendU32(out, m.funcIndex(p.value))
		from = p.end
	}
	return append(out, s.payload[from:]...)
}

// extended returns the payload of a section to which entries are added.
func (m *module) extended(a *added, id byte) []byte {
	s := &m.sections[id]
	n, more := m.additions(a, id)
	out := appendU32(nil, uint32(s.count+n))
	return append(m.patched(out, s, s.entries), more...)
}

// additions returns the entries that are added to a section, and their number.
func (m *module) additions(a *added, id byte) (n int, b []byte) {
	switch id {
	case secType:
		b = append(b, 0x60, 1, byte(I64), 1, byte(I64)) // typeRefill
		b = append(b, 0x60, 0, 0)                       // typeOverflow
		b = append(b, 0x60, 1, byte(I32), 1, byte(I32)) // typeLength
		for _, typ := range a.blockTypes {
			results := m.types[typ].Results
			b = appendU32(append(b, 0x60, 0), uint32(len(results)))
			for _, t := range results {
				b = append(b, byte(t))
			}
		}
		return numTypes + len(a.blockTypes), b
	case secImport:
		b = appendName(appendName(b, ImportModule), ImportRefill)
		b = appendU32(append(b, byte(ExternFunc)), a.types+typeRefill)
		b = appendName(appendName(b, ImportModule), ImportOverflow)
		b = appendU32(append(b, byte(ExternFunc)), a.types+typeOverflow)
		return numImports, b
	case secFunction:
		for range numHelpers {
			b = appendU32(b, a.types+typeLength)
		}
		return numHelpers, b
	case secGlobal:
		b = append(b, byte(I64), 1, opI64Const, 0, opEnd) // fuel
		b = append(b, byte(I32), 1, opI32Const)           // depth
		b = append(appendS64(b, int64(m.o.depth())), opEnd)
		return 2, b
	default: // secExport
		b = appendExport(b, ExportFuel, a.fuel)
		b = appendExport(b, ExportDepth, a.depth)
		for _, g := range m.desc.MutableGlobals {
			b = appendExport(b, g.Export, g.Index)
		}
		return 2 + len(m.desc.MutableGlobals), b
	}
}

func appendExport(b []byte, name string, global uint32) []byte {
	return appendU32(append(appendName(b, name), byte(ExternGlobal)), global)
}

// loweredLimits returns the payload of the table or memory section.
func (m *module) loweredLimits(id byte) []byte {
	all := m.desc.Memories
	if id == secTable {
		all = m.desc.Tables
	}
	out := appendU32(nil, uint32(len(all)))
	for i, l := range all {
		if id == secTable {
			out = append(out, byte(m.tableTypes[i]))
		}
		out = appendU32(appendU32(append(out, 1), l.Min), l.Max)
	}
	return out
}

// appendCustoms appends the custom sections that follow the section of a rank.
func (m *module) appendCustoms(out []byte, rank int) []byte {
	for _, c := range m.customs {
		if c.rank != rank || !keepCustom(c.name) {
			continue
		}
		payload := c.payload
		if c.name == nameSection {
			if payload = m.renumberNames(c); payload == nil {
				continue
			}
		}
		out = appendSection(out, secCustom, append(appendName(nil, c.name), payload...))
	}
	return out
}
