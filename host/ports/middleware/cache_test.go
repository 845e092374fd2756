package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// step is a call through a cache.
type step struct {
	tenant, run, op string
	x               any
}

// reaching returns how many of these calls, one after another, reach the port.
func reaching(t *testing.T, given map[string]any, steps ...step) int {
	t.Helper()
	a := &answers{}
	m := build(t, "ResponseCache", given)
	for _, s := range steps {
		reply, err := m(s.op, a.do)(tenant(t.Context(), s.tenant, s.run), call(s.x))
		if err != nil || reply.Value != s.x || string(reply.Body) != "body" {
			t.Errorf("%v: %v, %v", s, reply, err)
		}
		clear(reply.Body) // the caller's own
	}
	return a.calls
}

func TestCache(t *testing.T) {
	a := func(x any) step { return step{"acme", "r1", complete, x} }
	other := func(s step, change func(*step)) step { change(&s); return s }
	for name, c := range map[string]struct {
		given map[string]any
		steps []step
		want  int
	}{
		"the same":          {nil, []step{a("1"), a("1"), a("1")}, 1},
		"another run":       {nil, []step{a("1"), other(a("1"), func(s *step) { s.run = "r2" })}, 1},
		"another argument":  {nil, []step{a("1"), a("2")}, 2},
		"another type":      {nil, []step{a("1"), a(kernel.Number(1)), a(true), a(nil)}, 4},
		"another tenant":    {nil, []step{a("1"), other(a("1"), func(s *step) { s.tenant = "bob" })}, 2},
		"another operation": {nil, []step{a("1"), other(a("1"), func(s *step) { s.op = "database.query" })}, 2},
		"no tenant is one":  {nil, []step{{"", "r", complete, "1"}, {"", "r", complete, "1"}}, 1},
		"a change":          {nil, []step{{"acme", "r", "database.query", "1"}, {"acme", "r", "database.insert", "1"}, {"acme", "r", "database.query", "1"}}, 3},
		"another's change":  {nil, []step{{"acme", "r", "database.query", "1"}, {"bob", "r", "database.insert", "1"}, {"acme", "r", "database.query", "1"}}, 2},
		"not of the kind":   {nil, []step{{"acme", "r", "memory.get", "1"}, {"acme", "r", "memory.get", "1"}}, 2},
		"an unknown one":    {nil, []step{{"acme", "r", "guest.op", "1"}, {"acme", "r", "guest.op", "1"}}, 2},
		"methods":           {map[string]any{"methods": []any{"guest.*"}}, []step{{"acme", "r", "guest.op", "1"}, {"acme", "r", "guest.op", "1"}, {"acme", "r2", "guest.op", "1"}}, 2},
		"least recent goes": {map[string]any{"max_size": 2}, []step{a("1"), a("2"), a("1"), a("3"), a("1"), a("2")}, 4},
		"large answers":     {map[string]any{"max_entry_bytes": 100}, []step{a(strings.Repeat("x", 100)), a(strings.Repeat("x", 100))}, 2},
	} {
		if got := reaching(t, c.given, c.steps...); got != c.want {
			t.Errorf("%s: %d calls reached the port, want %d", name, got, c.want)
		}
	}
}

func TestCacheKeepsNoErrors(t *testing.T) {
	a := failing(1, coded(kernel.CodeUnavailable))
	f := build(t, "ResponseCache", nil)(complete, a.do)
	ctx := tenant(t.Context(), "acme", "r")
	if _, err := f(ctx, call(1)); err == nil {
		t.Error("no error")
	}
	if _, err := f(ctx, call(1)); err != nil || a.calls != 2 {
		t.Errorf("%v after %d calls", err, a.calls)
	}
	_, _ = f(t.Context(), call(1))
	if _, _ = f(t.Context(), call(1)); a.calls != 4 {
		t.Error("outside a run, whose tenant nobody knows, an answer is kept")
	}
}

func TestCacheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		f := build(t, "ResponseCache", map[string]any{"ttl": 10})(complete, a.do)
		ctx := tenant(t.Context(), "acme", "r")
		for want, wait := range []time.Duration{0, 9 * time.Second, time.Second} {
			time.Sleep(wait)
			_, _ = f(ctx, call(1))
			if want = max(want, 1); a.calls != want {
				t.Errorf("after %s more: %d calls, want %d", wait, a.calls, want)
			}
		}
	})
}

// An answer that was given while something changed is not kept.
func TestCacheDoesNotKeepWhatChanged(t *testing.T) {
	m := build(t, "ResponseCache", nil)
	ctx := tenant(t.Context(), "acme", "r")
	calls := 0
	insert := m("database.insert", (&answers{}).do)
	query := m("database.query", func(ctx context.Context, c *kernel.PortCall) (*kernel.PortReply, error) {
		if calls++; calls == 1 {
			if _, err := insert(ctx, c); err != nil {
				t.Error(err)
			}
		}
		return &kernel.PortReply{Value: kernel.Number(int64(calls))}, nil
	})
	for _, want := range []int64{1, 2, 2} {
		if reply, err := query(ctx, call(1)); err != nil || reply.Value != kernel.Number(want) {
			t.Errorf("%v, %v, want %d", reply, err, want)
		}
	}
}

func TestCacheConcurrently(t *testing.T) {
	m := build(t, "ResponseCache", map[string]any{"max_size": 8})
	f := m("database.query", func(ctx context.Context, c *kernel.PortCall) (*kernel.PortReply, error) {
		return &kernel.PortReply{Body: fmt.Append(nil, kernel.RunFrom(ctx).Tenant, c.Args["x"])}, nil
	})
	forget := m("database.insert", (&answers{}).do)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			name := fmt.Sprint("t", g%4)
			ctx := tenant(t.Context(), name, "r")
			for i := range 200 {
				reply, err := f(ctx, call(i%16))
				if err != nil || !bytes.Equal(reply.Body, fmt.Append(nil, name, i%16)) {
					t.Errorf("%v, %v", reply, err)
				}
				if i%50 == 0 {
					_, _ = forget(ctx, call(0))
				}
			}
		})
	}
	wg.Wait()
}
