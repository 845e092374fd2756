package host_test

import (
	"os"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

func TestReloadModule(t *testing.T) {
	s := newSite(t, strings.ReplaceAll(puppets, "good: {path: PUPPET", "good: {path: good.wasm"))
	wasm, err := os.ReadFile(puppet(t))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "good.wasm", string(wasm))
	h := s.open(t)
	digest := func() string {
		for _, m := range h.Modules() {
			if m.Name() == "good" {
				return m.Digest()
			}
		}
		return ""
	}
	first := digest()
	reload := func(wasm []byte) (bool, error) {
		s.write(t, "good.wasm", string(wasm))
		return h.ReloadModule(t.Context(), "good")
	}
	last := func() kernel.AuditRecord { records := s.records(t); return records[len(records)-1] }
	if changed, err := reload(wasm); changed || err != nil || last().Action != "module.load" {
		t.Errorf("an unchanged file: %v, %v, record %+v", changed, err, last())
	}

	changed, err := reload([]byte("garbage"))
	if r := last(); changed || kernel.CodeOf(err) != kernel.CodeModuleInvalid || r.Action != "module.reload" || r.Effect != kernel.Forbid || r.Result != string(kernel.CodeModuleInvalid) || r.Resource != "good" {
		t.Errorf("garbage: %v, %v, record %+v", changed, err, last())
	}
	p := s.load(t, h, pull("good"))
	if res := p.Run(t.Context(), map[string]any{}, host.RunOptions{}); res.Status != engine.Completed || digest() != first {
		t.Errorf("the old one does not go on: %v", res.Err)
	}

	next, err := abi.AppendCustomSection(wasm, "note", []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	changed, err = reload(next)
	if r := last(); !changed || err != nil || digest() == first || r.Action != "module.reload" || r.Effect != kernel.Allow || r.Digest != digest() || !strings.Contains(r.Detail, first) || r.Principal != "ann" {
		t.Errorf("changed %v, %v, record %+v", changed, err, r)
	}
	if res := p.Run(t.Context(), map[string]any{}, host.RunOptions{}); res.Status != engine.Completed {
		t.Errorf("the new one: %v", res.Err)
	}

	_, err = h.ReloadModule(t.Context(), "goood")
	wantError(t, err, kernel.CodeNotFound, "no module goood", "good", "hexdag.yaml")
}
