package shadow_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
	"github.com/hexdag/hexdag/host/ports/governance/rbac"
	"github.com/hexdag/hexdag/host/ports/governance/shadow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rule func(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error)

func (f rule) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	return f(ctx, req)
}

// allowing allows the actions, and has nothing to say of others.
func allowing(actions ...string) rule {
	return func(_ context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
		for _, a := range actions {
			if a == req.Action.Name {
				return kernel.Decision{Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: "allowed." + a, Msg: "m"}}}, nil
			}
		}
		return kernel.Decision{}, nil
	}
}

type log struct {
	mu      sync.Mutex
	records []kernel.AuditRecord
	err     error
}

func (l *log) Audit(_ context.Context, r *kernel.AuditRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, *r)
	return l.err
}

func ask(action string) *kernel.AccessRequest {
	return &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: "ada", Tenant: "acme"}, Action: kernel.Act{Name: action}, Resource: kernel.Resource{Type: "t", ID: "x"}, Context: kernel.Scope{RunID: "r1"}}
}

func TestConformance(t *testing.T) {
	live, err := rbac.New(rbac.Data{Roles: map[string]rbac.Role{"r": {Allow: []rbac.Rule{{Action: "a.*"}}}}, Bindings: []rbac.Binding{{Subjects: []string{"user:ada"}, Roles: []string{"r"}}}})
	if err != nil {
		t.Fatal(err)
	}
	governancetest.RunConformanceTests(t, func(t *testing.T) governancetest.Harness {
		d := shadow.New(live, allowing("b.x"), &log{})
		t.Cleanup(func() { _ = d.Close() })
		return governancetest.Harness{Driver: d, Allowed: ask("a.x"), Denied: ask("b.x")}
	})
}

func TestDifferences(t *testing.T) {
	audit := &log{}
	d := shadow.New(allowing("a.both", "a.live"), allowing("a.both", "a.candidate"), audit)
	port := governance.New(d, governance.Options{})
	for action, want := range map[string]kernel.Effect{"a.both": kernel.Allow, "a.live": kernel.Allow, "a.candidate": kernel.Forbid, "a.neither": kernel.Forbid} {
		if got, _ := port.Authorize(t.Context(), ask(action)); got.Effect != want {
			t.Errorf("%s: %v", action, got)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error("closed twice:", err)
	}
	if got := d.Counts(); got != (shadow.Counts{Asked: 4, Differ: 2}) {
		t.Errorf("%+v", got)
	}
	seen := map[string]kernel.AuditRecord{}
	for _, r := range audit.records {
		seen[r.Action] = r
	}
	if len(audit.records) != 3 || !strings.Contains(seen["governance.shadow"].Detail, "asked 4 times and differed 2 times") {
		t.Errorf("recorded %+v", audit.records)
	}
	if r := seen["a.live"]; r.Kind != "shadow" || r.Effect != kernel.Allow || !strings.Contains(r.Detail, "effect is deny") || r.Reasons[0].ID != governance.ReasonUndefined || r.RunID != "r1" || r.Resource != "t:x" {
		t.Errorf("recorded %+v", r)
	}
	if r := seen["a.candidate"]; r.Effect != kernel.Forbid || r.Reasons[0].ID != "allowed.a.candidate" {
		t.Errorf("recorded %+v", r)
	}
	if got, _ := port.Authorize(t.Context(), ask("a.both")); got.Effect != kernel.Allow {
		t.Errorf("after the end: %v", got)
	}
}

// Whatever the candidate does, and whatever becomes of its records, the live answer stands.
func TestNoEffect(t *testing.T) {
	stuck := make(chan struct{})
	for name, candidate := range map[string]rule{
		"panics": func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) { panic("boom") },
		"fails": func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
			return kernel.Decision{}, errors.New("down")
		},
		"denies": allowing(),
		"is stuck": func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
			<-stuck
			return kernel.Decision{}, nil
		},
	} {
		d := shadow.New(allowing("a.b"), candidate, &log{err: errors.New("disk full")})
		for range 3000 {
			got, err := d.Authorize(t.Context(), ask("a.b"))
			if err != nil || got.Effect != kernel.Allow {
				t.Fatalf("%s: %v, %v", name, got, err)
			}
		}
		if name == "is stuck" {
			if c := d.Counts(); c.Dropped < 3000-1024-2 {
				t.Errorf("%+v: questions are kept without bound", c)
			}
			close(stuck)
		}
		if err := d.Close(); err == nil {
			t.Errorf("%s: nothing could be recorded, and nobody is told", name)
		}
		if c := d.Counts(); c.Asked != c.Unrecorded || c.Asked+c.Dropped != 3000 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// Who closes does not wait for a slow candidate: what is not put to it is dropped, and what it was
// interrupted at is no difference.
func TestCloseDropsWhatWaits(t *testing.T) {
	audit := &log{}
	d := shadow.New(allowing("a.b"), rule(func(ctx context.Context, _ *kernel.AccessRequest) (kernel.Decision, error) {
		<-ctx.Done() // until the port's own limit, of seconds
		return kernel.Decision{}, ctx.Err()
	}), audit)
	for range 100 {
		if _, err := d.Authorize(t.Context(), ask("a.b")); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	c := d.Counts()
	if c.Asked+c.Dropped != 100 || c.Dropped < 98 || c.Differ != c.Asked || int64(len(audit.records)) != c.Differ+1 {
		t.Errorf("%+v, %d records", c, len(audit.records))
	}
}

// live is a backend with everything that drivers can have.
type live struct{ rule }

func (live) Revision() string    { return "7" }
func (live) Reads() driver.Reads { return driver.Reads{Usage: true} }
func (live) ListPermissions(context.Context, *kernel.Subject, *kernel.Scope) ([]kernel.Permission, bool, error) {
	return []kernel.Permission{{Action: "a.b"}}, true, nil
}
func (live) Audit(context.Context, *kernel.AuditRecord) error { return errors.New("not this") }

func TestIsTheLiveBackend(t *testing.T) {
	for _, d := range []driver.Driver{live{allowing()}, allowing()} {
		s := shadow.New(d, allowing(), &log{})
		_, rich := d.(live)
		list, complete, err := s.ListPermissions(t.Context(), nil, nil)
		if rich != (s.Revision() == "7") || rich == s.Reads().Run || rich != complete || rich != (len(list) == 1) || err != nil || rich != (s.Audit(t.Context(), nil) != nil) {
			t.Errorf("%v is not passed on", reflect.TypeOf(d))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
