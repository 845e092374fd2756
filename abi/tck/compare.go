package tck

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// shown bounds what of a value a problem repeats.
const shown = 200

// differences says what is not as wanted. JSON is compared in its canonical text,
// so that no digit and no member may differ; white space and escapes may.
func (want *Want) differences(got *Result, w *world) []string {
	var problems []string
	differ := func(what string, want, got any) {
		if a, b := fmt.Sprint(want), fmt.Sprint(got); a != b {
			problems = append(problems, fmt.Sprintf("%s: got %s, want %s", what, cut(b), cut(a)))
		}
	}
	differ("verdict", want.Verdict, got.Verdict)
	differ("argument of the verdict", want.Arg, got.Arg)
	differ("patched value", canonical(want.Patched), canonical(got.Patched))
	differ("output", canonical(want.Output), canonical(got.Output))
	differ("output's body", want.Body, Bytes(got.Body))
	for i := range max(len(want.Log), len(w.log)) {
		differ(fmt.Sprintf("log line %d", i+1), at(want.Log, i), at(w.log, i))
	}
	for i := range max(len(want.Calls), len(w.calls)) {
		differ(fmt.Sprintf("call %d", i+1), describe(want.Calls, i), describe(w.calls, i))
	}
	return problems
}

func describe(calls []MadeCall, i int) string {
	if i >= len(calls) {
		return "none"
	}
	c := calls[i]
	return fmt.Sprintf("%s %s and %d bytes %q", c.Op, canonical(c.Args), len(c.Body), c.Body)
}

func at(lines []string, i int) string {
	if i >= len(lines) {
		return "none"
	}
	return fmt.Sprintf("%q", lines[i])
}

// cut shortens a text by its middle: where two long ones differ is mostly at an end.
func cut(s string) string {
	if len(s) <= shown {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes) ...%s", s[:shown/2], len(s), s[len(s)-shown/2:])
}

// canonical is JSON's one text: compact, members sorted, numbers as they are written.
func canonical(text json.RawMessage) string {
	if text == nil {
		return "none"
	}
	v, err := decode(text)
	if err != nil {
		return fmt.Sprintf("no JSON: %v: %s", err, text)
	}
	out, err := encode(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func decode(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more behind the value")
	}
	return v, nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
