package expr

import (
	"bufio"
	"bytes"
	"os"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// TestPython compares with what CPython 3.12 answered; testdata/python.py asked it.
func TestPython(t *testing.T) {
	text, err := os.ReadFile("testdata/python.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Scan()
	head, err := kernel.DecodeJSON(lines.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	scope := Map(head.(map[string]any))
	cases := 0
	for lines.Scan() {
		line, err := kernel.DecodeJSON(lines.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		c := line.([]any)
		cases++
		got, err := represent(c[0].(string), scope)
		switch {
		case len(c) == 1 && err == nil:
			t.Errorf("%s: got %s, where Python raises", c[0], got)
		case len(c) == 2 && (err != nil || got != c[1]):
			t.Errorf("%s: got %s, %v; Python has %s", c[0], got, err, c[1])
		}
	}
	if cases < 5000 {
		t.Errorf("%d cases", cases)
	}
}

// represent is the repr of an expression's value.
func represent(source string, scope Scope) (string, error) {
	p, err := Compile(source)
	if err != nil {
		return "", err
	}
	m := p.machine(scope)
	defer p.release(m)
	v, f := p.eval(m)
	if f != nil {
		return "", p.failed(f)
	}
	s, f := m.repr(v)
	if f != nil {
		return "", p.failed(f)
	}
	return s, nil
}
