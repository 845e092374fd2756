package obligation_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/commitment"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

func parse(t *testing.T, text string) (*obligation.Duties, error) {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	for _, o := range v.([]any) {
		list = append(list, o.(map[string]any))
	}
	return obligation.Parse(list)
}

func TestParse(t *testing.T) {
	d, err := parse(t, `[
		{"type": "mask", "reply": ["/rows/*/email", ""], "record": ["/resource", "/args/a~1b"], "body": true},
		{"type": "limit", "calls": 5, "timeout_ms": 1500},
		{"type": "limit", "calls": 9, "reply_bytes": 100, "timeout_ms": 900},
		{"type": "notify", "to": "ops", "message": "m"},
		{"type": "approval", "by": ["ada", "bob", "eve"], "count": 2, "ttl_s": 60},
		{"type": "approval", "by": ["bob", "eve", "kim"], "ttl_s": 90}
	]`)
	if err != nil {
		t.Fatal(err)
	}
	want := &obligation.Duties{
		Reply: []obligation.Pointer{{"rows", "*", "email"}, {}}, Record: []obligation.Pointer{{"resource"}, {"args", "a/b"}}, Body: true,
		Calls: 5, ReplyBytes: 100, Timeout: 900 * time.Millisecond, Notices: []obligation.Notice{{To: "ops", Message: "m"}},
		Approval: &obligation.Approval{By: []string{"bob", "eve"}, Count: 2, TTL: time.Minute},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
}

// What is not understood could be a restriction, and is an error.
func TestRefuse(t *testing.T) {
	for text, says := range map[string]string{
		`[{}]`:                              "does not know the type",
		`[{"type": "sing"}]`:                "does not know the type sing",
		`[{"type": "Mask", "body": true}]`:  "does not know the type Mask",
		`[{"type": 3}]`:                     "does not know the type",
		`[{"type": "label"}]`:               "nothing is labelled",
		`[{"type": "label", "labels": {}}]`: "nothing is labelled",
		`[{"type": "label", "labels": {"integrity": "Untrusted"}}]`: "no integrity Untrusted",
		`[{"type": "label", "labels": {"confidentiality": "top"}}]`: "no confidentiality top",
		`[{"type": "label", "labels": {"purpose": "x"}}]`:           "unknown field",
		`[{"type": "mask"}]`:                                                     "nothing is named",
		`[{"type": "mask", "replies": []}]`:                                      "unknown field",
		`[{"type": "mask", "reply": "/a"}]`:                                      "cannot unmarshal",
		`[{"type": "mask", "reply": ["a"]}]`:                                     "no JSON pointer",
		`[{"type": "mask", "record": ["/action"]}]`:                              "/action",
		`[{"type": "mask", "record": ["/reasons/0"]}]`:                           "/reasons/0",
		`[{"type": "mask", "record": [""]}]`:                                     "cannot be masked|can be masked",
		`[{"type": "limit"}]`:                                                    "nothing is limited",
		`[{"type": "limit", "calls": 0}]`:                                        "calls is 0",
		`[{"type": "limit", "calls": -1}]`:                                       "calls is -1",
		`[{"type": "limit", "calls": 1.5}]`:                                      "1.5",
		`[{"type": "limit", "rows": 3}]`:                                         "unknown field",
		`[{"type": "notify"}]`:                                                   "has a to",
		`[{"type": "approval", "role": "lead"}]`:                                 "unknown field",
		`[{"type": "approval", "count": 0}]`:                                     "count is 0",
		`[{"type": "approval", "by": ["a"], "count": 2}]`:                        "count is 2 of 1",
		`[{"type": "approval", "ttl_s": 0}]`:                                     "ttl_s is 0",
		`[{"type": "approval", "by": ["a"]}, {"type": "approval", "by": ["b"]}]`: "too few",
		`[{"type": "approval", "count": 2}, {"type": "approval", "by": ["b"]}]`:  "more approvals",
		`[` + strings.Repeat(`{"type": "mask", "body": true},`, 32) + `{"type": "mask", "body": true}]`: "the limit is 32",
	} {
		d, err := parse(t, text)
		if err == nil {
			t.Errorf("%s was taken as %+v", text, d)
			continue
		}
		said := false
		for word := range strings.SplitSeq(says, "|") {
			said = said || strings.Contains(err.Error(), word)
		}
		if !said {
			t.Errorf("%s: the error does not say %q: %v", text, says, err)
		}
		r := &kernel.AuditRecord{Action: "a", Principal: "ada", Resource: "secret", Node: "secret", Detail: "secret", Digest: "secret", Chain: []string{"secret"}, Reasons: []kernel.Reason{{ID: "r", Msg: "secret"}}}
		d.MaskRecord(r, map[string]any{"a": "secret"})
		if text, _ := kernel.EncodeJSON(r); strings.Contains(string(text), "secret") {
			t.Errorf("a record tells %s", text)
		}
		if args := d.Args(map[string]any{"a": "secret"}); len(args) != 0 {
			t.Errorf("arguments are left: %v", args)
		}
	}
}

func TestMask(t *testing.T) {
	const value = `{"rows": [{"name": "a", "email": "x"}, {"name": "b", "email": "y"}], "n": {"*": 1, "k": 2}, "s": "t"}`
	for pointers, want := range map[string]string{
		"/rows/*/email":    `{"n":{"*":1,"k":2},"rows":[{"name":"a"},{"name":"b"}],"s":"t"}`,
		"/rows/1":          `{"n":{"*":1,"k":2},"rows":[{"email":"x","name":"a"},null],"s":"t"}`,
		"/rows/01":         `{"n":{"*":1,"k":2},"rows":[{"email":"x","name":"a"},{"email":"y","name":"b"}],"s":"t"}`,
		"/n/*":             `{"n":{},"rows":[{"email":"x","name":"a"},{"email":"y","name":"b"}],"s":"t"}`,
		"/s/deeper":        `{"n":{"*":1,"k":2},"rows":[{"email":"x","name":"a"},{"email":"y","name":"b"}],"s":"t"}`,
		"/*":               `{}`,
		"":                 `null`,
		"/rows /s /absent": `{"n":{"*":1,"k":2}}`,
	} {
		v, err := kernel.DecodeJSON([]byte(value))
		if err != nil {
			t.Fatal(err)
		}
		before, _ := kernel.EncodeJSON(v)
		var list []obligation.Pointer
		for text := range strings.SplitSeq(pointers, " ") {
			p, err := obligation.ParsePointer(text)
			if err != nil || p.String() != text {
				t.Fatalf("%s: %v, %v", text, p, err)
			}
			list = append(list, p)
		}
		got, _ := kernel.EncodeJSON(obligation.Mask(v, list))
		if string(got) != want {
			t.Errorf("%s: %s, want %s", pointers, got, want)
		}
		if after, _ := kernel.EncodeJSON(v); string(after) != string(before) {
			t.Errorf("%s changed the value itself", pointers)
		}
	}
}

func TestMaskRecord(t *testing.T) {
	d, err := parse(t, `[{"type": "mask", "record": ["/resource", "/reasons", "/args/token"]}]`)
	if err != nil {
		t.Fatal(err)
	}
	reasons := []kernel.Reason{{ID: "r", Msg: "because of ada"}}
	r := &kernel.AuditRecord{Action: "a", Resource: "ada@example.com", Principal: "ada", Reasons: reasons}
	d.MaskRecord(r, map[string]any{"n": "1", "token": "x"})
	committed, openings := r.Commitments, r.Openings
	r.Commitments, r.Openings = nil, nil
	want := &kernel.AuditRecord{Action: "a", Resource: "[masked]", Principal: "ada", Reasons: []kernel.Reason{{ID: "r", Msg: "[masked]"}}, Masked: []string{"/resource", "/reasons", "/args/token"}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	for i, tc := range []struct {
		pointer string
		value   any
	}{{"/resource", "ada@example.com"}, {"/reasons", []any{map[string]any{"id": "r", "msg": "because of ada"}}}, {"/args/token", "x"}} {
		if o := openings[i]; committed[tc.pointer] != o.Commitment || !commitment.Opens(o, tc.pointer, map[string]any{tc.pointer: tc.value}) {
			t.Errorf("%s: the commitment is not to %v", tc.pointer, tc.value)
		}
	}
	if len(committed) != 3 {
		t.Errorf("commitments %v", committed)
	}
	if reasons[0].Msg != "because of ada" {
		t.Error("the decision's own reasons were masked")
	}
	if diff := cmp.Diff(map[string]any{"n": "1"}, d.Args(map[string]any{"n": "1", "token": "x"})); diff != "" {
		t.Error(diff)
	}
	var none *obligation.Duties
	none.MaskRecord(r, nil)
	if none.Args(map[string]any{"a": 1})["a"] != 1 {
		t.Error("without duties something was masked")
	}
}

func TestMatches(t *testing.T) {
	v, err := kernel.DecodeJSON([]byte(`{"args": {"rows": [{"email": "a"}, {"email": "b", "x": 1}, {}], "a/b": true}}`))
	if err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]map[string]any{
		"/args/rows/*/email": {"/args/rows/0/email": "a", "/args/rows/1/email": "b"},
		"/args/rows/1/x":     {"/args/rows/1/x": json.Number("1")},
		"/args/a~1b":         {"/args/a~1b": true},
		"/args/gone":         {},
		"/args/a~1b/deeper":  {},
	} {
		p, err := obligation.ParsePointer(pointer)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, obligation.Matches(p, v)); diff != "" {
			t.Errorf("%s: -want +got\n%s", pointer, diff)
		}
	}
}
