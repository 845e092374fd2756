package examples_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// The orders go through as their data says: what is paid is shipped, what changes is counted, what
// fails raises an alarm.
func TestOrderEvents(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("order-events")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil { // of whoever ran it here
		t.Fatal(err)
	}
	cfg, err := host.LoadConfig(filepath.Join(dir, "hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, host.Options{CacheDir: filepath.Join(work, "cache"), KeyFile: filepath.Join(work, "audit.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	var mu sync.Mutex
	started := map[string]int{}
	l, err := h.Listen(t.Context(), host.ListenOptions{Told: func(e *host.Triggered) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case e.Err != nil:
			t.Error(e.Trigger, e.Err)
		case e.Result != nil && e.Result.Err != nil:
			t.Error(e.Trigger, e.Result.Err)
		case e.Result != nil:
			started[e.Trigger]++
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Load(t.Context(), filepath.Join(dir, "order.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "orders.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	paid, changed, failed := 0, 0, 0
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		var order struct {
			Order         string
			Amount, Price float64
		}
		if err := json.Unmarshal([]byte(line), &order); err != nil {
			t.Fatal(err)
		}
		var input any
		_ = json.Unmarshal([]byte(line), &input)
		p.Run(t.Context(), input, host.RunOptions{})
		switch {
		case order.Amount == 0, seen[order.Order]:
			failed++
		case order.Amount*order.Price < 1000:
			paid, changed = paid+1, changed+1
		default:
			changed++
		}
		seen[order.Order] = true
	}
	l.Wait(t.Context(), 300*time.Millisecond)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if started["ship"] != paid || started["monitor"] != changed || started["alert"] != failed || paid == 0 || failed == 0 {
		t.Errorf("%v started; %d were paid, %d changed, %d failed", started, paid, changed, failed)
	}
	shipped, err := h.Bus().Read(t.Context(), h.Tenant(), []string{"orders.shipped"}, eventbus.Start{}, 10)
	var labels []string
	for _, e := range shipped {
		labels = append(labels, string(e.Data))
	}
	if err != nil || !slices.Equal(labels, []string{`{"label":"order 1001, 39.0 EUR"}`}) {
		t.Error(labels, err)
	}
}
