package types

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// customType is a checked definition. Its steps have a fixed order: null, trim,
// pattern, strip, convert to the base, clamp, case, cut to max_length.
type customType struct {
	base         string
	nulls        map[string]bool
	trim         bool
	patterns     []*regexp.Regexp
	strip        string
	truths       map[string]bool // word, and what it means
	clamped      bool
	low, high    float64
	upper, lower bool
	maxLength    int // in characters; 0 is no limit
	fallback     kernel.Value
}

// definition reads the members of a custom type and collects what is wrong.
type definition struct {
	name    string
	members map[string]any
	wrong   []error
}

// customMembers are what a definition can have, and the bases that each is for.
var customMembers = map[string][]string{
	"base": nil, "description": nil, "nulls": nil, "trim": nil, "pattern": nil, "strip": nil, "default": nil,
	"true_values": {"bool"}, "false_values": {"bool"},
	"clamp": {"int", "float"},
	"upper": {"str"}, "lower": {"str"}, "max_length": {"str"},
}

func parseCustom(name string, members map[string]any) (*fieldType, []error) {
	d := &definition{name: kernel.Quote(name), members: members}
	c := &customType{base: d.base(), trim: d.flag("trim", true)}
	d.checkMembers(c.base)
	c.nulls, c.patterns, c.strip = d.nulls(), d.patterns(), d.text("strip")
	c.truths = d.truths()
	c.low, c.high, c.clamped = d.clamp()
	c.upper, c.lower, c.maxLength = d.flag("upper", false), d.flag("lower", false), d.length("max_length")
	if c.upper && c.lower {
		d.fail("upper", "remove upper or lower", "a text cannot be in capitals and in small letters")
	}
	c.fallback = d.fallback(c.base)
	hint := d.text("description")
	return &fieldType{name: name, hint: hint, accepts: scalars, coerce: c.coerce}, d.wrong
}

func (d *definition) fail(member, fix, what string, args ...any) {
	d.wrong = append(d.wrong, invalid(fix, "custom_types.%s.%s: %s", d.name, member, fmt.Sprintf(what, args...)))
}

func (d *definition) base() string {
	base := d.text("base")
	switch base {
	case "":
		return "str"
	case "str", "int", "float", "bool":
		return base
	}
	d.fail("base", "write one of str, int, float, bool", "%s is no base", kernel.Quote(base))
	return "str"
}

// checkMembers refuses members that nobody knows or that do nothing for the base.
func (d *definition) checkMembers(base string) {
	for _, member := range slices.Sorted(maps.Keys(d.members)) {
		bases, known := customMembers[member]
		switch {
		case !known:
			d.fail(kernel.Quote(member), kernel.DidYouMean(member, slices.Collect(maps.Keys(customMembers))), "a type has no such member")
		case bases != nil && !slices.Contains(bases, base):
			d.fail(member, "remove it, or change base", "it is for base %s; this type's is %s", strings.Join(bases, " or "), base)
		}
	}
}

func (d *definition) text(member string) string {
	v := d.members[member]
	s, ok := v.(string)
	if !ok && v != nil {
		d.fail(member, "put it in quotes", "it must be a string, this is %s", found(v))
	}
	return s
}

func (d *definition) flag(member string, otherwise bool) bool {
	v := d.members[member]
	if v == nil {
		return otherwise
	}
	b, ok := v.(bool)
	if !ok {
		d.fail(member, "write true or false", "it must be a boolean, this is %s", found(v))
	}
	return b
}

func (d *definition) length(member string) int {
	v := d.members[member]
	if v == nil {
		return 0
	}
	n, err := strconv.Atoi(fmt.Sprint(v))
	if err != nil || n < 1 {
		d.fail(member, "write a number of characters, from 1", "it must be a positive integer, this is %s", found(v))
	}
	return n
}

// texts reads a list of strings; one string is a list of one.
func (d *definition) texts(member string) []string {
	switch v := d.members[member].(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		list := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				d.fail(member, "put it in quotes", "its items must be strings, one is %s", found(item))
				continue
			}
			list = append(list, s)
		}
		return list
	default:
		d.fail(member, "write a list of strings", "it must be a list of strings, this is %s", found(v))
		return nil
	}
}

func (d *definition) nulls() map[string]bool {
	if d.members["nulls"] == "common" {
		return nulls
	}
	if s, ok := d.members["nulls"].(string); ok {
		d.fail("nulls", "write common, or a list", "%s is no set of texts", kernel.Quote(s))
		return nil
	}
	return words(d.texts("nulls"))
}

// words is a set of texts without regard to capitals and white space around them.
func words(texts []string) map[string]bool {
	set := make(map[string]bool, len(texts))
	for _, s := range texts {
		set[strings.ToLower(strings.TrimSpace(s))] = true
	}
	return set
}

func (d *definition) patterns() []*regexp.Regexp {
	var patterns []*regexp.Regexp
	for _, text := range d.texts("pattern") {
		p, err := regexp.Compile(text)
		if err != nil {
			d.fail("pattern", "write it in RE2's syntax, which has no look-around and no backreferences", "%s", kernel.Quote(err.Error()))
			continue
		}
		patterns = append(patterns, p)
	}
	return patterns
}

func (d *definition) truths() map[string]bool {
	truths := words(d.texts("true_values"))
	for word := range words(d.texts("false_values")) {
		if truths[word] {
			d.fail("false_values", "remove it from one of the lists", "%s is among true_values, too", kernel.Quote(word))
		}
		truths[word] = false
	}
	return truths
}

func (d *definition) clamp() (low, high float64, clamped bool) {
	v := d.members["clamp"]
	if v == nil {
		return 0, 0, false
	}
	list, _ := v.([]any)
	if len(list) != 2 {
		d.fail("clamp", "write [lowest, highest]", "it must be a list of two numbers, this is %s", found(v))
		return 0, 0, false
	}
	var bounds [2]float64
	for i, item := range list {
		f, err := strconv.ParseFloat(fmt.Sprint(item), 64)
		if _, isText := item.(string); err != nil || isText || math.IsNaN(f) {
			d.fail("clamp", "write [lowest, highest]", "its items must be numbers, one is %s", found(item))
			return 0, 0, false
		}
		bounds[i] = f
	}
	if bounds[0] > bounds[1] {
		d.fail("clamp", "write the lower one first", "%v is above %v", bounds[0], bounds[1])
	}
	return bounds[0], bounds[1], true
}

// fallback reads the default, which has to be of the base's type.
func (d *definition) fallback(base string) kernel.Value {
	v := d.members["default"]
	if v == nil {
		return nil
	}
	value, err := kernel.ToValue(v)
	if _, isText := value.(string); err == nil && isText == (base == "str") {
		if of, ok := builtin[base].coerce(value); ok {
			return of
		}
	}
	d.fail("default", "write a value of the base's type", "it must be %s as the base is, this is %s", base, found(v))
	return nil
}

// coerce cleans a value. What cannot be read is the default, or null; only of the
// base bool is it an error, since there is no word for neither.
func (c *customType) coerce(v kernel.Value) (kernel.Value, bool) {
	text, ok := plainText(v)
	if !ok {
		return nil, false
	}
	if v == nil || c.nulls[strings.ToLower(strings.TrimSpace(text))] {
		return c.fallback, true
	}
	if c.trim {
		text = strings.TrimSpace(text)
	}
	if text == "" {
		return c.fallback, true
	}
	if text, ok = c.extract(text); !ok {
		return c.fallback, true
	}
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(c.strip, r) {
			return -1
		}
		return r
	}, text)
	return c.convert(text)
}

// extract returns what the first pattern that matches picks out of a text.
func (c *customType) extract(text string) (string, bool) {
	for _, p := range c.patterns {
		m := p.FindStringSubmatchIndex(text)
		switch {
		case m == nil:
			continue
		case len(m) > 2 && m[2] >= 0:
			return text[m[2]:m[3]], true
		}
		return text[m[0]:m[1]], true
	}
	return text, len(c.patterns) == 0
}

func (c *customType) convert(text string) (kernel.Value, bool) {
	switch c.base {
	case "bool":
		word := strings.ToLower(text)
		if b, known := c.truths[word]; known {
			return b, true
		}
		return truth(word)
	case "int", "float":
		return c.number(text), true
	}
	switch {
	case c.upper:
		text = strings.ToUpper(text)
	case c.lower:
		text = strings.ToLower(text)
	}
	if c.maxLength > 0 {
		if runes := []rune(text); len(runes) > c.maxLength {
			text = string(runes[:c.maxLength])
		}
	}
	return text, true
}

// number converts and clamps. An int is what is left without the fraction.
func (c *customType) number(text string) kernel.Value {
	r, ok := parseNumber(strings.TrimSpace(text))
	if !ok {
		return c.fallback
	}
	f, _ := r.Float64()
	clamped := f
	if c.clamped {
		clamped = min(max(f, c.low), c.high)
	}
	switch {
	case math.IsInf(clamped, 0):
		return c.fallback
	case c.base == "float":
		return formatFloat(clamped)
	case clamped != f:
		r.SetFloat64(clamped)
	}
	return truncate(r)
}
