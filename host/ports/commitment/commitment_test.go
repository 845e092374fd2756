package commitment_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/commitment"
)

func TestCommit(t *testing.T) {
	v := map[string]any{"/args/email": "ada@example.com"}
	o, err := commitment.Commit("/args/email", v)
	if err != nil || !commitment.Valid(o.Commitment) || !commitment.Opens(o, "/args/email", v) {
		t.Fatalf("%+v, %v", o, err)
	}
	again, err := commitment.Commit("/args/email", v)
	if err != nil || again.Commitment == o.Commitment || again.Salt == o.Salt {
		t.Error("two records of the same value can be told to have it")
	}
	short, _ := base64.StdEncoding.DecodeString(o.Salt)
	for name, wrong := range map[string]struct {
		opening kernel.Opening
		pointer string
		value   any
	}{
		"another value":      {o, "/args/email", map[string]any{"/args/email": "eve@example.com"}},
		"no value":           {o, "/args/email", map[string]any{}},
		"another pointer":    {o, "/args/name", v},
		"another salt":       {kernel.Opening{Commitment: o.Commitment, Salt: again.Salt}, "/args/email", v},
		"another commitment": {kernel.Opening{Commitment: again.Commitment, Salt: o.Salt}, "/args/email", v},
		"a longer salt":      {kernel.Opening{Commitment: o.Commitment, Salt: base64.StdEncoding.EncodeToString(append(short, 0))}, "/args/email", v},
		"an erased salt":     {kernel.Opening{Commitment: o.Commitment, Salt: strings.Repeat("-", 44)}, "/args/email", v},
	} {
		if commitment.Opens(wrong.opening, wrong.pointer, wrong.value) {
			t.Errorf("%s opens it", name)
		}
	}
}

// TestForm pins the form: an auditor computes it with other tools.
func TestForm(t *testing.T) {
	o := kernel.Opening{Commitment: "hmac-sha256:962724848b18930227474e21cfaa36583cc0c6f40876f709d420ad74e8c362e8", Salt: base64.StdEncoding.EncodeToString(make([]byte, 32))}
	if !commitment.Opens(o, "/resource", map[string]any{"/resource": "ü", "n": json.Number("1")}) {
		t.Error("another form")
	}
	for _, text := range []string{"", "hmac-sha256:", "hmac-sha256:zz", "sha256:" + strings.Repeat("0", 64), "hmac-sha256:" + strings.Repeat("0", 63)} {
		if commitment.Valid(text) {
			t.Errorf("%q is valid", text)
		}
	}
}
