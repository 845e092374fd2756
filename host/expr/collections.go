package expr

import (
	"math"
	"slices"
	"unicode/utf8"
)

var collectionFunctions = []*function{
	{signature: "len(collection, /)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.length(args[0]) }},
	{signature: "all(iterable, /)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.quantify(args[0], false) }},
	{signature: "any(iterable, /)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.quantify(args[0], true) }},
	{signature: "sorted(iterable, /, *, key=None, reverse=False)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if given(args[1]) && args[1].kind != kindNone {
			return null, noKey("sorted")
		}
		return m.sort(args[0], truth(args[2]))
	}},
	{signature: "reversed(sequence, /)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.reverse(args[0]) }},
	{signature: "range(*bounds)", run: func(_ *machine, args []value, names []string) (value, *fault) { return makeRange(args, names) }},
	{signature: "zip(*iterables, strict=False)", run: func(m *machine, args []value, names []string) (value, *fault) { return m.zip(args, names) }},
}

func (m *machine) length(v value) (value, *fault) {
	switch v.kind {
	case kindText:
		return intValue(int64(utf8.RuneCountInString(v.text()))), m.scan(len(v.text()))
	case kindList, kindTuple, kindSet, kindDict, kindRange:
		return intValue(int64(count(v))), nil
	}
	return null, wrong(aType(v)+" has no len", "give null a value: len(default(x, []))")
}

// quantify is any where found is true, and all where it is false: it looks for an
// item whose truth is found.
func (m *machine) quantify(v value, found bool) (value, *fault) {
	result := !found
	f := m.each(v, func(v value) *fault {
		if truth(v) == found {
			result = found
		}
		return nil
	})
	return boolValue(result), f
}

func (m *machine) sort(v value, reverse bool) (value, *fault) {
	items, f := m.items(v)
	if f != nil {
		return null, f
	}
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b value) int {
		if f == nil {
			f = m.step()
		}
		if f != nil {
			return 0
		}
		var o ordering
		if o, f = m.order(a, b, 0); f == nil && o == incomparable {
			f = noOrder(a, b)
		}
		switch {
		case f != nil || o == unordered:
			return 0
		case reverse:
			return -int(o)
		}
		return int(o)
	})
	return listValue(items), f
}

func (m *machine) reverse(v value) (value, *fault) {
	if v.kind == kindSet {
		return null, wrong("a set has no order to reverse", "sort it first: sorted(x, reverse=True)")
	}
	items, f := m.items(v)
	if f != nil {
		return null, f
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	return listValue(items), nil
}

func makeRange(args []value, names []string) (value, *fault) {
	const fix = "write range(stop), range(start, stop) or range(start, stop, step) with integers"
	if len(names) > 0 || len(args) < 1 || len(args) > 3 {
		return null, wrong("range takes 1 to 3 integers without names", fix)
	}
	bounds := [3]int64{0, 0, 1}
	for i, v := range args {
		if v.kind == kindBig {
			v = intValue(math.MaxInt64)
		}
		n, f := integerArgument(v, "a bound of range")
		if f != nil {
			return null, f
		}
		if n > maxSpan || n < -maxSpan {
			return null, beyond("a bound of range that is too big", maxSpan, "either way", "use smaller ones")
		}
		bounds[i] = n
	}
	if len(args) == 1 {
		bounds[0], bounds[1] = 0, bounds[0]
	}
	if bounds[2] == 0 {
		return null, wrong("the step of range is zero", fix)
	}
	return value{kind: kindRange, ref: &span{bounds[0], bounds[1], bounds[2]}}, nil
}

func (m *machine) zip(args []value, names []string) (value, *fault) {
	lists := args[:len(args)-len(names)]
	strict := len(names) > 0 && truth(args[len(args)-1])
	columns := make([][]value, len(lists))
	n := 0
	for i, v := range lists {
		var f *fault
		if columns[i], f = m.items(v); f != nil {
			return null, f
		}
		if strict && i > 0 && len(columns[i]) != len(columns[0]) {
			return null, wrong("zip, strict: the lists differ in length", "make them of one length, or leave strict out")
		}
		if i == 0 || len(columns[i]) < n {
			n = len(columns[i])
		}
	}
	if f := m.room(n * (len(lists) + 1)); f != nil {
		return null, f
	}
	rows := make([]value, n)
	for i := range rows {
		row := make([]value, len(columns))
		for j, column := range columns {
			row[j] = column[i]
		}
		rows[i] = tupleValue(row)
	}
	return listValue(rows), nil
}

func (c *compiler) slice(n *slice) eval {
	of, at := c.expression(n.of), n.pos()
	bounds := [3]eval{c.maybe(n.low), c.maybe(n.high), c.maybe(n.step)}
	return func(m *machine) (value, *fault) {
		v, f := of(m)
		if f != nil {
			return null, f
		}
		var limits [3]value
		for i, bound := range bounds {
			if limits[i], f = bound(m); f != nil {
				return null, f
			}
		}
		v, f = m.slice(v, limits)
		return v, f.place(at)
	}
}

// slice is v[low:high:step]: null of null.
func (m *machine) slice(v value, limits [3]value) (value, *fault) {
	if v.isNull() {
		return v, nil
	}
	size := count(v)
	switch v.kind {
	case kindText:
		size = utf8.RuneCountInString(v.text())
		if f := m.scan(2 * len(v.text())); f != nil {
			return null, f
		}
	case kindList, kindTuple, kindRange:
	default:
		return null, wrong(aType(v)+" cannot be sliced", "slice a list or text")
	}
	s, f := sliceBounds(limits, int64(size))
	if f != nil {
		return null, f
	}
	if v.kind == kindText {
		return m.sliceText(v.text(), size, s)
	}
	if r, ok := v.ref.(*span); ok {
		return value{kind: kindRange, ref: &span{r.start + s.start*r.step, r.start + s.stop*r.step, r.step * s.step}}, nil
	}
	if f := m.room(s.length()); f != nil {
		return null, f
	}
	out := make([]value, 0, s.length())
	for i := range s.length() {
		out = append(out, item(v, int(s.start+int64(i)*s.step)))
	}
	return value{kind: v.kind, ref: out}, nil
}

// sliceBounds turns what a slice says into indexes of a collection of n items.
func sliceBounds(limits [3]value, n int64) (*span, *fault) {
	s := &span{step: 1}
	for i, v := range limits {
		if v.kind == kindNone {
			continue
		}
		if v.kind == kindBig {
			v = intValue(int64(v.big().Sign()) * maxSpan)
		}
		if _, f := integerArgument(v, "a bound of a slice"); f != nil {
			return nil, f
		}
		limits[i] = intValue(max(min(v.n, maxSpan), -maxSpan))
	}
	if limits[2].kind != kindNone {
		// a step beyond the collection reaches nothing more
		s.step = max(min(limits[2].n, n+1), -n-1)
	}
	first, last := int64(0), n
	switch {
	case limits[2].kind != kindNone && limits[2].n == 0:
		return nil, wrong("the step of a slice is zero", "use another one, or leave it out")
	case s.step < 0:
		first, last = -1, n-1
		s.start, s.stop = last, first
	default:
		s.start, s.stop = first, last
	}
	bound := func(v value, otherwise int64) int64 {
		if v.kind == kindNone {
			return otherwise
		}
		i := v.n
		if i < 0 {
			i += n
		}
		return max(min(i, last), first)
	}
	s.start, s.stop = bound(limits[0], s.start), bound(limits[1], s.stop)
	return s, nil
}

func (m *machine) sliceText(s string, size int, by *span) (value, *fault) {
	if by.step == 1 {
		from := runeOffset(s, int(by.start), size)
		to := max(from, runeOffset(s, int(by.stop), size))
		return textValue(s[from:to]), nil
	}
	if f := m.room(size); f != nil {
		return null, f
	}
	runes := []rune(s)
	out := make([]rune, 0, by.length())
	for i := range by.length() {
		out = append(out, runes[by.start+int64(i)*by.step])
	}
	return textValue(string(out)), m.write(len(out))
}

// runeOffset is the byte at which the n-th of size characters begins.
func runeOffset(s string, n, size int) int {
	if size == len(s) {
		return min(n, size)
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}
