package arguments_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/arguments"
)

func read(t *testing.T, text string) *arguments.Reader {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return arguments.Of(&kernel.PortCall{Op: "port.method", Args: v.(map[string]any)})
}

func TestValues(t *testing.T) {
	r := read(t, `{"text": "a", "null": null, "flag": false, "object": {"a": "b"}, "list": [1], "texts": ["a", "b"], "none": [], "whole": 7, "number": 1.5}`)
	if got := r.Text("text") + r.TextOr("null", "b") + r.TextOr("absent", "c"); got != "abc" {
		t.Error(got)
	}
	if r.Flag("flag", true) || !r.Flag("absent", true) {
		t.Error("flags")
	}
	if len(r.Object("object", "")) != 1 || r.Object("null", "") != nil || len(r.List("list", "")) != 1 || r.List("absent", "") != nil {
		t.Error("objects and lists")
	}
	if got := r.Texts("texts", " of texts"); strings.Join(got, "") != "ab" {
		t.Error(got)
	}
	if r.Texts("absent", "") != nil || r.Texts("none", "") == nil {
		t.Error("a list without texts is not one that is not there")
	}
	if r.Whole("whole", 1, 9, 1) != 7 || r.Whole("null", 1, 9, 3) != 3 {
		t.Error("whole numbers")
	}
	if f, ok := r.Number("number", ""); f != 1.5 || !ok {
		t.Error(f)
	}
	if _, ok := r.Number("absent", ""); ok {
		t.Error("a number that is not there")
	}
	if _, given := r.Take("null"); !given {
		t.Error("null is given")
	}
	if err := r.End(); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	for text, of := range map[string]func(*arguments.Reader){
		"port.method: a must be a text":                             func(r *arguments.Reader) { r.Text("a") },
		"port.method: b must be a text":                             func(r *arguments.Reader) { r.TextOr("b", "") },
		"port.method: b must be true or false":                      func(r *arguments.Reader) { r.Flag("b", true) },
		"port.method: b must be an object of texts":                 func(r *arguments.Reader) { r.Object("b", " of texts") },
		"port.method: b must be a list":                             func(r *arguments.Reader) { r.List("b", "") },
		"port.method: c must be a list of texts":                    func(r *arguments.Reader) { r.Texts("c", " of texts") },
		"port.method: b must be a whole number, from 1 to 6":        func(r *arguments.Reader) { r.Whole("b", 1, 6, 1) },
		"port.method: c must be a number of seconds":                func(r *arguments.Reader) { r.Number("c", " of seconds") },
		"port.method was called outside a run":                      func(r *arguments.Reader) { r.Run(context.Background()) },
		"port.method: unknown argument b; it takes c":               func(r *arguments.Reader) { r.Take("c") },
		"port.method: give one of b and c; the first error is kept": func(r *arguments.Reader) { r.Fail("give one of %s and c; the first error is kept", "b"); r.Fail("no") },
	} {
		r := read(t, `{"b": 7, "c": [1]}`)
		of(r)
		if err := r.End(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestBody(t *testing.T) {
	r := arguments.Of(&kernel.PortCall{Op: "port.method", Body: []byte("x")})
	if err := r.End(); err == nil || !strings.Contains(err.Error(), "it takes no body") {
		t.Error(err)
	}
	r = arguments.Of(&kernel.PortCall{Op: "port.method", Body: []byte("x")})
	if string(r.Body()) != "x" || r.End() != nil {
		t.Error("a body that was asked for")
	}
}
