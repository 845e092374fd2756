package abi

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

var emptyModule = []byte(preamble)

func sections(t *testing.T, wasm []byte) (names []string) {
	t.Helper()
	for s, err := range CustomSections(wasm) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.Name+"="+string(s.Payload))
	}
	return names
}

func withSection(t *testing.T, wasm []byte, name, payload string) []byte {
	t.Helper()
	out, err := AppendCustomSection(wasm, name, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCustomSections(t *testing.T) {
	long := strings.Repeat("x", 300) // its length takes two bytes
	typeSection := []byte{1, 4, 1, 0x60, 0, 0}
	wasm := append(bytes.Clone(emptyModule), typeSection...)
	wasm = withSection(t, withSection(t, wasm, "a", long), "ü", "")
	if got, want := sections(t, wasm), []string{"a=" + long, "ü="}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for s := range CustomSections(wasm) {
		if s.Name != "a" {
			t.Error("went on after break")
		}
		break
	}
}

func TestCustomSectionsRefusesBrokenModules(t *testing.T) {
	whole := withSection(t, emptyModule, "name", "payload")
	broken := map[string][]byte{
		"empty":            nil,
		"component":        []byte("\x00asm\x0d\x00\x01\x00"),
		"section too long": append(bytes.Clone(emptyModule), 0, 5, 0),
		"name too long":    append(bytes.Clone(emptyModule), 0, 2, 9, 'x'),
		"no size":          append(bytes.Clone(emptyModule), 0),
		"endless size":     append(bytes.Clone(emptyModule), 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
		"name not UTF-8":   append(bytes.Clone(emptyModule), 0, 2, 1, 0xff),
		"cut":              whole[:len(whole)-1],
	}
	for name, wasm := range broken {
		var last error
		for _, err := range CustomSections(wasm) {
			last = err
		}
		if last == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestManifestRoundTrip(t *testing.T) {
	m := &Manifest{
		Name: "redact", Version: "1.2.3-rc.1", Description: "removes <names>",
		Tools:        []Tool{{Name: "look_up", InputSchema: []byte(`{"type":"object"}`)}},
		Operations:   []Operation{{Name: "weather.now", Guards: []string{"city"}, OutputSchema: []byte(`{}`)}},
		Capabilities: []Capability{{Op: "llm.complete"}, {Op: "database.query", Args: map[string][]string{"table": {"orders"}}}},
		ConfigSchema: []byte(`{}`),
	}
	wasm, err := EmbedManifest(emptyModule, m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadManifest(wasm)
	if err != nil || got.Name != m.Name || got.Description != m.Description || len(got.Tools) != 1 || len(got.Operations) != 1 || got.Operations[0].Guards[0] != "city" || got.Capabilities[1].String() != m.Capabilities[1].String() {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := EmbedManifest(wasm, m); err == nil {
		t.Error("embedded a second manifest")
	}
	if _, err := EmbedManifest([]byte("MZ"), m); err == nil {
		t.Error("embedded in what is no module")
	}
	if none, err := ReadManifest(emptyModule); none != nil || err != nil {
		t.Errorf("a module without a manifest: %v, %v", none, err)
	}
	if _, err := ReadManifest(withSection(t, emptyModule, ManifestSection, "")); err == nil {
		t.Error("an empty section is no manifest")
	}
}

func TestReadManifestRefusesTwo(t *testing.T) {
	text := `{"name":"a","version":"1.0.0"}`
	wasm := withSection(t, emptyModule, ManifestSection, text)
	if _, err := ReadManifest(wasm); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadManifest(withSection(t, wasm, ManifestSection, text)); err == nil {
		t.Error("read a module with two manifests")
	}
}

func TestParseManifestRefuses(t *testing.T) {
	for _, tc := range []struct{ text, says string }{
		{``, "end of JSON"},
		{`[]`, "array"},
		{`null`, "name"},
		{`{"name":"a","version":"1.0.0"}{}`, "after top-level"},
		{`{"name":"a","version":"1.0.0","author":"me"}`, `unknown member "author"`},
		{`{"Name":"a","version":"1.0.0"}`, `unknown member "Name"`},
		{`{"name":"a","name":"b","version":"1.0.0"}`, `"name" is there twice`},
		{`{"name":"a","version":"1.0.0","config_schema":{"a":[{"b":1,"b":2}]}}`, `"b" is there twice`},
		{`{"name":"../a","version":"1.0.0"}`, "name"},
		{`{"name":"a..b","version":"1.0.0"}`, "name"},
		{`{"name":"a\n","version":"1.0.0"}`, "name"},
		{`{"name":"` + strings.Repeat("a", 65) + `","version":"1.0.0"}`, "name"},
		{`{"name":"a","version":"1"}`, "version"},
		{`{"name":"a","version":"1.0.0/../../x"}`, "version"},
		{`{"name":"a","version":"01.0.0"}`, "version"},
		{`{"name":"a","version":"1.0.0","tools":[{"name":"x y"}]}`, "tool name"},
		{`{"name":"a","version":"1.0.0","tools":[{"name":"x"},{"name":"x"}]}`, "twice"},
		{`{"name":"a","version":"1.0.0","tools":[{"name":"x","schema":{}}]}`, `tools[0]: unknown member "schema"`},
		{`{"name":"a","version":"1.0.0","tools":[{"name":"x","input_schema":[]}]}`, "input_schema"},
		{`{"name":"a","version":"1.0.0","tools":[null]}`, "tool name"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"x"}]}`, `operation name "x"`},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.b.c"}]}`, "operation name"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.*"}]}`, "operation name"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.B"}]}`, "operation name"},
		{`{"name":"a","version":"1.0.0","operations":[null]}`, "operation name"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.` + strings.Repeat("b", 127) + `"}]}`, "operation name"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.b"},{"name":"a.b"}]}`, "twice"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.b","guard":"x"}]}`, `operations[0]: unknown member "guard"`},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.b","guards":["x y"]}]}`, `the guard "x y"`},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.b","guards":["x","x"]}]}`, "there twice"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.b","guards":["a","b","c","d","e","f","g","h","i"]}]}`, "9 guards"},
		{`{"name":"a","version":"1.0.0","operations":[{"name":"a.b","output_schema":1}]}`, "output_schema"},
		{`{"name":"a","version":"1.0.0","config_schema":true}`, "config_schema"},
		{`{"name":"a","version":"1.0.0","capabilities":["llm"]}`, "port.method"},
		{`{"name":"a","version":"1.0.0","capabilities":[null]}`, "capability"},
		{`{"name":"a","version":"1.0.0","description":"` + strings.Repeat("x", MaxManifestSize) + `"}`, "more than"},
	} {
		_, err := ParseManifest([]byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%.80s: got %v, want an error that says %q", tc.text, err, tc.says)
		}
	}
}

// FuzzReadManifest holds readers of untrusted modules to: no panic, and what is
// appended to a well-formed module is found again behind all that was there.
func FuzzReadManifest(f *testing.F) {
	f.Add(emptyModule, []byte(`{"name":"a","version":"1.0.0"}`))
	f.Add(append(bytes.Clone(emptyModule), 0, 2, 1, 'x', 1, 4, 1, 0x60, 0, 0), []byte(`{"name":"a","version":"1.0.0","tools":[{"name":"t"}]}`))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x00\xff\xff\xff\xff\x0f"), []byte(`{"a":{"a":[1,{"b":null}]}}`))
	f.Fuzz(func(t *testing.T, wasm, manifest []byte) {
		before, wellFormed := 0, true
		for _, err := range CustomSections(wasm) {
			before++
			wellFormed = wellFormed && err == nil
		}
		out, err := AppendCustomSection(wasm, ManifestSection, manifest)
		if err != nil || !wellFormed {
			return
		}
		var last CustomSection
		after := 0
		for s, err := range CustomSections(out) {
			if err != nil {
				t.Fatal(err)
			}
			last = s
			after++
		}
		if after != before+1 || last.Name != ManifestSection || !bytes.Equal(last.Payload, manifest) {
			t.Fatalf("%d sections became %d, the last %q", before, after, last.Name)
		}
		m, err := ReadManifest(out)
		if err != nil || before > 0 || len(manifest) > MaxManifestSize/8 {
			return // escaping makes a text up to six times longer
		}
		again, err := EmbedManifest(emptyModule, m)
		if err != nil {
			t.Fatalf("a manifest that was read cannot be written: %v", err)
		}
		if _, err := ReadManifest(again); err != nil {
			t.Fatal(err)
		}
	})
}
