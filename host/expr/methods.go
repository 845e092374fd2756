package expr

import (
	"strings"
	"unicode/utf8"
)

type run = func(m *machine, args []value, names []string) (value, *fault)

// methodTable holds the methods by name; what they belong to is their first argument.
// A method exists on every type that has it in Python, of those that data has.
var methodTable = []*function{
	{signature: "get(key, default=None, /)", run: onDict("get", func(m *machine, args []value) (value, *fault) {
		v, found, f := m.find(args[0], args[1])
		if !found && given(args[2]) {
			v = args[2]
		}
		return v, f
	})},
	{signature: "keys()", run: onDict("keys", func(m *machine, args []value) (value, *fault) { return m.collect(args[0], kindList) })},
	{signature: "values()", run: onDict("values", func(m *machine, args []value) (value, *fault) { return m.members(args[0], false) })},
	{signature: "items()", run: onDict("items", func(m *machine, args []value) (value, *fault) { return m.members(args[0], true) })},
	{signature: "copy()", run: func(m *machine, args []value, _ []string) (value, *fault) {
		switch args[0].kind {
		case kindList, kindDict, kindSet:
			return args[0], nil // values never change
		}
		return null, noMethod(args[0], "copy")
	}},
	{signature: "upper()", run: onString("upper", func(m *machine, s string, _ []value) (value, *fault) { return m.onText(textValue(s), m.upper) })},
	{signature: "lower()", run: onString("lower", func(m *machine, s string, _ []value) (value, *fault) { return m.onText(textValue(s), m.lower) })},
	{signature: "strip(chars=None, /)", run: onString("strip", func(m *machine, s string, args []value) (value, *fault) {
		return m.stripAny(textValue(s), args[0], true, true)
	})},
	{signature: "lstrip(chars=None, /)", run: onString("lstrip", func(m *machine, s string, args []value) (value, *fault) {
		return m.stripAny(textValue(s), args[0], true, false)
	})},
	{signature: "rstrip(chars=None, /)", run: onString("rstrip", func(m *machine, s string, args []value) (value, *fault) {
		return m.stripAny(textValue(s), args[0], false, true)
	})},
	{signature: "split(sep=None, maxsplit=-1)", run: onString("split", func(m *machine, s string, args []value) (value, *fault) {
		return m.split(s, args[0], args[1])
	})},
	{signature: "replace(old, new, count=-1, /)", run: onString("replace", func(m *machine, s string, args []value) (value, *fault) {
		return m.replace(s, args[0], args[1], args[2])
	})},
	{signature: "startswith(prefix, start=0, end=None, /)", run: onString("startswith", func(m *machine, s string, args []value) (value, *fault) {
		return m.affix(s, args, strings.HasPrefix)
	})},
	{signature: "endswith(suffix, start=0, end=None, /)", run: onString("endswith", func(m *machine, s string, args []value) (value, *fault) {
		return m.affix(s, args, strings.HasSuffix)
	})},
	{signature: "join(items, /)", run: onString("join", func(m *machine, s string, args []value) (value, *fault) {
		return m.join(s, args[0], false)
	})},
	{signature: "format(*args, **kwargs)", run: func(m *machine, args []value, names []string) (value, *fault) {
		if args[0].kind != kindText {
			return null, noMethod(args[0], "format")
		}
		return m.formatFields(args[0].text(), args[1:], names)
	}},
	{signature: "find(part, start=0, end=None, /)", run: onString("find", func(m *machine, s string, args []value) (value, *fault) {
		at, f := m.findText(s, args)
		return intValue(int64(at)), f
	})},
	{signature: "index(part, start=0, end=None, /)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.indexOf(args) }},
	{signature: "count(part, start=0, end=None, /)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.countOf(args) }},
}

func noMethod(v value, name string) *fault {
	return wrong(aType(v)+" has no method "+name, "convert it first, such as with str(x)")
}

func onDict(name string, do func(m *machine, args []value) (value, *fault)) run {
	return func(m *machine, args []value, _ []string) (value, *fault) {
		if args[0].kind != kindDict {
			return null, noMethod(args[0], name)
		}
		return do(m, args)
	}
}

func onString(name string, do func(m *machine, s string, args []value) (value, *fault)) run {
	return func(m *machine, args []value, _ []string) (value, *fault) {
		if args[0].kind != kindText {
			return null, noMethod(args[0], name)
		}
		return do(m, args[0].text(), args[1:])
	}
}

// members are a dict's values, or its (key, value) pairs.
func (m *machine) members(v value, pairs bool) (value, *fault) {
	if f := m.room(count(v) * 2); f != nil {
		return null, f
	}
	out := make([]value, 0, count(v))
	f := m.eachKey(v, func(key value) *fault {
		member, _, f := m.find(v, key)
		if pairs {
			member = tupleValue([]value{key, member})
		}
		out = append(out, member)
		return f
	})
	return listValue(out), f
}

// findText is the index, in characters, of args[0] in s, or -1.
func (m *machine) findText(s string, args []value) (int, *fault) {
	part, f := textArgument(args[0], "what to look for")
	if f != nil {
		return -1, f
	}
	s, skipped, f := m.window(s, args[1:])
	if f != nil {
		return -1, f
	}
	if f := m.scan(2*len(s) + len(part)); f != nil {
		return -1, f
	}
	at := strings.Index(s, part)
	if at < 0 {
		return -1, nil
	}
	return skipped + utf8.RuneCountInString(s[:at]), nil
}

func (m *machine) indexOf(args []value) (value, *fault) {
	v := args[0]
	switch v.kind {
	case kindText:
		at, f := m.findText(v.text(), args[1:])
		if f == nil && at < 0 {
			f = wrong("index: the text is not found", "find gives -1 instead")
		}
		return intValue(int64(at)), f
	case kindList, kindTuple, kindRange:
		limits := [3]value{null, null, null}
		for i, bound := range args[2:] {
			if given(bound) {
				limits[i] = bound
			}
		}
		within, f := sliceBounds(limits, int64(count(v)))
		if f != nil {
			return null, f
		}
		for i := within.start; i < within.stop; i++ {
			if f := m.step(); f != nil {
				return null, f
			}
			if eq, f := m.equal(item(v, int(i)), args[1], 0); f != nil || eq {
				return intValue(i), f
			}
		}
		return null, wrong("index: the item is not in the list", "test it first: x in items")
	}
	return null, noMethod(v, "index")
}

func (m *machine) countOf(args []value) (value, *fault) {
	v := args[0]
	switch v.kind {
	case kindText:
		part, f := textArgument(args[1], "what to count")
		if f != nil {
			return null, f
		}
		s, _, f := m.window(v.text(), args[2:])
		if f != nil {
			return null, f
		}
		return intValue(int64(strings.Count(s, part))), m.scan(len(s))
	case kindList, kindTuple, kindRange:
		n := int64(0)
		f := m.each(v, func(item value) *fault {
			eq, f := m.equal(item, args[1], 0)
			if eq {
				n++
			}
			return f
		})
		return intValue(n), f
	}
	return null, noMethod(v, "count")
}
