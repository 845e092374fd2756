package template

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
)

// maxNumber bounds a number's text, in bytes.
const maxNumber = 300

var (
	integer = regexp.MustCompile(`^([+-]?)0*([0-9]+)$`)
	float   = regexp.MustCompile(`^([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]{1,3})?$`)
)

// Coerce reads a rendered text as hexDAG does: as an integer, a float, or a boolean
// (true and yes, false and no, in any case), with white space around it; anything
// else is the text itself. Call it for what had tags only: hexDAG leaves other
// texts as they are.
func Coerce(rendered string) kernel.Value {
	text := strings.TrimSpace(rendered)
	if len(text) <= maxNumber {
		if n, ok := numeral(text); ok {
			return n
		}
	}
	switch strings.ToLower(rendered) {
	case "true", "yes":
		return true
	case "false", "no":
		return false
	}
	return rendered
}

// numeral reads a number as Python's int and float do, in JSON's spelling.
func numeral(text string) (kernel.Value, bool) {
	sign := map[string]string{"-": "-"}
	if m := integer.FindStringSubmatch(text); m != nil {
		if m[2] == "0" {
			return json.Number("0"), true
		}
		return json.Number(sign[m[1]] + m[2]), true
	}
	m := float.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[3] == "" {
		return nil, false
	}
	whole, fraction := strings.TrimLeft(m[2], "0"), m[3]
	if whole == "" {
		whole = "0"
	}
	if fraction == "" {
		fraction = "0"
	}
	canonical := expr.Str(json.Number(sign[m[1]] + whole + "." + fraction + m[4]))
	_, err := kernel.DecodeJSON([]byte(canonical)) // infinity is no number of JSON
	return json.Number(canonical), err == nil
}
