package rewrite

// Module rewrites a module as the package comment says, or refuses it. Every
// error is a *kernel.Error; its cause may be a [LimitError], an
// [UnsupportedError] or [ErrRewritten].
func Module(wasm []byte, opts Options) (Result, error) {
	m, err := parse(wasm, &opts)
	if err != nil {
		return Result{}, err
	}
	a := m.add()
	code, err := m.rewriteCode(a)
	if err != nil {
		return Result{}, err
	}
	return Result{Description: m.desc, Wasm: m.assemble(a, code, len(wasm))}, nil
}

// Inspect checks a module exactly as [Module] does and describes it, without
// rewriting it.
func Inspect(wasm []byte, opts Options) (*Description, error) {
	m, err := parse(wasm, &opts)
	if err != nil {
		return nil, err
	}
	if err := m.eachBody(func(*body, uint32) {}); err != nil {
		return nil, err
	}
	return &m.desc, nil
}

// eachBody scans the functions in their order and calls visit with each and the index of
// its type.
func (m *module) eachBody(visit func(b *body, typ uint32)) error {
	sec := &m.sections[secCode]
	r := &reader{buf: sec.payload, base: sec.base}
	n := 0
	if sec.present {
		n = r.count("function bodies", m.desc.Functions)
	}
	if r.err == nil && n != m.desc.Functions {
		r.invalid("%d functions declared, %d have a body", m.desc.Functions, n)
	}
	s := &scanner{m: m, o: m.o}
	for _, typ := range m.funcs[m.importedFuncs:] {
		at := r.offset()
		code := r.sub(r.u32())
		if code.err != nil {
			return code.err
		}
		if len(code.buf) > m.o.MaxBodyBytes {
			return exceeded(at, "function body bytes", uint64(len(code.buf)), m.o.MaxBodyBytes)
		}
		b, err := s.scan(code.buf, code.base, m.types[typ])
		if err != nil {
			return err
		}
		visit(b, typ)
	}
	m.desc.HasTableWrites = m.desc.HasTableWrites || s.tableWrites
	m.desc.HasSegmentDrops = s.segmentDrops
	return r.close("code section")
}

// rewriteCode returns the payload of the new code section.
func (m *module) rewriteCode(a *added) ([]byte, error) {
	out := make([]byte, 0, 2*len(m.sections[secCode].payload)+1024)
	out = appendU32(out, uint32(m.desc.Functions)+numHelpers)
	var scratch []byte
	err := m.eachBody(func(b *body, typ uint32) {
		scratch = m.appendBody(scratch[:0], a, b, typ)
		out = appendBytes(out, scratch)
	})
	return a.appendHelpers(out, m.o.memoryPages()), err
}

// appendBody appends a rewritten function body.
func (m *module) appendBody(out []byte, a *added, b *body, typ uint32) []byte {
	out = append(appendU32(out, b.groups+1), b.locals...)
	out = append(out, 1, byte(I64)) // b.fuel
	if b.calls {
		out = a.descend(out, b.weight)
	}
	out = a.load(out, b.fuel)
	if b.early {
		out = append(append(out, opBlock), m.resultBlock(a, typ)...)
	}
	out = m.appendCode(out, a, b)
	if !b.early {
		out = out[:len(out)-1] // its end, which otherwise closes the block
	}
	out = a.store(out, b.fuel)
	if b.calls {
		out = a.ascend(out, b.weight)
	}
	return append(out, opEnd)
}

// appendCode appends the instructions of a function body with their edits.
func (m *module) appendCode(out []byte, a *added, b *body) []byte {
	done := b.start
	for _, e := range b.edits {
		out = append(out, b.code[done:e.at]...)
		done = e.end
		switch e.kind {
		case editCharge, editChecked:
			if e.value > 0 {
				out = a.spend(out, b.fuel, e.value)
			}
			if e.kind == editChecked {
				out = a.check(out, b.fuel)
			}
		case editLoop:
			out = append(append(out, opLoop), b.code[e.at+1:e.value]...)
			out = a.check(out, b.fuel)
		case editHeader:
			out = a.leave(out, b.fuel)
			if e.value > 0 {
				out = a.spend(out, b.fuel, e.value)
			}
		case editClose:
			out = append(out, opEnd)
		case editStore:
			out = a.store(out, b.fuel)
		case editLoad:
			out = a.load(out, b.fuel)
		case editLabel:
			out = appendU32(out, e.value)
		case editFunc:
			out = appendU32(out, m.funcIndex(e.value))
		case editReturn:
			out = appendU32(append(out, opBr), e.value)
		case editHelper:
			out = a.store(out, b.fuel)
			out = appendU32(append(out, opCall), a.helpers+e.value)
			out = a.load(out, b.fuel)
		}
	}
	return append(out, b.code[done:]...)
}
