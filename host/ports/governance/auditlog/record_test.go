package auditlog

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
)

// TestEncode: a record is written by hand as its tags say; each field is set in one.
func TestEncode(t *testing.T) {
	labels, err := kernel.NewLabels(kernel.Untrusted, kernel.Secret, "http:a", "tool:b")
	if err != nil {
		t.Fatal(err)
	}
	args := map[string]any{"n": kernel.Number(2), "text": "a\n<b>\xff"}
	full := kernel.AuditRecord{
		Time: "2026-11-25T10:00:00.000000001Z", Kind: "decision", RunID: "r", Tenant: "acme", Principal: "ada", Chain: []string{"ada", "module:x"}, Node: "n\n", Action: "database.query", Resource: "database:\"orders\"",
		Effect: kernel.Approve, Reasons: []kernel.Reason{{ID: "a", Msg: "<b>"}, {}}, Result: "ok", Digest: "sha256:0", Detail: "d", Revision: "1", Labels: labels, Masked: []string{"/args/x"},
		SubjectType: "module", Context: &kernel.Scope{Pipeline: "p", Labels: map[string]string{"a": "b"}, Sources: []string{"s"}, Usage: kernel.UsageSnapshot{ToolCalls: 3}}, Args: &args,
		Commitments: map[string]string{"/b": "2", "/a": "1"},
	}
	for v, i := reflect.ValueOf(full), 0; i < v.NumField(); i++ {
		if f := v.Type().Field(i); v.Field(i).IsZero() && f.Tag.Get("json") != "-" {
			t.Errorf("%s is not set: see to it that it is written", f.Name)
		}
	}
	empty := kernel.AuditRecord{Time: full.Time, Kind: "call", Action: "a.b", Chain: []string{}, Reasons: []kernel.Reason{}, Masked: []string{}, Context: &kernel.Scope{}, Args: new(map[string]any), Commitments: map[string]string{}}
	for name, r := range map[string]kernel.AuditRecord{"full": full, "empty": empty, "least": {Time: full.Time, Kind: "call", Action: "a.b"}} {
		line, err := encode(&r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		marshalled, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(line, &got); err != nil || line[len(line)-1] != '\n' {
			t.Fatalf("%s: %v: %q", name, err, line)
		}
		if err := json.Unmarshal(marshalled, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	forged := map[string]any{"n": json.Number("1}\n{\"kind\":\"call\"")}
	if line, err := encode(&kernel.AuditRecord{Time: full.Time, Kind: "call", Action: "a.b", Args: &forged}, time.Now()); err == nil {
		t.Errorf("what is no number was written as %s", line)
	}
}
