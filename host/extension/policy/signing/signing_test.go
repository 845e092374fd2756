package signing_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/bundle"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/extension/policy/signing"
	"github.com/hexdag/hexdag/host/kernel"
)

// pair returns a key as PEM.
func pair(t *testing.T, key crypto.Signer) (private, public []byte) {
	t.Helper()
	a, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

func ed25519Pair(t *testing.T) (private, public []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pair(t, key)
}

func build(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.rego": "package a\n\n# METADATA\n# entrypoint: true\nx := data.n\n", "data.json": `{"n": 1, "s": {"b": [2]}}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestAsOPA has OPA's reader verify what Sign made, for each kind of key.
func TestAsOPA(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw := build(t)
	keys := map[string]crypto.Signer{"RS256": rsaKey}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if keys[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	for algorithm, key := range keys {
		private, public := pair(t, key)
		signed, err := signing.Sign("p", raw, private)
		if err != nil {
			t.Fatal(err)
		}
		if err := signing.Verify("p", signed, public); err != nil {
			t.Error(err)
		}
		config := bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{"k": {Key: string(public), Algorithm: algorithm}}, "k", "", nil)
		b, err := bundle.NewReader(bytes.NewReader(signed)).WithBundleVerificationConfig(config).Read()
		if err != nil || len(b.WasmModules) != 1 {
			t.Errorf("%s: OPA does not take it: %v", algorithm, err)
		}
		if _, err := policy.Read("p", bytes.NewReader(signed)); err != nil {
			t.Error(err)
		}
	}
}

// TestOfOPA verifies what OPA signed.
func TestOfOPA(t *testing.T) {
	private, public := ed25519Pair(t)
	b, err := bundle.NewReader(bytes.NewReader(build(t))).Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.GenerateSignature(bundle.NewSigningConfig(string(private), "EdDSA", ""), "other", false); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).Write(b); err != nil {
		t.Fatal(err)
	}
	if err := signing.Verify("p", out.Bytes(), public); err != nil {
		t.Error(err)
	}
}

// repack changes a bundle's files.
func repack(t *testing.T, raw []byte, change func(map[string][]byte)) []byte {
	t.Helper()
	entries, err := policy.Unpack("p", raw)
	if err != nil {
		t.Fatal(err)
	}
	entries = maps.Clone(entries)
	change(entries)
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for name, content := range entries {
		if err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	archive.Close()
	zipped.Close()
	return out.Bytes()
}

func TestVerifyRefuses(t *testing.T) {
	private, public := ed25519Pair(t)
	_, other := ed25519Pair(t)
	raw := build(t)
	signed, err := signing.Sign("p", raw, private)
	if err != nil {
		t.Fatal(err)
	}
	if err := signing.Verify("p", repack(t, signed, func(map[string][]byte) {}), public); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	change := func(name, text string) []byte {
		return repack(t, signed, func(e map[string][]byte) { e[name] = []byte(text) })
	}
	for name, tc := range map[string]struct {
		raw, key []byte
		want     string
	}{
		"unsigned":         {raw, public, "not signed"},
		"a bare module":    {[]byte("\x00asm\x01\x00\x00\x00"), public, "a bare module has no place"},
		"another key":      {signed, other, "signature is wrong"},
		"changed data":     {change("data.json", `{"n": 2, "s": {"b": [2]}}`), public, "digest mismatch"},
		"changed module":   {repack(t, signed, func(e map[string][]byte) { e["policy.wasm"][9]++ }), public, "digest mismatch"},
		"changed manifest": {change(".manifest", `{"revision": "x"}`), public, "digest mismatch"},
		"another file":     {change("x/data.json", `{}`), public, "not included"},
		"a patch":          {change("patch.json", `{}`), public, "not included"},
		"a missing file":   {repack(t, signed, func(e map[string][]byte) { delete(e, "data.json") }), public, "missing: data.json"},
		"another verifier": {change(".signatures.json", `{"signatures": ["a.b.c"], "plugin": "x"}`), public, "another verifier"},
		"no signature":     {change(".signatures.json", `{"signatures": []}`), public, "missing JWT"},
		"an odd member":    {change(".signatures.json", `{"x": 1}`), public, "unknown field"},
		"no JWT":           {change(".signatures.json", `{"signatures": ["x"]}`), public, "split"},
		"no bundle":        {[]byte("x"), public, "cannot be used"},
		"a nested signature": {repack(t, signed, func(e map[string][]byte) {
			e["x/.signatures.json"] = e[".signatures.json"]
			delete(e, ".signatures.json")
		}), public, "not signed"},
	} {
		t.Run(name, func(t *testing.T) {
			err := signing.Verify("p.tar.gz", tc.raw, tc.key)
			if kernel.CodeOf(err) != kernel.CodePolicy || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "p.tar.gz") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	raw := build(t)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	odd, _ := pair(t, p224)
	for name, tc := range map[string]struct{ key, want string }{
		"empty":     {"", "not PEM"},
		"a secret":  {"secret", "not PEM"},
		"a request": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST"})), "CERTIFICATE REQUEST"},
		"P-224":     {string(odd), "P-224"},
		"broken":    {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"})), "asn1"},
	} {
		if _, err := signing.Sign("p", raw, []byte(tc.key)); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if err := signing.Verify("p", raw, []byte(tc.key)); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestSignTwice replaces a signature, and the rest stays as it is.
func TestSignTwice(t *testing.T) {
	first, _ := ed25519Pair(t)
	second, public := ed25519Pair(t)
	once, err := signing.Sign("p", build(t), first)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := signing.Sign("p", once, second)
	if err != nil {
		t.Fatal(err)
	}
	if err := signing.Verify("p", twice, public); err != nil {
		t.Error(err)
	}
}
