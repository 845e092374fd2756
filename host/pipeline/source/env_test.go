package source

import (
	"errors"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

func environment(name string) (string, bool) {
	v, ok := map[string]string{
		"NAME": "ann", "ONE": "1", "ZERO": "0", "INT": "42", "NEGATIVE": "-7", "FLOAT": "2.5", "TRUE": "True", "NO": "NO", "EMPTY": "", "HEX": "0x10", "PAD": "007", "BIG": "123456789012345678901234567890",
		"INF": "inf", "NAN": "nan", "EXP": "1e3", "UNDER": "1_000", "NESTED": "${NAME}", "MY_API_KEY": "s3cret", "_UNDERSCORE": "u",
	}[name]
	return v, ok
}

func TestSubstitute(t *testing.T) {
	for text, want := range map[string]string{
		"${NAME}":                    `"ann"`,
		"hello ${NAME}, ${NAME}":     `"hello ann, ann"`,
		"${UNSET:b}":                 `"b"`,
		"${UNSET:a:b://c}":           `"a:b://c"`, // a default may hold colons
		"${UNSET:}":                  `""`,
		"${NAME:other}":              `"ann"`,
		"${EMPTY:other}":             `""`, // it is set
		"${ONE}":                     `true`,
		"${ZERO}":                    `false`,
		"${TRUE}":                    `true`,
		"${NO}":                      `false`,
		"${UNSET:yes}":               `true`,
		"${INT}":                     `42`,
		"${NEGATIVE}":                `-7`,
		"${INT}${ONE}":               `421`, // coerced as a whole
		"${FLOAT}":                   `2.5`,
		"${EXP}":                     `1000.0`,
		"${PAD}":                     `7`,
		"${HEX}":                     `"0x10"`,
		"${UNDER}":                   `"1_000"`,
		"${BIG}":                     `123456789012345678901234567890`,
		"${INF}":                     `"inf"`,
		"${NAN}":                     `"nan"`,
		"${NESTED}":                  `"${NAME}"`, // what a variable holds is not looked at again
		"${_UNDERSCORE}":             `"u"`,
		"1":                          `"1"`, // nothing was put in
		"yes":                        `"yes"`,
		"$NAME ${name} ${1A} $ {X}":  `"$NAME ${name} ${1A} $ {X}"`,
		"${MY_API_KEY}":              `"${MY_API_KEY}"`,
		"${MY_SECRET:x} ${SECRET_A}": `"${MY_SECRET:x} ${SECRET_A}"`,
		"${A_TOKEN}${A_PASSWORD}":    `"${A_TOKEN}${A_PASSWORD}"`,
		"${A_CREDENTIAL} ${NAME}":    `"${A_CREDENTIAL} ann"`,
	} {
		p := &Problems{Code: kernel.CodePipeline}
		got := p.Substitute(&Value{V: text}, environment)
		encoded, err := kernel.EncodeJSON(got.Plain())
		if err != nil || p.Err() != nil || string(encoded) != want {
			t.Errorf("%s: %s, want %s (%v %v)", text, encoded, want, err, p.Err())
		}
	}
}

func TestSubstituteEverywhere(t *testing.T) {
	docs, err := Parse("p.yaml", []byte("a: [\"${NAME}\", {b: \"${INT}\"}]\n\"${NAME}\": 1\nc: 3\nd: null\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Problems{Code: kernel.CodePipeline}
	if got, want := shown(t, []*Value{p.Substitute(docs[0], environment)}), `{"${NAME}":1,"a":["ann",{"b":42}],"c":3,"d":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := shown(t, docs); !strings.Contains(got, `"${INT}"`) {
		t.Errorf("what was read has changed: %s", got)
	}
}

// Every variable that is missing is named, where it stands.
func TestSubstituteMissing(t *testing.T) {
	docs, err := Parse("p.yaml", []byte("a: ${UNSET}\nb:\n  - x ${ALSO_UNSET} ${NAME}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Problems{Code: kernel.CodePipeline}
	p.Substitute(docs[0], environment)
	if len(p.List()) != 2 {
		t.Fatalf("%v", p.Err())
	}
	for i, says := range []string{"p.yaml:1:4: the environment variable UNSET is not set, or not for this file to read", "p.yaml:3:5: the environment variable ALSO_UNSET"} {
		var e *kernel.Error
		if !errors.As(p.List()[i], &e) || e.Code != kernel.CodePipeline || !strings.Contains(e.Error(), says) || !strings.Contains(e.Fix, "list it there under env") {
			t.Errorf("%v does not say %q", p.List()[i], says)
		}
	}
}

func TestSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"Bearer ${MY_API_KEY}": "Bearer s3cret",
		"${A_TOKEN:none}":      "none",
		"nothing":              "nothing",
	} {
		if got, missing := Secrets(text, environment); got != want || missing != "" {
			t.Errorf("%s: %q, missing %q", text, got, missing)
		}
	}
	if _, missing := Secrets("${A_TOKEN} ${B_TOKEN}", environment); missing != "A_TOKEN" {
		t.Errorf("missing %q", missing)
	}
}
