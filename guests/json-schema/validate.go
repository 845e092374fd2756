package main

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

// validator compares values with schemas, both where the host has them.
type validator struct {
	schemas, doc hexdag.Doc
	err          error // of a schema, or of what cannot be read
}

// maxWrong bounds how much of what is wrong is told.
const maxWrong = 10

type schemaError string

func (e schemaError) Error() string { return string(e) }

func (v *validator) fail(schema, text string) {
	if v.err == nil {
		v.err = schemaError("config" + schema + ": " + text)
	}
}

// node is one comparison: a schema, a value and what is wrong so far.
type node struct {
	*validator
	schema, path string
	value        hexdag.Value
	wrong        []string
}

func (n *node) say(text string) {
	if len(n.wrong) < maxWrong {
		n.wrong = append(n.wrong, n.path+" "+text)
	}
}

// check returns what of the value at path breaks the schema at schema.
func (v *validator) check(schema, path string) []string {
	value, err := v.doc.Get(path)
	if err != nil && v.err == nil {
		v.err = schemaError(path + ": " + err.Error())
	}
	n := &node{validator: v, schema: schema, path: path, value: value}
	switch v.schemas.Kind(schema) {
	case hexdag.KindBool:
		if !v.schemas.Bool(schema, false) {
			n.say("is not allowed")
		}
		return n.wrong
	case hexdag.KindObject:
	default:
		v.fail(schema, "a schema is an object, true or false")
		return nil
	}
	keywords, err := v.schemas.Keys(schema)
	if err != nil {
		v.fail(schema, err.Error())
	}
	for _, keyword := range keywords {
		if v.err != nil {
			return nil
		}
		n.keyword(keyword, schema+"/"+hexdag.Escape(keyword))
	}
	return n.wrong
}

// keyword applies one keyword, whose value is at at.
func (n *node) keyword(keyword, at string) {
	switch keyword {
	case "title", "description", "default", "examples", "$schema", "$id", "$comment":
	case "type":
		n.types(at)
	case "enum", "const":
		n.enum(keyword, at)
	case "anyOf", "oneOf", "allOf", "not":
		n.combine(keyword, at)
	case "properties", "required", "additionalProperties", "minProperties", "maxProperties":
		if n.value.Kind == hexdag.KindObject {
			n.object(keyword, at)
		}
	case "items", "minItems", "maxItems", "uniqueItems":
		if n.value.Kind == hexdag.KindArray {
			n.array(keyword, at)
		}
	case "minLength", "maxLength", "pattern":
		if n.value.Kind == hexdag.KindString {
			n.text(keyword, at)
		}
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		if n.value.Kind == hexdag.KindNumber {
			n.number(keyword, at)
		}
	default:
		n.fail(at, "this keyword is not among those that are understood")
	}
}

var kinds = map[string]hexdag.Kind{
	"null": hexdag.KindNull, "boolean": hexdag.KindBool, "number": hexdag.KindNumber, "string": hexdag.KindString, "array": hexdag.KindArray, "object": hexdag.KindObject,
}

func (n *node) types(at string) {
	list := []string{n.schemas.String(at)}
	if n.schemas.Kind(at) == hexdag.KindArray {
		list = nil
		for i := range n.schemas.Len(at) {
			list = append(list, n.schemas.String(at+"/"+strconv.Itoa(i)))
		}
	}
	is := false
	for _, name := range list {
		kind, known := kinds[name]
		switch {
		case name == "integer":
			is = is || n.value.Kind == hexdag.KindNumber && isInteger(n.value.Text)
		case !known:
			n.fail(at, "there is no type "+strconv.Quote(name))
		default:
			is = is || n.value.Kind == kind
		}
	}
	if !is {
		n.say("is not of the type " + join(list))
	}
}

func isInteger(text string) bool {
	f, err := strconv.ParseFloat(text, 64)
	return err == nil && f == math.Trunc(f)
}

func join(list []string) string {
	text := ""
	for i, s := range list {
		if i > 0 {
			text += " or "
		}
		text += s
	}
	return text
}

func (n *node) enum(keyword, at string) {
	candidates := []string{at}
	if keyword == "enum" {
		candidates = nil
		for i := range n.schemas.Len(at) {
			candidates = append(candidates, at+"/"+strconv.Itoa(i))
		}
	}
	for _, c := range candidates {
		if v, err := n.schemas.Get(c); err == nil && equal(v, n.value) {
			return
		}
	}
	n.say("is not " + map[string]string{"enum": "one of ", "const": ""}[keyword] + n.schemas.Raw(at))
}

// equal compares two values; those of numbers, not their spelling.
func equal(a, b hexdag.Value) bool {
	if a.Kind == hexdag.KindNumber && b.Kind == hexdag.KindNumber {
		x, errX := strconv.ParseFloat(a.Text, 64)
		y, errY := strconv.ParseFloat(b.Text, 64)
		return errX == nil && errY == nil && x == y
	}
	return a == b
}

func (n *node) combine(keyword, at string) {
	if keyword == "not" {
		if len(n.check(at, n.path)) == 0 {
			n.say("is what it must not be")
		}
		return
	}
	if n.schemas.Kind(at) != hexdag.KindArray || n.schemas.Len(at) == 0 {
		n.fail(at, "it is a list of schemas")
		return
	}
	fits := 0
	for i := range n.schemas.Len(at) {
		wrong := n.check(at+"/"+strconv.Itoa(i), n.path)
		if len(wrong) == 0 {
			fits++
		} else if keyword == "allOf" {
			n.wrong = append(n.wrong, wrong[:min(len(wrong), maxWrong-len(n.wrong))]...)
		}
	}
	switch {
	case keyword == "anyOf" && fits == 0:
		n.say("fits none of the schemas of anyOf")
	case keyword == "oneOf" && fits != 1:
		n.say("fits " + strconv.Itoa(fits) + " of the schemas of oneOf, not one")
	}
}

// bound reads a keyword's whole number.
func (n *node) bound(at string) int64 {
	b := n.schemas.Int(at, -1)
	if b < 0 {
		n.fail(at, "it is an integer from 0")
	}
	return b
}

// size compares a number of things with a bound.
func (n *node) size(keyword, at, of string, size int64) {
	b := n.bound(at)
	switch {
	case keyword[:3] == "min" && size < b:
		n.say("has " + strconv.FormatInt(size, 10) + " " + of + ", fewer than " + strconv.FormatInt(b, 10))
	case keyword[:3] == "max" && size > b:
		n.say("has " + strconv.FormatInt(size, 10) + " " + of + ", more than " + strconv.FormatInt(b, 10))
	}
}

func (n *node) below(schema, path string) {
	wrong := n.check(schema, path)
	n.wrong = append(n.wrong, wrong[:min(len(wrong), maxWrong-len(n.wrong))]...)
}

func (n *node) object(keyword, at string) {
	names, err := n.doc.Keys(n.path)
	if err != nil {
		n.fail(at, err.Error())
		return
	}
	switch keyword {
	case "minProperties", "maxProperties":
		n.size(keyword, at, "members", int64(len(names)))
	case "required":
		for i := range n.schemas.Len(at) {
			if name := n.schemas.String(at + "/" + strconv.Itoa(i)); !slices.Contains(names, name) {
				n.say("has no " + name)
			}
		}
	case "properties":
		for _, name := range names {
			if sub := at + "/" + hexdag.Escape(name); n.schemas.Kind(sub) != hexdag.KindAbsent {
				n.below(sub, n.path+"/"+hexdag.Escape(name))
			}
		}
	case "additionalProperties":
		for _, name := range names {
			if n.schemas.Kind(n.schema+"/properties/"+hexdag.Escape(name)) == hexdag.KindAbsent {
				n.below(at, n.path+"/"+hexdag.Escape(name))
			}
		}
	}
}

func (n *node) array(keyword, at string) {
	size := n.doc.Len(n.path)
	switch keyword {
	case "minItems", "maxItems":
		n.size(keyword, at, "elements", int64(size))
	case "items":
		for i := range size {
			n.below(at, n.path+"/"+strconv.Itoa(i))
		}
	case "uniqueItems":
		if !n.schemas.Bool(at, false) {
			return
		}
		seen := map[hexdag.Value]bool{}
		for i := range size {
			v, err := n.doc.Get(n.path + "/" + strconv.Itoa(i))
			if err != nil {
				n.fail(at, err.Error())
			}
			if f, err := strconv.ParseFloat(v.Text, 64); err == nil && v.Kind == hexdag.KindNumber {
				v.Text = strconv.FormatFloat(f, 'g', -1, 64) // 1 and 1.0 are one number
			}
			if seen[v] {
				n.say("has an element twice")
				return
			}
			seen[v] = true
		}
	}
}

func (n *node) text(keyword, at string) {
	if keyword != "pattern" {
		n.size(keyword, at, "characters", int64(utf8.RuneCountInString(n.value.Text)))
		return
	}
	pattern, err := regexp.Compile(n.schemas.String(at))
	switch {
	case err != nil:
		n.fail(at, err.Error())
	case !pattern.MatchString(n.value.Text):
		n.say("does not match " + n.schemas.String(at))
	}
}

func (n *node) number(keyword, at string) {
	bound, err := strconv.ParseFloat(n.schemas.Raw(at), 64)
	if err != nil || n.schemas.Kind(at) != hexdag.KindNumber {
		n.fail(at, "it is a number")
		return
	}
	value, err := strconv.ParseFloat(n.value.Text, 64)
	breaks := err != nil
	switch keyword {
	case "minimum":
		breaks = breaks || value < bound
	case "maximum":
		breaks = breaks || value > bound
	case "exclusiveMinimum":
		breaks = breaks || value <= bound
	case "exclusiveMaximum":
		breaks = breaks || value >= bound
	}
	if breaks {
		n.say("is " + n.value.Text + ", and its " + keyword + " is " + n.schemas.Raw(at))
	}
}
