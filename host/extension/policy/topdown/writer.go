package topdown

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/hexdag/hexdag/host/kernel"
)

// maxResult bounds a result's text in bytes. A value may share its parts, as
// json.patch makes them, and be far larger written out than it is in memory.
const maxResult = 1 << 20

// writer writes a value as the module reads it: JSON, sets and keys of any kind.
type writer struct {
	text []byte
	left int
}

func (w *writer) add(s string) error {
	if w.left -= len(s); w.left < 0 {
		return fmt.Errorf("the result is over the limit of %d bytes", maxResult)
	}
	w.text = append(w.text, s...)
	return nil
}

func (w *writer) value(v ast.Value, depth int) error {
	if depth > kernel.MaxDepth {
		return fmt.Errorf("the result nests deeper than %d", kernel.MaxDepth)
	}
	switch v := v.(type) {
	case ast.String:
		return w.string(string(v))
	case *ast.Array:
		return w.list("[", "]", v.Len(), func(i int) error { return w.value(v.Elem(i).Value, depth+1) })
	case ast.Set:
		if v.Len() == 0 {
			return w.add("set()")
		}
		items := v.Slice()
		return w.list("{", "}", len(items), func(i int) error { return w.value(items[i].Value, depth+1) })
	case ast.Object:
		keys := v.Keys()
		return w.list("{", "}", len(keys), func(i int) error {
			if err := w.value(keys[i].Value, depth+1); err != nil {
				return err
			}
			if err := w.add(": "); err != nil {
				return err
			}
			return w.value(v.Get(keys[i]).Value, depth+1)
		})
	case ast.Null, ast.Boolean, ast.Number:
		return w.add(v.String())
	}
	return fmt.Errorf("the result has a %s", ast.ValueName(v))
}

func (w *writer) list(start, end string, n int, item func(i int) error) error {
	if err := w.add(start); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := w.add(", "); err != nil {
				return err
			}
		}
		if err := item(i); err != nil {
			return err
		}
	}
	return w.add(end)
}

func (w *writer) string(s string) error {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	text, err := kernel.AppendJSON(nil, s)
	if err != nil {
		return err
	}
	return w.add(string(text))
}

// stream gives the bytes that follow from a seed, without end: SHA-256 of the
// seed and a counter. It stands where OPA reads chance.
type stream struct {
	seed    [sha256.Size]byte
	counter uint64
	rest    []byte
}

func (s *stream) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(s.rest) == 0 {
			sum := sha256.Sum256(binary.BigEndian.AppendUint64(s.seed[:], s.counter))
			s.rest, s.counter = sum[:], s.counter+1
		}
		c := copy(p[n:], s.rest)
		n, s.rest = n+c, s.rest[c:]
	}
	return len(p), nil
}
