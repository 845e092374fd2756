// Package governancetest is what every backend of governance is held to: the
// duties of driver.Driver, and a Port on top of it.
package governancetest

import (
	"context"
	"encoding/json"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

// Harness is a backend with rules that the suite knows.
type Harness struct {
	Driver driver.Driver
	// Allowed is a request that the rules allow.
	Allowed *kernel.AccessRequest
	// Denied is one that they deny. It is nil for a backend that denies nothing.
	Denied *kernel.AccessRequest
}

// RunConformanceTests runs the suite. newHarness leaves closing to t.Cleanup.
func RunConformanceTests(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h Harness)
	}{
		{"Allows", testAllows},
		{"Denies", testDenies},
		{"Repeatable", testRepeatable},
		{"RequestUnchanged", testRequestUnchanged},
		{"Concurrent", testConcurrent},
		{"EndedContext", testEndedContext},
		{"Deadline", testDeadline},
		{"EmptyRequest", testEmptyRequest},
		{"Lists", testLists},
		{"Revision", testRevision},
		{"ObligationsAreKnown", testObligationsAreKnown},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newHarness(t)) })
	}
}

func decide(t *testing.T, d driver.Driver, req *kernel.AccessRequest) kernel.Decision {
	t.Helper()
	decision, err := governance.New(d, governance.Options{}).Authorize(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

func testAllows(t *testing.T, h Harness) {
	if d := decide(t, h.Driver, h.Allowed); d.Effect != kernel.Allow || len(d.Reasons) == 0 {
		t.Errorf("got %v; want it allowed, with a reason", d)
	}
}

func testDenies(t *testing.T, h Harness) {
	if h.Denied == nil {
		t.Skip("the backend denies nothing")
	}
	d := decide(t, h.Driver, h.Denied)
	if d.Effect != kernel.Forbid || len(d.Reasons) == 0 {
		t.Errorf("got %v; want it denied, with a reason", d)
	}
	for _, r := range d.Reasons {
		if r.ID == governance.ReasonError || r.ID == governance.ReasonTimeout {
			t.Errorf("denied by accident: %v", r)
		}
	}
}

func testRepeatable(t *testing.T, h Harness) {
	want := decide(t, h.Driver, h.Allowed)
	for range 5 {
		if diff := cmp.Diff(want, decide(t, h.Driver, h.Allowed)); diff != "" {
			t.Fatalf("another decision: %s", diff)
		}
	}
}

func testRequestUnchanged(t *testing.T, h Harness) {
	before, err := json.Marshal(h.Allowed)
	if err != nil {
		t.Fatal(err)
	}
	decide(t, h.Driver, h.Allowed)
	after, err := json.Marshal(h.Allowed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
}

func testConcurrent(t *testing.T, h Harness) {
	want := decide(t, h.Driver, h.Allowed)
	port := governance.New(h.Driver, governance.Options{Timeout: time.Minute})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got, err := port.Authorize(t.Context(), h.Allowed); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %v, %v; want %v", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}

func testEndedContext(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d, err := governance.New(h.Driver, governance.Options{}).Authorize(ctx, h.Allowed)
	if err != nil || d.Effect != kernel.Forbid || d.Reasons[0].ID != governance.ReasonTimeout {
		t.Errorf("got %v, %v; want it denied by %s", d, err, governance.ReasonTimeout)
	}
}

// testDeadline holds the driver to returning soon after its context ends.
func testDeadline(t *testing.T, h Harness) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	start := time.Now()
	_, _ = h.Driver.Authorize(ctx, h.Allowed) // either answer will do: the port denies
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it returned after %v", took)
	}
}

func testEmptyRequest(t *testing.T, h Harness) {
	d := decide(t, h.Driver, &kernel.AccessRequest{})
	if h.Denied != nil && d.Effect == kernel.Allow {
		t.Errorf("an empty request is allowed: %v", d)
	}
	if d.Reasons == nil {
		t.Error("no reasons")
	}
}

// testLists holds what a driver lists to what it decides, in both forms.
func testLists(t *testing.T, h Harness) {
	port := governance.New(h.Driver, governance.Options{})
	for _, each := range []bool{false, true} {
		for _, req := range []*kernel.AccessRequest{h.Allowed, h.Denied} {
			if req == nil {
				continue
			}
			asked := *req
			asked.Action.Args = nil // of which no list tells
			q := &governance.Query{Subject: req.Subject, Context: req.Context, Actions: []string{req.Action.Name}, Resources: []kernel.Resource{req.Resource}, Each: each}
			list, err := port.ListPermissions(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if want, got := decide(t, h.Driver, &asked).Effect, governance.Listed(list, req.Action.Name, req.Resource); got != want {
				t.Errorf("each %v: %s on %v is listed as %s and decided as %s: %+v", each, req.Action.Name, req.Resource, got, want, list)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := &governance.Query{Subject: h.Allowed.Subject, Actions: []string{h.Allowed.Action.Name}, Resources: []kernel.Resource{h.Allowed.Resource}, Each: true}
	if list, err := port.ListPermissions(ctx, q); err == nil {
		t.Errorf("nobody waits any more, and it lists %+v", list)
	}
}

// testRevision holds a driver that names its rules to naming them alike while they
// are the same.
func testRevision(t *testing.T, h Harness) {
	r, ok := h.Driver.(driver.Revisioner)
	if !ok {
		t.Skip("the backend cannot tell its revision")
	}
	before := r.Revision()
	decide(t, h.Driver, h.Allowed)
	if after := r.Revision(); after != before {
		t.Errorf("it was %q, and is %q after a decision", before, after)
	}
	if d := decide(t, h.Driver, h.Allowed); d.Revision != before {
		t.Errorf("a decision has the revision %q, the driver %q", d.Revision, before)
	}
}

func testObligationsAreKnown(t *testing.T, h Harness) {
	if _, err := obligation.Parse(decide(t, h.Driver, h.Allowed).Obligations); err != nil {
		t.Error(err)
	}
}
