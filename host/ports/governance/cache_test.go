package governance_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// versioned is a driver that counts how often it is asked.
type versioned struct {
	mu       sync.Mutex
	asked    int
	revision string
	reads    driver.Reads
	decision kernel.Decision
}

func (v *versioned) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	return v.decision, nil
}

func (v *versioned) Revision() string    { return v.revision }
func (v *versioned) Reads() driver.Reads { return v.reads }

func allowedFor(seconds int) kernel.Decision {
	return kernel.Decision{Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: "r", Msg: "m"}}, TTLSeconds: seconds}
}

func request() *kernel.AccessRequest {
	return &kernel.AccessRequest{
		Subject:  kernel.Subject{Type: "module", ID: "orders", Tenant: "acme", Chain: []string{"ada"}},
		Action:   kernel.Act{Name: "database.query", Args: map[string]any{"table": "orders", "limit": kernel.Number(10)}},
		Resource: kernel.Resource{Type: "database", ID: "orders"},
		Context:  kernel.Scope{RunID: "r1", Pipeline: "p", Node: "n", Labels: map[string]string{"a": "1", "b": "2"}},
	}
}

func TestDecisionsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &versioned{revision: "1", decision: allowedFor(60)}
		audit := &log{}
		port := governance.New(d, governance.Options{Auditor: audit})
		ask := func(want int) {
			t.Helper()
			got, err := port.Authorize(t.Context(), request())
			if err != nil || got.Effect != kernel.Allow || got.Revision != d.revision || d.asked != want {
				t.Fatalf("got %v, %v; asked %d times, want %d", got, err, d.asked, want)
			}
		}
		ask(1)
		ask(1)
		time.Sleep(59 * time.Second)
		ask(1)
		time.Sleep(time.Second)
		ask(2)
		d.revision = "2"
		ask(3)
		if len(audit.records) != 5 || audit.records[4].Revision != "2" {
			t.Errorf("%d records: a decision that was kept is one, too", len(audit.records))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, _ := port.Authorize(ctx, request()); got.Effect != kernel.Forbid {
			t.Errorf("a caller that has gone got %v", got)
		}
	})
}

// Each part of a request makes it another, whether somebody has the text of its arguments or not.
func TestDecisionsAreKeptByTheWholeRequest(t *testing.T) {
	t.Run("by name", func(t *testing.T) { keptByTheWholeRequest(t, request) })
	t.Run("in text", func(t *testing.T) {
		keptByTheWholeRequest(t, func() *kernel.AccessRequest {
			r := request()
			r.Action.Text = kernel.NewText(r.Action.Args) // which a change of the arguments leaves behind
			return r
		})
	})
	if n := countFields(reflect.TypeFor[kernel.AccessRequest]()); n != 19 {
		t.Errorf("a request has %d fields: see to it that each but the text is in the cache's key, and is changed below", n)
	}
}

func keptByTheWholeRequest(t *testing.T, request func() *kernel.AccessRequest) {
	d := &versioned{revision: "1", reads: driver.Reads{Usage: true, Run: true}, decision: allowedFor(60)}
	port := governance.New(d, governance.Options{})
	base := request()
	if _, err := port.Authorize(t.Context(), base); err != nil {
		t.Fatal(err)
	}
	asked := 1
	for name, change := range map[string]func(*kernel.AccessRequest){
		"type":     func(r *kernel.AccessRequest) { r.Subject.Type = "user" },
		"id":       func(r *kernel.AccessRequest) { r.Subject.ID = "order" },
		"shifted":  func(r *kernel.AccessRequest) { r.Subject.ID, r.Subject.Tenant = "ordersa", "cme" },
		"tenant":   func(r *kernel.AccessRequest) { r.Subject.Tenant = "umbrella" },
		"chain":    func(r *kernel.AccessRequest) { r.Subject.Chain = []string{"ada", "module:x"} },
		"no chain": func(r *kernel.AccessRequest) { r.Subject.Chain = nil },
		"action":   func(r *kernel.AccessRequest) { r.Action.Name = "database.insert" },
		"argument": func(r *kernel.AccessRequest) {
			r.Action.Args = map[string]any{"table": "orders", "limit": kernel.Number(11)}
		},
		"number, text":  func(r *kernel.AccessRequest) { r.Action.Args = map[string]any{"table": "orders", "limit": "10"} },
		"no arguments":  func(r *kernel.AccessRequest) { r.Action.Args = nil },
		"empty":         func(r *kernel.AccessRequest) { r.Action.Args = map[string]any{} },
		"resource":      func(r *kernel.AccessRequest) { r.Resource.ID = "items" },
		"resource type": func(r *kernel.AccessRequest) { r.Resource.Type = "memory" },
		"run":           func(r *kernel.AccessRequest) { r.Context.RunID = "r2" },
		"pipeline":      func(r *kernel.AccessRequest) { r.Context.Pipeline = "q" },
		"node":          func(r *kernel.AccessRequest) { r.Context.Node = "m" },
		"label":         func(r *kernel.AccessRequest) { r.Context.Labels = map[string]string{"a": "1", "b": "3"} },
		"labels":        func(r *kernel.AccessRequest) { r.Context.Labels = map[string]string{"a": "1"} },
		"sources":       func(r *kernel.AccessRequest) { r.Context.Sources = []string{"http:a"} },
		"usage":         func(r *kernel.AccessRequest) { r.Context.Usage.InputTokens = 5 },
	} {
		req := request()
		change(req)
		for range 2 {
			if _, err := port.Authorize(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		if asked++; d.asked != asked {
			t.Errorf("%s: asked %d times, want %d", name, d.asked, asked)
			asked = d.asked
		}
	}
}

// countFields counts the fields of a struct, those of structs in it instead of them.
func countFields(t reflect.Type) (n int) {
	for f := range t.Fields() {
		if f.Type.Kind() == reflect.Struct {
			n += countFields(f.Type)
		} else {
			n++
		}
	}
	return n
}

func TestWhatNoRuleReads(t *testing.T) {
	for reads, want := range map[driver.Reads]int{{}: 1, {Usage: true}: 3, {Run: true}: 2, {Usage: true, Run: true}: 6} {
		d := &versioned{revision: "1", reads: reads, decision: allowedFor(60)}
		audit := &log{}
		port := governance.New(d, governance.Options{Auditor: audit})
		for i := range 6 {
			req := request()
			req.Context.Usage.PortCalls = int64(i % 3)
			req.Context.RunID = []string{"r1", "r2"}[i%2]
			if _, err := port.Authorize(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			if run := audit.records[i].RunID; run != req.Context.RunID {
				t.Errorf("the record of run %s is of %s", req.Context.RunID, run)
			}
		}
		if d.asked != want {
			t.Errorf("%+v: asked %d times, want %d", reads, d.asked, want)
		}
	}
}

func TestWhatIsNotKept(t *testing.T) {
	for name, tc := range map[string]struct {
		driver *versioned
		change func(*kernel.AccessRequest)
	}{
		"no revision": {&versioned{decision: allowedFor(60)}, nil},
		"no ttl":      {&versioned{revision: "1", decision: allowedFor(0)}, nil},
		"undefined":   {&versioned{revision: "1", decision: kernel.Decision{TTLSeconds: 60}}, nil},
		"bad effect":  {&versioned{revision: "1", decision: kernel.Decision{Effect: "maybe", TTLSeconds: 60}}, nil},
		"too large": {&versioned{revision: "1", decision: allowedFor(60)}, func(r *kernel.AccessRequest) {
			r.Action.Args = map[string]any{"text": fmt.Sprintf("%8000d", 1)}
		}},
	} {
		port := governance.New(tc.driver, governance.Options{})
		req := request()
		if tc.change != nil {
			tc.change(req)
		}
		for range 3 {
			if _, err := port.Authorize(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		if tc.driver.asked != 3 {
			t.Errorf("%s: asked %d times of 3", name, tc.driver.asked)
		}
	}
}

// The cache is bounded, and keeps what is in use.
func TestKeptDecisionsAreBounded(t *testing.T) {
	d := &versioned{revision: "1", decision: allowedFor(60)}
	port := governance.New(d, governance.Options{})
	hot := request()
	for i := range 30_000 {
		req := request()
		req.Resource.ID = fmt.Sprint(i)
		for _, r := range []*kernel.AccessRequest{req, hot} {
			if _, err := port.Authorize(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d.asked != 30_001 {
		t.Errorf("asked %d times: what is in use was forgotten", d.asked)
	}
	if kept := governance.Kept(port); kept > 2*4096 {
		t.Errorf("%d decisions are kept", kept)
	}
}

func BenchmarkCachedDecision(b *testing.B) {
	req := request()
	b.Run("4 arguments and labels", func(b *testing.B) { benchmark(b, req) })
	small := &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: "ada", Tenant: "acme"}, Action: kernel.Act{Name: "llm.complete", Args: map[string]any{"model": "mock"}}, Resource: kernel.Resource{Type: "llm", ID: "mock"}, Context: kernel.Scope{RunID: "0197-1", Pipeline: "p", Node: "n"}}
	b.Run("1 argument", func(b *testing.B) { benchmark(b, small) })
}

func benchmark(b *testing.B, req *kernel.AccessRequest) {
	port := governance.New(&versioned{revision: "1", decision: allowedFor(3600)}, governance.Options{})
	b.ReportAllocs()
	for b.Loop() {
		if d, _ := port.Authorize(b.Context(), req); d.Effect != kernel.Allow {
			b.Fatal(d)
		}
	}
}
