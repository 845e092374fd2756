package expr

import (
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
)

// eval is a compiled part of an expression.
type eval func(*machine) (value, *fault)

// compiler turns nodes into closures. Comprehensions' variables live in slots.
type compiler struct {
	source     string
	depth      int
	bound      []variable
	slots      int // how many there are at most
	weight     int // of what was compiled: its operations
	references []Reference
	err        error
}

type variable struct {
	name string
	slot int
}

func (c *compiler) expression(n node) eval {
	c.depth++
	defer func() { c.depth-- }()
	if c.depth > 2*maxDepth && c.err == nil {
		c.err = syntaxError(c.source, n.pos(), "it nests deeper than the limit of "+grouped(2*maxDepth)+" levels", "split it into several expressions")
	}
	if c.err != nil {
		return nil
	}
	c.weight++
	switch n := n.(type) {
	case *literal:
		v := n.value
		return func(*machine) (value, *fault) { return v, nil }
	case *name, *attribute:
		return c.path(n)
	case *subscript:
		return c.subscript(n)
	case *slice:
		return c.slice(n)
	case *unary:
		return c.unary(n)
	case *chain:
		return c.chain(n)
	case *comparison:
		return c.comparison(n)
	case *logical:
		return c.logical(n)
	case *conditional:
		return c.conditional(n)
	case *sequence:
		return c.sequence(n)
	case *mapping:
		return c.mapping(n)
	case *comprehension:
		return c.comprehension(n)
	case *call:
		return c.call(n)
	}
	return c.method(n.(*method))
}

func (c *compiler) all(nodes []node) []eval {
	evals := make([]eval, len(nodes))
	for i, n := range nodes {
		evals[i] = c.expression(n)
	}
	return evals
}

// maybe compiles a node that may be left out.
func (c *compiler) maybe(n node) eval {
	if n == nil {
		return func(*machine) (value, *fault) { return null, nil }
	}
	return c.expression(n)
}

// path compiles a name and the attributes behind it as one lookup.
func (c *compiler) path(n node) eval {
	var segments []string
	for {
		a, ok := n.(*attribute)
		if !ok {
			break
		}
		segments = append(segments, a.name)
		n = a.of
	}
	slices.Reverse(segments)
	root, ok := n.(*name)
	if !ok {
		of := c.expression(n)
		return func(m *machine) (value, *fault) {
			v, f := of(m)
			return follow(v, segments), f
		}
	}
	if i := slices.IndexFunc(c.bound, func(v variable) bool { return v.name == root.name }); i >= 0 {
		slot := c.bound[i].slot
		return func(m *machine) (value, *fault) { return follow(m.slots[slot], segments), nil }
	}
	c.references = append(c.references, Reference{Path: append([]string{root.name}, segments...), Offset: root.pos()})
	return lookup(root.name, segments)
}

// stateName is the namespace whose members are names in their own right: one that
// it lacks is missing, not null.
const stateName = "state"

func lookup(root string, segments []string) eval {
	spelling := root
	for _, s := range segments {
		spelling += "." + s
	}
	none := value{kind: kindMissing, ref: spelling}
	if len(segments) == 0 {
		return func(m *machine) (value, *fault) {
			v, ok := m.scope.Lookup(root)
			if !ok {
				return none, nil
			}
			return from(v), nil
		}
	}
	first, rest := segments[0], segments[1:]
	return func(m *machine) (value, *fault) {
		v, ok := m.scope.Lookup(root)
		if !ok {
			return none, nil
		}
		next, found := memberOf(v, first)
		if !found && root == stateName {
			return none, nil
		}
		for _, segment := range rest {
			next, _ = memberOf(next, segment)
		}
		return from(next), nil
	}
}

// memberOf follows one segment of a path in data as it came: null where it leads nowhere.
func memberOf(v kernel.Value, segment string) (kernel.Value, bool) {
	switch v := v.(type) {
	case map[string]any:
		member, ok := v[segment]
		return member, ok
	case []any:
		if i, ok := index(segment); ok && i < len(v) {
			return v[i], true
		}
	}
	return nil, false
}

// index reads a segment such as the 0 of a.b.0.
func index(segment string) (int, bool) {
	n := 0
	for i := range len(segment) {
		if !isDigit(segment[i]) || i > 6 {
			return 0, false
		}
		n = n*10 + int(segment[i]-'0')
	}
	return n, segment != ""
}

// follow is memberOf for values. What is missing stays so.
func follow(v value, segments []string) value {
	for _, segment := range segments {
		switch c := v.ref.(type) {
		case map[string]any:
			v = from(c[segment])
			continue
		case *table:
			if i, ok := c.at[hash{kind: kindText, s: segment}]; ok && v.kind == kindDict {
				v = c.vals[i]
				continue
			}
		case []any, []value:
			if i, ok := index(segment); ok && i < count(v) {
				v = item(v, i)
				continue
			}
		}
		if v.kind != kindMissing {
			v = null
		}
	}
	return v
}

func (c *compiler) subscript(n *subscript) eval {
	of, index := c.expression(n.of), c.expression(n.index)
	at := n.pos()
	return func(m *machine) (value, *fault) {
		v, f := of(m)
		if f != nil {
			return null, f
		}
		i, f := index(m)
		if f != nil {
			return null, f
		}
		if i.kind == kindMissing && v.kind != kindMissing {
			return null, isMissing(i).place(at)
		}
		v, f = m.at(v, i)
		return v, f.place(at)
	}
}

// at is v[i]: null where there is nothing.
func (m *machine) at(v, i value) (value, *fault) {
	switch v.kind {
	case kindMissing:
		return v, nil
	case kindDict:
		found, _, f := m.find(v, i)
		if f != nil && !f.limit {
			return null, nil // a key that no dict can have
		}
		return found, f
	case kindList, kindTuple, kindRange:
		n := int64(count(v))
		if !i.isSmall() || i.n >= n || i.n < -n {
			return null, nil
		}
		if i.n < 0 {
			i.n += n
		}
		return item(v, int(i.n)), nil
	}
	return null, nil
}

func (c *compiler) unary(n *unary) eval {
	of, at, op := c.expression(n.of), n.pos(), n.op
	if op == 'n' {
		return func(m *machine) (value, *fault) {
			v, f := of(m)
			return boolValue(!truth(v)), f
		}
	}
	if l, ok := n.of.(*literal); ok && c.err == nil {
		if v, f := (&machine{steps: maxSteps}).negate(l.value, op); f == nil {
			return func(*machine) (value, *fault) { return v, nil }
		}
	}
	return func(m *machine) (value, *fault) {
		v, f := of(m)
		if f != nil {
			return null, f
		}
		v, f = m.negate(v, op)
		return v, f.place(at)
	}
}

func (c *compiler) chain(n *chain) eval {
	left := c.expression(n.first)
	for _, o := range n.rest[:1] {
		left = operation(left, c.expression(o.of), o)
	}
	if len(n.rest) == 1 {
		return left
	}
	rest, ops := make([]eval, len(n.rest)-1), n.rest[1:]
	for i, o := range ops {
		rest[i] = c.expression(o.of)
		c.weight++
	}
	return func(m *machine) (value, *fault) {
		v, f := left(m)
		for i := 0; f == nil && i < len(rest); i++ {
			var right value
			if right, f = rest[i](m); f == nil {
				v, f = m.arithmetic(ops[i].op, v, right)
				f = f.place(ops[i].pos())
			}
		}
		return v, f
	}
}

func operation(left, right eval, o operand) eval {
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
		if a.kind == kindInt && b.kind == kindInt {
			if v, ok := smallArithmetic(op, a.n, b.n); ok {
				return v, nil
			}
		}
		v, f := m.arithmetic(op, a, b)
		return v, f.place(at)
	}
}
