package host

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// A host opens the configured journal for itself, and anybody else looks into it meanwhile.
func TestOpenJournal(t *testing.T) {
	dir := t.TempDir()
	cfg := &Config{File: filepath.Join(dir, "hexdag.yaml"), State: dir, Tenant: "acme"}
	cfg.Journal.KeepFailed = time.Hour
	if _, err := OpenJournal(t.Context(), cfg); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Error("before there is one:", err)
	}
	h := &Host{config: cfg, state: stateOf(cfg)}
	store, err := h.openJournal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context(), &driver.Run{ID: "r", Tenant: "acme"}); err != nil {
		t.Fatal(err)
	}
	j, err := OpenJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if runs, err := j.Runs(t.Context(), j.Tenant, driver.Query{}); err != nil || len(runs) != 1 || runs[0].Free || j.Policy.Keep != 720*time.Hour || j.Policy.KeepFailed != time.Hour {
		t.Errorf("%+v %+v %v", runs, j.Policy, err)
	}
	if _, err := h.openJournal(t.Context()); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Error("another process has it:", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if runs, err := j.Runs(t.Context(), j.Tenant, driver.Query{Free: true}); err != nil || len(runs) != 1 {
		t.Errorf("after the host has gone: %+v %v", runs, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	cfg.Journal.Adapter = "carrier pigeon"
	if _, err := OpenJournal(t.Context(), cfg); kernel.CodeOf(err) != kernel.CodeConfig {
		t.Error(err)
	}
}
