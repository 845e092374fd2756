package expr

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// refused says of what Python, or another language, has and expressions have not:
// why, and what to write instead.
var refused = map[string][2]string{
	"lambda": {"lambda is not allowed", "write the value itself; sorted takes no key"},
	"await":  {"await is not allowed", "expressions only read data"},
	"async":  {"async is not allowed", "expressions only read data"},
	"yield":  {"yield is not allowed", "expressions only read data"},
	":=":     {"the assignment :=, a named expression, is not allowed", "write the value where it is used"},
	"=":      {"= assigns, and an expression cannot", "compare with =="},
	"===":    {"there is no ===", "compare with =="},
	"!==":    {"there is no !==", "compare with !="},
	"<>":     {"there is no <>", "compare with !="},
	"&&":     {"there is no &&", "write and"},
	"||":     {"there is no ||", "write or"},
	"!":      {"there is no !", "write not"},
	"?":      {"there is no ?:", "write x if test else y"},
	"??":     {"there is no ??", "write default(a, b)"},
	"&":      {"the bit operator & is not allowed", "for conditions write and"},
	"|":      {"the operator | is not allowed", "for conditions write or; in place of | default(x) write default(value, x)"},
	"^":      {"the bit operator ^ is not allowed", "for a power write **"},
	"~":      {"the bit operator ~ is not allowed", "for conditions write not"},
	"<<":     {"the bit operator << is not allowed", "multiply by a power of 2"},
	">>":     {"the bit operator >> is not allowed", "divide by a power of 2 with //"},
	"@":      {"the operator @ is not allowed", "multiply with *"},
	"*":      {"nothing can be unpacked with * here", "write each item"},
	"**":     {"nothing can be unpacked with ** here", "write each member"},
	"...":    {"... is not allowed", "write None"},
	";":      {"this is one expression, without statements", "remove the ;"},
	"=>":     {"there is no =>", "write >= for at least"},
	"->":     {"-> is not allowed", "write the value itself"},
	"`":      {"a backquote means nothing here", "put text into ' or \""},
}

// unexpected fails at a token that does not belong where it stands.
func (p *parser) unexpected(t token) node {
	if r, ok := refused[t.text]; ok && (t.kind == tokenOp || t.kind == tokenKeyword) {
		return p.fail(t.at, r[0], r[1])
	}
	const fix = "write one expression, such as a.b > 1 and 'x' in names"
	switch {
	case t.kind == tokenEnd:
		return p.fail(t.at, "it ends where a value is due", "complete it")
	case t.kind == tokenOp && len(t.text) > 1 && strings.HasSuffix(t.text, "=") && t.text != "==":
		return p.fail(t.at, t.text+" is not allowed here", "an expression cannot assign; compare with ==")
	case t.kind == tokenKeyword && t.text != "if" && t.text != "else" && t.text != "for" && t.text != "in" && t.text != "is" && t.text != "and" && t.text != "or" && t.text != "not":
		return p.fail(t.at, "the statement or keyword "+t.text+" is not allowed", fix+"; a member of that name is a['"+t.text+"']")
	}
	return p.fail(t.at, kernel.Quote(t.text)+" is not expected here", fix)
}

func quoteRune(r rune) string { return "'" + kernel.Quote(string(r)) + "'" }

// syntaxError is an error of the source at an offset.
func syntaxError(source string, at int, why, fix string) error {
	return &kernel.Error{
		Code: kernel.CodeExpression,
		What: "this is no expression: " + kernel.Quote(source),
		Why:  position(source, at) + ": " + why,
		Fix:  fix,
	}
}

// position names a place in the source as people count: from 1, in characters.
func position(source string, at int) string {
	at = min(at, len(source))
	line := strings.Count(source[:at], "\n")
	column := utf8.RuneCountInString(source[strings.LastIndexByte(source[:at], '\n')+1:at]) + 1
	place := "column " + strconv.Itoa(column)
	if strings.Contains(source, "\n") {
		place = "line " + strconv.Itoa(line+1) + ", " + place
	}
	return place
}
