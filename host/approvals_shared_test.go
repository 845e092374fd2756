package host_test

import (
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// What one machine's run waits for, a person answers at another.
func TestApprovalsOfMachines(t *testing.T) {
	_, url := testserver.Postgres(t)
	shared := "  approvals: {adapter: postgres, config: {url: '" + url + "'}}\n"
	one := careful(t, shared)
	other := newSite(t, "  tenant: acme\n"+shared)

	h := one.open(t)
	result := one.load(t, h, store).Run(t.Context(), "v", host.RunOptions{})
	if result.Status != engine.Suspended {
		t.Fatalf("%s: %v", result.Status, result.Err)
	}
	asked := neededBy(t, other)
	answered, err := other.open(t).Approvals().Answer(t.Context(), asked.ID, "bob", true, "")
	if err != nil || answered.State != "approved" {
		t.Fatalf("%+v, %v", answered, err)
	}
	results, err := h.Signal(t.Context(), kernel.ApprovalKey+asked.ID, nil, host.RunOptions{})
	if err != nil || len(results) != 1 || results[0].Status != engine.Completed {
		t.Fatalf("%+v, %v", results, err)
	}
	if files, _ := filepath.Glob(one.path(".hexdag/approvals*")); len(files) > 0 {
		t.Errorf("kept here as well: %v", files)
	}
}

// A host whose approvals cannot be reached does not start, and says which they are.
func TestApprovalsNotThere(t *testing.T) {
	for adapter, want := range map[string][]string{
		"{adapter: postgres, config: {url: 'postgres://u:secret@127.0.0.1:1/d?connect_timeout=2'}}": {"the PostgreSQL of the approvals cannot be used", "check that it runs"},
		"{adapter: postgres, config: {url: 'postgres://h/d', table: 'a b'}}":                        {"lower-case letters"},
		"{adapter: sqlite, config: {file: x.db}}":                                                   {"for the adapter sqlite it takes path"},
	} {
		s := newSite(t, "  approvals: "+adapter+"\n")
		_, err := s.new(t)
		wantError(t, err, kernel.CodeOf(err), append(want, "hexdag.yaml:")...)
		if code := kernel.CodeOf(err); code != kernel.CodeConfig && code != kernel.CodeUnavailable {
			t.Errorf("%s: %v", code, err)
		}
	}
}
