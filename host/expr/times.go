package expr

import (
	"strconv"
	"strings"
	"time"
)

var timeFunctions = []*function{
	{signature: "now()", run: func(m *machine, _ []value, _ []string) (value, *fault) { return m.now(), nil }},
	{signature: "utcnow()", run: func(m *machine, _ []value, _ []string) (value, *fault) { return m.now(), nil }},
	{signature: "timestamp(time=None, /)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.timestamp(args[0])
	}},
}

// timestamp is the seconds since 1970 of a time: now, a number, or ISO text.
func (m *machine) timestamp(v value) (value, *fault) {
	switch v.kind {
	case absent:
		return seconds(m.now().instant()), nil
	case kindInstant:
		return seconds(v.instant()), nil
	case kindBool, kindInt, kindBig, kindFloat, kindDecimal:
		return m.convertFloat(v)
	case kindText:
		if len(v.text()) > 64 {
			break
		}
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", time.DateOnly} {
			if t, err := time.Parse(layout, v.text()); err == nil {
				return seconds(t), nil
			}
		}
	}
	return null, wrong("timestamp takes a time, a number, or ISO text, not this "+typeName(v), "pass now(), 1700000000, or '2026-01-31T12:00:00Z'")
}

func seconds(t time.Time) value {
	return floatValue(float64(t.Unix()) + float64(t.Nanosecond()/1000)/1e6)
}

// isoTime writes a time as Python does, with sep between date and time.
func isoTime(t time.Time, sep string) string {
	layout := "2006-01-02" + sep + "15:04:05"
	if t.Nanosecond()/1000 != 0 {
		layout += ".000000"
	}
	return t.Format(layout + "-07:00")
}

func timeRepr(t time.Time) string {
	fields := []int{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond() / 1000}
	n := len(fields)
	for n > 5 && fields[n-1] == 0 {
		n--
	}
	var b strings.Builder
	b.WriteString("datetime.datetime(")
	for _, field := range fields[:n] {
		b.WriteString(strconv.Itoa(field) + ", ")
	}
	return b.String() + "tzinfo=datetime.timezone.utc)"
}

// timeLayouts are Go's layouts for strftime's directives.
var timeLayouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'j': "002", 'I': "03", 'p': "PM",
	'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'z': "-0700",
}

func (m *machine) formatTime(t time.Time, spec string) (string, *fault) {
	if spec == "" {
		return isoTime(t, " "), nil
	}
	if f := m.write(16 * len(spec)); f != nil {
		return "", f
	}
	var b strings.Builder
	for i := 0; i < len(spec); i++ {
		if spec[i] != '%' || i+1 == len(spec) {
			b.WriteByte(spec[i])
			continue
		}
		i++
		switch layout := timeLayouts[spec[i]]; {
		case layout != "":
			b.WriteString(t.Format(layout))
		case spec[i] == 'f':
			b.WriteString(t.Format(".000000")[1:])
		case spec[i] == 'Z':
			b.WriteString("UTC")
		case spec[i] == '%':
			b.WriteByte('%')
		default:
			return "", wrong("the format of a time has no %"+quoteRune(rune(spec[i])), "use %Y %m %d %H %M %S %f %y %j %I %p %b %B %a %A %z %Z")
		}
	}
	return b.String(), nil
}
