package policy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"slices"
	"testing"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/kernel"
)

type entry struct {
	name, text string
	kind       byte
}

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.text, Mode: 0o600}
		if e.kind == 0 {
			h.Typeflag, h.Linkname, h.Size = tar.TypeReg, "", int64(len(e.text))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zipped(t, out.Bytes())
}

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func tarHeader(t *testing.T, name string, size int64) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := tar.NewWriter(&out).WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadBundle(t *testing.T) {
	f, err := policy.Read("b", bytes.NewReader(archive(t,
		entry{name: "/.manifest", text: `{"revision": "r1", "roots": [""]}`},
		entry{name: "/a/b/data.json", text: `{"x": 1}`},
		entry{name: "/data.json", text: `{"a": {"c": 12345678901234567890}, "d": true}`},
		entry{name: "/policy.wasm", text: "\x00asm..."},
		entry{name: "/a/p.rego", text: "package p"},
	)))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":{"b":{"x":1},"c":12345678901234567890},"d":true}`; string(f.Data) != want {
		t.Errorf("data %s, want %s", f.Data, want)
	}
	if string(f.Wasm) != "\x00asm..." || f.Revision != "r1" {
		t.Errorf("got %q, revision %q", f.Wasm, f.Revision)
	}
}

func TestRefusedFiles(t *testing.T) {
	wasm := entry{name: "/policy.wasm", text: "\x00asm"}
	whole := archive(t, wasm)
	bomb := slices.Concat(zipped(t, tarHeader(t, "zeros", 65<<20)), slices.Repeat(zipped(t, make([]byte, 1<<20)), 65))
	for name, tc := range map[string]struct {
		raw  []byte
		says string
	}{
		"empty":            {nil, "no policy"},
		"text":             {[]byte("package p"), "hexdag policy build"},
		"too large":        {make([]byte, 17<<20), "too large"},
		"cut":              {whole[:len(whole)-12], "unexpected EOF"},
		"no module":        {archive(t, entry{name: "/data.json", text: "{}"}), "no module"},
		"two modules":      {archive(t, wasm, entry{name: "/b.wasm", text: "\x00asm"}), "more than one module"},
		"twice":            {archive(t, wasm, entry{name: "policy.wasm", text: "\x00asm"}), "twice"},
		"upwards":          {archive(t, wasm, entry{name: "/../data.json", text: "{}"}), "no plain name"},
		"dots":             {archive(t, wasm, entry{name: "a/./data.json", text: "{}"}), "no plain name"},
		"backslash":        {archive(t, wasm, entry{name: `a\data.json`, text: "{}"}), "no plain name"},
		"symbolic link":    {archive(t, wasm, entry{name: "data.json", text: "/etc/passwd", kind: tar.TypeSymlink}), "regular file"},
		"hard link":        {archive(t, wasm, entry{name: "data.json", text: "/etc/passwd", kind: tar.TypeLink}), "regular file"},
		"conflict in data": {archive(t, wasm, entry{name: "data.json", text: `{"a": 1}`}, entry{name: "a/data.json", text: `{"b": 1}`}), "two values"},
		"data no object":   {archive(t, wasm, entry{name: "data.json", text: `[]`}), "not an object"},
		"YAML":             {archive(t, wasm, entry{name: "data.yaml", text: `{}`}), "does not take data.yaml"},
		"delta":            {archive(t, wasm, entry{name: "patch.json", text: `{}`}), "does not take patch.json"},
		"bomb":             {bomb, "unpacks to more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := policy.Read("b.tar.gz", bytes.NewReader(tc.raw))
			wantCode(t, err, kernel.CodePolicy, "b.tar.gz", tc.says)
		})
	}
	_, err := policy.ReadFile("none.wasm")
	wantCode(t, err, kernel.CodePolicy, "none.wasm")
}

// Data that is in one place is read with the policy, as strictly.
func TestDataOfBundle(t *testing.T) {
	a := built(t, map[string]string{"p.rego": reads})
	for text, says := range map[string]string{`{"n": 1, "at": {"k": 2}}`: "", ` {"n": `: "data cannot be read", `{"n": 1} {}`: "data cannot be read", `{"n": 1, "n": 2}`: "data cannot be read"} {
		f, err := policy.Read("b.tar.gz", bytes.NewReader(archive(t, entry{name: "policy.wasm", text: string(a.Wasm)}, entry{name: "data.json", text: text})))
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.Load(t.Context(), f.Wasm, policy.Options{Name: "b.tar.gz", Data: f.Data, Interpreter: true})
		if says != "" {
			wantCode(t, err, kernel.CodePolicy, "b.tar.gz", says)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := string(p.Data()); got != `{"at":{"k":2},"n":1}` {
			t.Error(got)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
