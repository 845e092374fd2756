package expr

// node is a part of a parsed expression; pos is its offset in the source.
type node interface{ pos() int }

type at int

func (a at) pos() int { return int(a) }

type (
	literal struct {
		at
		value value
	}
	name struct {
		at
		name string
	}
	// attribute is of.name; a segment such as 0 may be an index.
	attribute struct {
		at
		of   node
		name string
	}
	subscript struct {
		at
		of, index node
	}
	// slice is of[low:high:step]; those that are not written are nil.
	slice struct {
		at
		of, low, high, step node
	}
	unary struct {
		at
		op byte // '-', '+' or 'n' for not
		of node
	}
	// chain is a row of operators of one precedence, from the left.
	chain struct {
		at
		first node
		rest  []operand
	}
	operand struct {
		at
		op string
		of node
	}
	// comparison is a chain: a < b < c is a < b and b < c.
	comparison struct {
		at
		first node
		rest  []operand
	}
	// logical is a chain of and, or of or.
	logical struct {
		at
		and   bool
		items []node
	}
	conditional struct {
		at
		test, then, otherwise node
	}
	sequence struct {
		at
		kind  kind // list or tuple
		items []node
	}
	mapping struct {
		at
		keys, values []node
	}
	// comprehension makes a list, a set or a dict; key is a dict's.
	comprehension struct {
		at
		kind       kind
		key, value node
		clauses    []clause
	}
	clause struct {
		target target
		in     node
		ifs    []node
	}
	// target is the name, or the names, that a clause gives its items to.
	target struct {
		name  string
		parts []target // of a tuple, where name is empty
	}
	call struct {
		at
		function string
		arguments
	}
	method struct {
		at
		of   node
		name string
		arguments
	}
	// arguments are positional ones, then one for each of names.
	arguments struct {
		values []node
		names  []string
	}
)
