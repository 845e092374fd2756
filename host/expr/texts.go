package expr

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/hexdag/hexdag/host/kernel"
)

var textFunctions = []*function{
	{signature: "lower(s)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.onText(args[0], m.lower) }},
	{signature: "upper(s)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.onText(args[0], m.upper) }},
	{signature: "strip(s, chars=None)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.stripAny(args[0], args[1], true, true)
	}},
	{signature: "lstrip(s, chars=None)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.stripAny(args[0], args[1], true, false)
	}},
	{signature: "rstrip(s, chars=None)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.stripAny(args[0], args[1], false, true)
	}},
	{signature: "split(s, sep=None, maxsplit=-1)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if args[0].kind != kindText {
			return listValue([]value{args[0]}), nil
		}
		return m.split(args[0].text(), args[1], args[2])
	}},
	{signature: "join(sep, items)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		sep, f := m.str(args[0])
		if f != nil {
			return null, f
		}
		return m.join(sep, args[1], true)
	}},
	{signature: "replace(s, old, new, count=-1)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if args[0].kind != kindText {
			return args[0], nil
		}
		return m.replace(args[0].text(), args[1], args[2], args[3])
	}},
	{signature: "startswith(s, prefix)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if args[0].kind != kindText {
			return boolValue(false), nil
		}
		return m.affix(args[0].text(), args[1:2], strings.HasPrefix)
	}},
	{signature: "endswith(s, suffix)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if args[0].kind != kindText {
			return boolValue(false), nil
		}
		return m.affix(args[0].text(), args[1:2], strings.HasSuffix)
	}},
	{signature: "contains(s, part)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if args[0].kind != kindText {
			return boolValue(false), nil
		}
		found, f := m.contains(args[0], args[1])
		return boolValue(found), f
	}},
	{signature: "format(value, format_spec='')", run: func(m *machine, args []value, _ []string) (value, *fault) {
		spec := ""
		if given(args[1]) {
			var f *fault
			if spec, f = textArgument(args[1], "the format"); f != nil {
				return null, f
			}
		}
		s, f := m.format(args[0], spec)
		return textValue(s), f
	}},
}

func textArgument(v value, name string) (string, *fault) {
	if v.kind == kindText {
		return v.text(), nil
	}
	return "", wrong(name+" is "+aType(v)+", and text is due", "convert it: str(x)")
}

// onText applies change to text, or to what str makes of anything else.
func (m *machine) onText(v value, change func(string) (string, *fault)) (value, *fault) {
	s, f := m.str(v)
	if f != nil {
		return null, f
	}
	s, f = change(s)
	return textValue(s), f
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lower and upper follow Unicode's full rules, as Python does: a sharp s becomes SS.
func (m *machine) lower(s string) (string, *fault) {
	if isASCII(s) {
		return strings.ToLower(s), m.write(len(s))
	}
	if f := m.write(8 * len(s)); f != nil {
		return "", f
	}
	return cases.Lower(language.Und).String(s), nil
}

func (m *machine) upper(s string) (string, *fault) {
	if isASCII(s) {
		return strings.ToUpper(s), m.write(len(s))
	}
	if f := m.write(8 * len(s)); f != nil {
		return "", f
	}
	return cases.Upper(language.Und).String(s), nil
}

// isSpace is Python's idea of white space.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func trim(s string) string { return strings.TrimFunc(s, isSpace) }

func (m *machine) stripAny(v, chars value, left, right bool) (value, *fault) {
	return m.onText(v, func(s string) (string, *fault) { return m.strip(s, chars, left, right) })
}

func (m *machine) strip(s string, chars value, left, right bool) (string, *fault) {
	drop := isSpace
	cost := len(s) / scanBytes
	if given(chars) && chars.kind != kindNone {
		set, f := textArgument(chars, "what to strip")
		if f != nil {
			return "", f
		}
		if len(set) > 256 {
			return "", beyond("a set of "+grouped(len(set))+" bytes to strip", 256, "bytes", "strip fewer characters")
		}
		drop = func(r rune) bool { return strings.ContainsRune(set, r) }
		cost *= 1 + len(set)/8
	}
	if f := m.spend(cost); f != nil {
		return "", f
	}
	if left {
		s = strings.TrimLeftFunc(s, drop)
	}
	if right {
		s = strings.TrimRightFunc(s, drop)
	}
	return s, nil
}

func (m *machine) split(s string, sep, limit value) (value, *fault) {
	most := int64(-1)
	if given(limit) {
		var f *fault
		if most, f = integerArgument(limit, "maxsplit"); f != nil {
			return null, f
		}
	}
	if f := m.scan(len(s)); f != nil {
		return null, f
	}
	pieces := int(min(most+1, maxItems+1))
	if most < 0 {
		pieces = maxItems + 2
	}
	var parts []string
	if !given(sep) || sep.kind == kindNone {
		if f := m.write(len(s) / 4); f != nil {
			return null, f
		}
		parts = splitSpace(s, pieces)
	} else {
		separator, f := textArgument(sep, "the separator")
		if f != nil {
			return null, f
		}
		if separator == "" {
			return null, wrong("the separator is empty", "list(s) gives the characters")
		}
		parts = strings.SplitN(s, separator, pieces)
	}
	if f := m.room(len(parts)); f != nil {
		return null, f
	}
	out := make([]value, len(parts))
	for i, part := range parts {
		out[i] = textValue(part)
	}
	return listValue(out), nil
}

// splitSpace splits at runs of white space into at most n pieces.
func splitSpace(s string, n int) []string {
	var parts []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		end := strings.IndexFunc(s, isSpace)
		if end < 0 || len(parts) == n-1 {
			end = len(s)
		}
		parts = append(parts, s[:end])
		s = s[end:]
	}
	return parts
}

// join strings items together; convert makes text of those that are none.
func (m *machine) join(sep string, items value, convert bool) (value, *fault) {
	var out []byte
	first := true
	f := m.each(items, func(v value) *fault {
		if v.kind == kindMissing {
			return isMissing(v)
		}
		if v.kind != kindText && !convert {
			return wrong("an item to join is "+aType(v), "write join(sep, items), which converts them")
		}
		s, f := m.str(v)
		if f != nil {
			return f
		}
		if !first {
			out = append(out, sep...)
		}
		first = false
		if f := m.spend((len(sep) + len(s)) / writeBytes); f != nil {
			return f
		}
		out = append(out, s...)
		if len(out) > m.textLimit {
			return tooLong(len(out))
		}
		return nil
	})
	return textValue(string(out)), f
}

func (m *machine) replace(s string, old, by, limit value) (value, *fault) {
	from, f := textArgument(old, "what to replace")
	if f != nil {
		return null, f
	}
	to, f := textArgument(by, "the replacement")
	if f != nil {
		return null, f
	}
	most := int64(-1)
	if given(limit) {
		if most, f = integerArgument(limit, "count"); f != nil {
			return null, f
		}
	}
	if f := m.scan(2 * len(s)); f != nil {
		return null, f
	}
	times := strings.Count(s, from)
	if most >= 0 && int64(times) > most {
		times = int(most)
	}
	size := int64(len(s)) + int64(times)*int64(len(to)-len(from))
	if size > maxText && times > 0 {
		return null, tooLong(int(size))
	}
	if f := m.spend(int(size)/writeBytes + times/4); f != nil {
		return null, f
	}
	return textValue(strings.Replace(s, from, to, times)), nil
}

// affix is startswith and endswith: args are what to look for, one or a tuple, and
// where in s to begin and end.
func (m *machine) affix(s string, args []value, has func(s, affix string) bool) (value, *fault) {
	s, _, f := m.window(s, args[1:])
	if f != nil {
		return null, f
	}
	wanted := []value{args[0]}
	if args[0].kind == kindTuple {
		if wanted, f = m.items(args[0]); f != nil {
			return null, f
		}
	}
	for _, v := range wanted {
		affix, f := textArgument(v, "what to look for")
		if f != nil {
			return null, f
		}
		if f := m.scan(len(affix)); f != nil {
			return null, f
		}
		if has(s, affix) {
			return boolValue(true), nil
		}
	}
	return boolValue(false), nil
}

// window is the part of s between two optional indexes, and how many characters are before it.
func (m *machine) window(s string, bounds []value) (part string, skipped int, f *fault) {
	if len(bounds) == 0 || !given(bounds[0]) && !given(bounds[1]) {
		return s, 0, nil
	}
	limits := [3]value{null, null, null}
	for i, v := range bounds {
		if given(v) {
			limits[i] = v
		}
	}
	if f := m.scan(2 * len(s)); f != nil {
		return "", 0, f
	}
	size := utf8.RuneCountInString(s)
	at, f := sliceBounds(limits, int64(size))
	if f != nil {
		return "", 0, f
	}
	from := runeOffset(s, int(at.start), size)
	return s[from:max(from, runeOffset(s, int(at.stop), size))], int(at.start), nil
}

// quoted is text of data as an error shows it.
func quoted(s string) string { return "'" + kernel.Quote(s) + "'" }
