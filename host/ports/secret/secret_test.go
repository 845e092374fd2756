package secret_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNames(t *testing.T) {
	value := map[string]any{"a": "<secret:b><secret:a> <secret:a>", "<secret:name>": []any{"x<secret:c.d-e_f>y", json.Number("1"), nil, map[string]any{"k": "<secret:" + strings.Repeat("l", 64) + ">"}},
		"none": "<secret:> <secret:-a> <secret:a b> <secret:" + strings.Repeat("l", 65) + "> <SECRET:a> secret:a <secret:a\n>"}
	if got := secret.Names(value); !slices.Equal(got, []string{"a", "b", "c.d-e_f", strings.Repeat("l", 64)}) {
		t.Errorf("%q", got)
	}
}

func TestPut(t *testing.T) {
	values := secret.Values{"a": "A<secret:b>", "b": "B$1"}
	if got := values.Put("<secret:a> <secret:b> <secret:c>"); got != "A<secret:b> B$1 <secret:c>" {
		t.Errorf("%q", got) // a value is not looked into
	}
	given := map[string]any{"<secret:a>": []any{"<secret:b>", json.Number("1")}}
	text, err := kernel.EncodeJSON(values.PutAll(given))
	if err != nil || string(text) != `{"<secret:a>":["B$1",1]}` || given["<secret:a>"].([]any)[0] != "<secret:b>" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestScrub(t *testing.T) {
	values := secret.Values{"key": `a/b+c "é" & more`, "longer": `a/b+c "é" & more of it`, "pin": "1234"}
	for _, text := range []string{`a/b+c "é" & more`, `a/b+c \"é\" & more`, `a/b+c \"é\" \u0026 more`, `a%2Fb%2Bc+%22%C3%A9%22+%26+more`, `a/b+c &#34;é&#34; &amp; more`, `YS9iK2MgIsOpIiAmIG1vcmU=`} {
		if got := string(values.Scrub([]byte("<" + text + ">"))); got != "<<secret:key>>" {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := string(values.Scrub([]byte(`a/b+c "é" & more of it; 1234`))); got != "<secret:longer>; 1234" { // short ones are everywhere
		t.Error(got)
	}
	nested := map[string]any{`a/b+c "é" & more`: []any{`{"x":"a/b+c \"é\" & more"}`, true}}
	if text, err := kernel.EncodeJSON(values.ScrubAll(nested)); err != nil || string(text) != `{"<secret:key>":["{\"x\":\"<secret:key>\"}",true]}` {
		t.Errorf("%s, %v", text, err)
	}
}
