package host_test

import (
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// What a client was asked waits for ten minutes, wherever the run is: then, where no server tells it the module, its node fails.
func TestInputExpires(t *testing.T) {
	s := newSite(t, "  ports: {governance: {adapter: allow_all}}\n")
	h := s.open(t)
	p := s.load(t, h, `{kind: service_call_node, metadata: {name: asks}, dependencies: [], spec: {service: client, method: ask, strict_mapping: true, input_mapping: {requests: "{'where': {'kind': 'roots'}}"}}}`)
	begun := time.Now()
	result := p.Run(t.Context(), map[string]any{}, host.RunOptions{Client: kernel.NewClient("roots")})
	if result.Status != engine.Suspended {
		t.Fatal(result.Status, result.Err)
	}
	if results, err := h.Expire(t.Context(), begun.Add(10*time.Minute-time.Second), host.RunOptions{}); err != nil || len(results) != 0 {
		t.Fatalf("expired before its time: %+v, %v", results, err)
	}
	results, err := h.Expire(t.Context(), time.Now().Add(10*time.Minute), host.RunOptions{})
	if err != nil || len(results) != 1 {
		t.Fatalf("%+v, %v", results, err)
	}
	wantError(t, results[0].Err, kernel.CodeTimeout, kernel.InputKey, "node asks", "10m0s")
	if left, err := h.Waiting(); err != nil || len(left) != 0 {
		t.Errorf("still waiting: %+v, %v", left, err)
	}
}
