package expr

func (c *compiler) comparison(n *comparison) eval {
	first := c.expression(n.first)
	if len(n.rest) == 1 {
		return compareOne(first, c.expression(n.rest[0].of), n.rest[0])
	}
	rest := make([]eval, len(n.rest))
	for i, o := range n.rest {
		rest[i] = c.expression(o.of)
	}
	ops := n.rest
	return func(m *machine) (value, *fault) {
		left, f := first(m)
		if f != nil {
			return null, f
		}
		for i, o := range ops {
			right, f := rest[i](m)
			if f != nil {
				return null, f
			}
			holds, f := m.relation(o.op, left, right)
			if f != nil || !holds {
				return boolValue(false), f.place(o.pos())
			}
			left = right
		}
		return boolValue(true), nil
	}
}

func compareOne(left, right eval, o operand) eval {
	op, at := o.op, o.pos()
	return func(m *machine) (value, *fault) {
		a, f := left(m)
		if f != nil {
			return null, f
		}
		b, f := right(m)
		if f != nil {
			return null, f
		}
		holds, f := m.relation(op, a, b)
		return boolValue(holds), f.place(at)
	}
}

// relation is compare, and not in: where the types do not fit, a test for being in
// is false either way.
func (m *machine) relation(op string, a, b value) (bool, *fault) {
	if op != "not in" {
		return m.compare(op, a, b)
	}
	if !holdsItems(b, a) {
		return false, nil
	}
	in, f := m.contains(b, a)
	return !in && f == nil, f
}

// holdsItems says whether x in v is a question that has an answer.
func holdsItems(v, x value) bool {
	switch v.kind {
	case kindText:
		return x.kind == kindText
	case kindList, kindTuple, kindRange, kindSet, kindDict, kindNone:
		return true
	}
	return false
}

func (c *compiler) logical(n *logical) eval {
	items, and := c.all(n.items), n.and
	return func(m *machine) (value, *fault) {
		var v value
		for _, item := range items {
			var f *fault
			if v, f = item(m); f != nil || truth(v) != and {
				return v, f
			}
		}
		return v, nil
	}
}

func (c *compiler) conditional(n *conditional) eval {
	then, test, otherwise := c.expression(n.then), c.expression(n.test), c.expression(n.otherwise)
	return func(m *machine) (value, *fault) {
		v, f := test(m)
		switch {
		case f != nil:
			return null, f
		case truth(v):
			return then(m)
		}
		return otherwise(m)
	}
}

func (c *compiler) sequence(n *sequence) eval {
	items, kind := c.all(n.items), n.kind
	if v, ok := constant(n); ok {
		return func(*machine) (value, *fault) { return v, nil }
	}
	return func(m *machine) (value, *fault) {
		all := make([]value, len(items))
		for i, item := range items {
			var f *fault
			if all[i], f = item(m); f != nil {
				return null, f
			}
		}
		return value{kind: kind, ref: all}, nil
	}
}

// constant is a list or tuple of literals: it is made once, as values never change.
func constant(n *sequence) (value, bool) {
	all := make([]value, len(n.items))
	for i, item := range n.items {
		l, ok := item.(*literal)
		if !ok {
			return null, false
		}
		all[i] = l.value
	}
	return value{kind: n.kind, ref: all}, true
}

func (c *compiler) mapping(n *mapping) eval {
	keys, values, at := c.all(n.keys), c.all(n.values), n.pos()
	return func(m *machine) (value, *fault) {
		out := newTable()
		for i := range keys {
			key, f := keys[i](m)
			if f != nil {
				return null, f
			}
			v, f := values[i](m)
			if f != nil {
				return null, f
			}
			if f := out.put(m, key, v, true); f != nil {
				return null, f.place(at)
			}
		}
		return value{kind: kindDict, ref: out}, nil
	}
}

func (c *compiler) call(n *call) eval {
	f := functions[n.function]
	return invoke(f, c.arguments(f, n.arguments), n.names, n.pos())
}

// method compiles a method as a function whose first argument is what it belongs to.
func (c *compiler) method(n *method) eval {
	f := methods[n.name]
	of := c.expression(n.of)
	if c.err != nil {
		return nil
	}
	args := c.arguments(f, n.arguments)
	run := invoke(f, args, n.names, n.pos())
	return func(m *machine) (value, *fault) {
		v, fault := of(m)
		if fault != nil || v.isNull() {
			return null, fault // a method of null is null
		}
		m.stack = append(m.stack, v)
		return run(m)
	}
}

// arguments orders what a call gives as the function takes it.
func (c *compiler) arguments(f *function, a arguments) []eval {
	args := c.all(a.values)
	if f.variadic {
		return args
	}
	placed := make([]eval, len(f.params))
	positional := len(a.values) - len(a.names)
	copy(placed, args[:positional])
	for i, name := range a.names {
		placed[f.position(name)] = args[positional+i]
	}
	return placed
}

func invoke(f *function, args []eval, names []string, at int) eval {
	before := 0
	if f.method {
		before = 1
	}
	return func(m *machine) (value, *fault) {
		base := len(m.stack) - before
		for _, arg := range args {
			var v value
			if arg != nil {
				var f *fault
				if v, f = arg(m); f != nil {
					m.stack = m.stack[:base]
					return null, f
				}
			}
			m.stack = append(m.stack, v)
		}
		given := m.stack[base:]
		if !f.missing {
			for _, v := range given {
				if v.kind == kindMissing {
					m.stack = m.stack[:base]
					return null, isMissing(v).place(at)
				}
			}
		}
		v, fault := f.run(m, given, names)
		m.stack = m.stack[:base]
		return v, fault.place(at)
	}
}
