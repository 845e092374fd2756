package expr

import (
	"strings"
)

func badPercent(why string) *fault {
	return wrong("%: "+why, "write such as '%s is %d' % (a, b) or '%(name)s' % d; % itself is %%")
}

// percent is text % args, Python's older way to format.
func (m *machine) percent(text string, args value) (value, *fault) {
	p := &percent{m: m, args: args, left: []value{args}}
	if args.kind == kindTuple {
		var f *fault
		if p.left, f = m.items(args); f != nil {
			return null, f
		}
	}
	var out []byte
	for text != "" {
		literal, rest, found := strings.Cut(text, "%")
		shown := ""
		if found {
			var f *fault
			if shown, rest, f = p.conversion(rest); f != nil {
				return null, f
			}
		}
		if f := m.spend(2 + (len(literal)+len(shown))/writeBytes); f != nil {
			return null, f
		}
		out = append(append(out, literal...), shown...)
		if len(out) > m.textLimit {
			return null, tooLong(len(out))
		}
		text = rest
	}
	if len(p.left) > 0 && !p.named && (args.kind == kindTuple || args.kind != kindDict && !args.isSequence()) {
		return null, badPercent("not all arguments are used")
	}
	return textValue(string(out)), nil
}

type percent struct {
	m     *machine
	args  value
	left  []value // arguments that were not used yet
	named bool
}

// conversion reads what follows a %, and shows its argument.
func (p *percent) conversion(text string) (shown, rest string, f *fault) {
	name, isNamed := "", false
	if strings.HasPrefix(text, "(") {
		if name, text, isNamed = strings.Cut(text[1:], ")"); !isNamed {
			return "", "", badPercent("a ( is never closed")
		}
	}
	s := spec{fill: " ", sign: '-', precision: -1, align: '>'}
	flags := len(text) - len(strings.TrimLeft(text, "#0- +"))
	s.flags(text[:flags])
	if s.width, text, f = formatNumber(text[flags:], "width"); f != nil {
		return "", "", f
	}
	if strings.HasPrefix(text, ".") {
		if s.precision, text, f = formatNumber(text[1:], "precision"); f != nil {
			return "", "", f
		}
	}
	text = strings.TrimLeft(text, "hlL")
	if text == "" {
		return "", "", badPercent("the text ends within a conversion")
	}
	s.kind, rest = text[0], text[1:]
	if s.kind == '%' {
		return "%", rest, nil
	}
	v, f := p.argument(name, isNamed)
	if f != nil {
		return "", "", f
	}
	shown, f = p.m.percentValue(v, s)
	return shown, rest, f
}

func (s *spec) flags(flags string) {
	s.alternate = strings.Contains(flags, "#")
	if strings.Contains(flags, " ") {
		s.sign = ' '
	}
	if strings.Contains(flags, "+") {
		s.sign = '+'
	}
	if strings.Contains(flags, "0") {
		s.fill, s.align = "0", '='
	}
	if strings.Contains(flags, "-") {
		s.fill, s.align = " ", '<'
	}
}

func (p *percent) argument(name string, isNamed bool) (value, *fault) {
	if isNamed {
		p.named = true
		if p.args.kind != kindDict {
			return null, badPercent("a name in brackets takes its value from a dict")
		}
		v, found, f := p.m.find(p.args, textValue(name))
		if f == nil && !found {
			f = badPercent("there is no member " + quoted(name))
		}
		return v, f
	}
	if len(p.left) == 0 {
		return null, badPercent("there are fewer arguments than conversions")
	}
	v := p.left[0]
	p.left = p.left[1:]
	return v, nil
}

func (m *machine) percentValue(v value, s spec) (string, *fault) {
	if v.kind == kindMissing {
		return "", isMissing(v)
	}
	switch s.kind {
	case 's', 'r', 'a':
		text, f := (&fields{m: m}).convert(v, s.kind)
		if f != nil {
			return "", f
		}
		s.kind, s.sign, s.alternate = 's', '-', false
		if s.align == '=' {
			s.fill, s.align = " ", '>'
		}
		return m.formatText(text.text(), s)
	case 'd', 'i', 'u', 'o', 'x', 'X':
		if !v.isNumber() {
			return "", badPercent("a number is due, not " + aType(v))
		}
		if !v.isInteger() && s.kind != 'd' && s.kind != 'i' && s.kind != 'u' {
			return "", badPercent("an integer is due, not " + aType(v))
		}
		n, f := m.toInt(v, value{})
		if f != nil {
			return "", f
		}
		return m.percentInt(n, s)
	case 'f', 'F', 'e', 'E', 'g', 'G':
		if !v.isNumber() {
			return "", badPercent("a number is due, not " + aType(v))
		}
		n, f := m.convertFloat(v)
		if f != nil {
			return "", f
		}
		return m.formatFloat(n, s)
	case 'c':
		if v.kind == kindText {
			return m.formatText(v.text(), spec{fill: " ", sign: '-', precision: 1, width: s.width, align: s.align})
		}
		if v.isInteger() {
			s.precision = -1
			return m.formatInt(v, s)
		}
	}
	return "", badPercent("there is no conversion %" + quoteByte(s.kind) + " for " + aType(v))
}

// percentInt has a precision, unlike format: the least number of digits.
func (m *machine) percentInt(v value, s spec) (string, *fault) {
	if s.kind == 'i' || s.kind == 'u' {
		s.kind = 'd'
	}
	if s.precision < 0 {
		return m.formatInt(v, s)
	}
	digits := s
	digits.width, digits.fill, digits.align, digits.precision = 0, " ", '>', -1
	text, f := m.formatInt(v, digits)
	if f != nil {
		return "", f
	}
	sign := text[:len(text)-len(strings.TrimLeft(text, "+- "))]
	text = text[len(sign):]
	if missing := s.precision - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	return pad(sign, text, len(text), s), nil
}
