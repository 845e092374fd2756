package types

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// maxReported bounds how many fields an error lists.
const maxReported = 20

// report collects the fields that break a schema.
type report struct {
	lines []string
	more  int
}

func (r *report) add(line string) {
	if len(r.lines) < maxReported {
		r.lines = append(r.lines, line)
	} else {
		r.more++
	}
}

func (r *report) mismatch(path, expected string, v kernel.Value) {
	r.add(label(path) + "expected " + expected + ", found " + found(v))
}

func (r *report) missing(path, expected string) {
	r.add(label(path) + "missing, expected " + expected)
}

// label names the field that a line is about; the whole value has no name.
func label(path string) string {
	if path = strings.TrimSuffix(path, "."); path == "" {
		return ""
	}
	return kernel.Quote(path) + ": "
}

func (r *report) err(code kernel.Code, fix string) error {
	if len(r.lines) == 0 {
		return nil
	}
	what := "the value breaks its schema"
	if n := len(r.lines) + r.more; n > 1 {
		what += fmt.Sprintf(" in %d places", n)
	}
	why := strings.Join(r.lines, "; ")
	if r.more > 0 {
		why += fmt.Sprintf("; and %d more", r.more)
	}
	return &kernel.Error{Code: code, What: what, Why: why, Fix: fix}
}

// admits reports whether a value is of one of the JSON types.
func admits(accepts []string, v kernel.Value) bool {
	for _, name := range accepts {
		if isOf(name, v) {
			return true
		}
	}
	return false
}

func isOf(name string, v kernel.Value) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	case json.Number:
		if name == "integer" {
			_, ok := toInt(string(v))
			return ok
		}
		_, ok := parseNumber(string(v))
		return name == "number" && ok
	}
	return false
}
