package expr

// loop is a compiled clause: where its items come from, what they are given to, and
// what they must satisfy.
type loop struct {
	in    eval
	store store
	ifs   []eval
	cost  int // steps of one round, beside those of loops within
	at    int
}

// store gives an item to a clause's variables.
type store func(m *machine, v value) *fault

// comprehension compiles clauses from the outside in: each sees the variables of
// those before it.
func (c *compiler) comprehension(n *comprehension) eval {
	outer := len(c.bound)
	loops := make([]loop, len(n.clauses))
	for i, clause := range n.clauses {
		l := &loops[i]
		l.at = clause.in.pos()
		before := c.weight
		l.in = c.expression(clause.in)
		if i > 0 { // the first list is made once, the others in each round
			loops[i-1].cost += c.weight - before
			c.weight = before
		}
		before = c.weight
		l.store = c.target(clause.target)
		l.ifs = c.all(clause.ifs)
		l.cost = c.weight - before
		c.weight = before
	}
	before := c.weight
	var key eval
	if n.key != nil {
		key = c.expression(n.key)
	}
	result := c.expression(n.value)
	loops[len(loops)-1].cost += c.weight - before
	c.weight = before
	c.bound = c.bound[len(c.bound)-outer:]
	kind, at := n.kind, n.pos()
	return func(m *machine) (value, *fault) {
		r := &round{loops: loops, key: key, value: result, kind: kind}
		if kind != kindList {
			r.table = newTable()
		}
		if f := r.run(m, 0); f != nil {
			return null, f.place(at)
		}
		if kind == kindList {
			return listValue(r.list), nil
		}
		return value{kind: kind, ref: r.table}, nil
	}
}

// free is the first slot that no variable in reach has.
func (c *compiler) free() int {
	if len(c.bound) == 0 {
		return 0
	}
	return c.bound[0].slot + 1
}

// bind declares a variable. The newest comes first, so that it hides its namesakes.
func (c *compiler) bind(name string) int {
	slot := c.free()
	c.bound = append([]variable{{name, slot}}, c.bound...)
	c.slots = max(c.slots, slot+1)
	return slot
}

func (c *compiler) target(t target) store {
	c.weight++
	if t.name != "" {
		slot := c.bind(t.name)
		return func(m *machine, v value) *fault {
			m.slots[slot] = v
			return nil
		}
	}
	parts := make([]store, len(t.parts))
	for i, part := range t.parts {
		parts[i] = c.target(part)
	}
	return func(m *machine, v value) *fault {
		items, f := m.items(v)
		if f != nil {
			return f
		}
		if len(items) != len(parts) {
			return wrong("an item has "+grouped(len(items))+" parts, and the loop names "+grouped(len(parts)), "name as many as there are")
		}
		for i, part := range parts {
			if f := part(m, items[i]); f != nil {
				return f
			}
		}
		return nil
	}
}

// round is one evaluation of a comprehension.
type round struct {
	loops      []loop
	key, value eval
	kind       kind
	list       []value
	table      *table
}

func (r *round) run(m *machine, i int) *fault {
	if i == len(r.loops) {
		return r.add(m)
	}
	l := &r.loops[i]
	v, f := l.in(m)
	if f != nil {
		return f
	}
	f = m.each(v, func(v value) *fault {
		if m.steps -= l.cost; m.steps < 0 {
			return m.spend(0)
		}
		if f := l.store(m, v); f != nil {
			return f
		}
		for _, test := range l.ifs {
			if v, f := test(m); f != nil || !truth(v) {
				return f
			}
		}
		return r.run(m, i+1)
	})
	return f.place(l.at)
}

func (r *round) add(m *machine) *fault {
	if r.kind == kindList && len(r.list) >= maxItems {
		return tooMany(int64(len(r.list) + 1))
	}
	var key value
	var f *fault
	if r.key != nil {
		if key, f = r.key(m); f != nil {
			return f
		}
	}
	v, f := r.value(m)
	switch {
	case f != nil:
		return f
	case r.kind == kindList:
		r.list = append(r.list, v)
		return m.spend(2) // the list has to grow, too
	case r.kind == kindSet:
		return r.table.put(m, v, null, false)
	}
	return r.table.put(m, key, v, true)
}
