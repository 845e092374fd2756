package kernel

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestDecodeJSONRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":              ``,
		"trailing":           `1 2`,
		"duplicate":          `{"a":1,"a":2}`,
		"escaped duplicate":  `{"a":1,"\u0061":2}`,
		"lone surrogate":     `"\ud800"`,
		"two high":           `"\ud800\ud800"`,
		"lone low":           `"\udc00"`,
		"invalid UTF-8":      "\"\xff\"",
		"invalid after esc":  "\"\\n\xff\"",
		"control":            "\"a\nb\"",
		"leading zero":       `01`,
		"plus":               `+1`,
		"bare point":         `1.`,
		"bare exponent":      `1e`,
		"hex":                `0x1`,
		"NaN":                `NaN`,
		"single quotes":      `'a'`,
		"unclosed":           `{"a":[1,2`,
		"comma":              `[1,]`,
		"bad escape":         `"\x"`,
		"short unicode":      `"\u12"`,
		"signed hex":         `"\u+123"`,
		"deep":               strings.Repeat("[", MaxDepth+2) + strings.Repeat("]", MaxDepth+2),
		"a million brackets": strings.Repeat("[", 1_000_000),
	} {
		if v, err := DecodeJSON([]byte(text)); err == nil {
			t.Errorf("%s: taken as %v", name, v)
		}
	}
}

func TestJSONKeepsNumbersAndNames(t *testing.T) {
	const text = `{"big":9007199254740993,"e":1e400,"neg":-0.0,"s":"é\"\\\n\u0001😀","z":[true,false,null]}`
	v, err := DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	back, err := EncodeJSON(v)
	if err != nil || string(back) != text {
		t.Errorf("came back as %s, %v", back, err)
	}
}

// FuzzDecodeJSON: whatever DecodeJSON takes, encoding/json takes as the same value.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u00e9\ud83d\ude00"]}`, `[]`, `"\\"`, `-0`, ` null `, `{"":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, err := DecodeJSON(text)
		if err != nil {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		var theirs any
		if err := dec.Decode(&theirs); err != nil {
			t.Fatalf("took %q, encoding/json: %v", text, err)
		}
		a, err := EncodeJSON(ours)
		if err != nil {
			t.Fatal(err)
		}
		b, err := EncodeJSON(theirs)
		if err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%q: ours %s, theirs %s (%v)", text, a, b, err)
		}
		if again, err := DecodeJSON(a); err != nil {
			t.Fatalf("%s does not decode again: %v (%v)", a, err, again)
		}
	})
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 漢":        "plain é 漢",
		"a\nb":             `a\nb`,
		"\x1b[31mred":      `\x1b[31mred`,
		"\u202egnp.exe":    `\u202egnp.exe`,
		"nul\x00":          `nul\x00`,
		"bad\xffutf":       `bad\xffutf`,
		"back\\slash":      `back\slash`,
		"zero\u200bwidth":  `zero\u200bwidth`,
		"tab\tand\r\nline": `tab\tand\r\nline`,
	} {
		if got := Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
	}
	if got := Quote(strings.Repeat("é", 10_000)); len(got) > maxQuoted+40 || !strings.Contains(got, "20000 bytes") {
		t.Errorf("a long text is not cut: %d bytes", len(got))
	}
}
