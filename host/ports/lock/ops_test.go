package lock_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller is a run, or a module in it.
type caller struct {
	t     *testing.T
	locks *lock.Locks
	run   *kernel.RunContext
	chain []string
}

func newCaller(t *testing.T, locks *lock.Locks, tenant, run string) caller {
	t.Helper()
	r := &kernel.RunContext{RunID: run, Tenant: tenant, Principal: "ann", PipelineName: "p"}
	t.Cleanup(func() {
		if err := r.Leases.Release(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return caller{t: t, locks: locks, run: r}
}

func (c caller) module(names ...string) caller {
	c.chain = names
	return c
}

func (c caller) call(op, args string) (map[string]any, error) {
	c.t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		c.t.Fatal(err)
	}
	call := &kernel.PortCall{Op: "lock." + op, Args: value.(map[string]any), Node: "n", Caller: kernel.Caller{Principal: "ann"}}
	for _, name := range c.chain {
		call.Caller.Modules = append(call.Caller.Modules, kernel.ModuleRights{Name: name})
	}
	ops := c.locks.Ops()
	i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == call.Op })
	reply, err := ops[i].Func(kernel.WithRun(c.t.Context(), c.run), call)
	if err != nil {
		return nil, err
	}
	return reply.Value.(map[string]any), nil
}

func (c caller) wants(op, args, member string, want any) {
	c.t.Helper()
	if got, err := c.call(op, args); err != nil || fmt.Sprint(got[member]) != fmt.Sprint(want) {
		c.t.Errorf("%s %s: %v, %v, want %s %v", op, args, got, err, member, want)
	}
}

func (c caller) refuses(op, args string, code kernel.Code, says string) {
	c.t.Helper()
	if got, err := c.call(op, args); kernel.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		c.t.Errorf("%s %.100s: %v, %v, want %s and %q", op, args, got, err, code, says)
	}
}

const orders = `{"name": "orders"}`

// A lease is of the run and the module that acquired it, and nobody else's to give back.
func TestOwners(t *testing.T) {
	locks := lock.New(memlock.New(), lock.Options{})
	mine, theirs := newCaller(t, locks, "acme", "r1"), newCaller(t, locks, "acme", "r2")
	guest := mine.module("outer", "guest")
	mine.wants("acquire", orders, "acquired", true)
	for who, c := range map[string]caller{"another run": theirs, "a module of the run": guest} {
		c.refuses("release", orders, kernel.CodeLockLost, "holds no such lease")
		c.refuses("renew", orders, kernel.CodeLockLost, "holds no such lease")
		c.wants("acquire", `{"name": "orders", "timeout": 0}`, "acquired", false)
		c.wants("is_locked", orders, "locked", true)
		if t.Failed() {
			t.Fatal(who)
		}
	}
	mine.wants("renew", orders, "renewed", true)
	mine.wants("release", orders, "released", true)
	mine.refuses("release", orders, kernel.CodeLockLost, "holds no such lease")
	guest.wants("acquire", orders, "acquired", true)
	for _, c := range []caller{mine, mine.module("guest", "inner"), mine.module("outer"), theirs.module("guest")} {
		c.refuses("release", orders, kernel.CodeLockLost, "holds no such lease")
	}
	got, err := theirs.call("holder", orders)
	holders, _ := got["holders"].([]any)
	if err != nil || len(holders) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	h, _ := holders[0].(map[string]any)
	for member, want := range map[string]string{"principal": "ann", "run_id": "r1", "pipeline": "p", "node": "n", "module": "guest", "permits": "1"} {
		if fmt.Sprint(h[member]) != want {
			t.Errorf("%s is %v, want %s", member, h[member], want)
		}
	}
	guest.wants("release", orders, "released", true)
	mine.wants("is_locked", orders, "locked", false)
	mine.wants("holder", orders, "locked", false)
}

func TestTenantsAreApart(t *testing.T) {
	locks := lock.New(memlock.New(), lock.Options{})
	acme, other := newCaller(t, locks, "acme", "r1"), newCaller(t, locks, "other", "r1")
	acme.wants("acquire", orders, "acquired", true)
	other.wants("is_locked", orders, "locked", false)
	other.wants("holder", orders, "holders", []any{})
	other.refuses("release", orders, kernel.CodeLockLost, "")
	other.wants("acquire", `{"name": "orders", "timeout": 0}`, "acquired", true)
}

// Of several leases on one name, one is named.
func TestSemaphores(t *testing.T) {
	c := newCaller(t, lock.New(memlock.New(), lock.Options{}), "acme", "r")
	const take = `{"name": "calls", "permits": 2, "timeout": 0}`
	first, err := c.call("acquire", take)
	if err != nil {
		t.Fatal(err)
	}
	c.wants("acquire", take, "acquired", true)
	c.wants("acquire", take, "acquired", false)
	if got, err := c.call("acquire", take); err != nil || got["retry_after_ms"] == nil {
		t.Errorf("%v, %v", got, err)
	}
	c.refuses("acquire", `{"name": "calls", "permits": 3, "timeout": 0}`, kernel.CodeArguments, "another number of permits")
	c.refuses("release", `{"name": "calls"}`, kernel.CodeArguments, "2 leases on calls are held")
	c.refuses("release", `{"name": "calls", "lease": "nonsense"}`, kernel.CodeLockLost, "")
	c.wants("release", fmt.Sprintf(`{"name": "calls", "lease": "%v"}`, first["lease"]), "released", true)
	c.wants("release", `{"name": "calls"}`, "released", true)
}

// A run's leases are renewed while it lives, and end with it; a detached one ends by its TTL alone.
func TestRuns(t *testing.T) {
	locks := lock.New(memlock.New(), lock.Options{MaxHeld: 2})
	c, next := newCaller(t, locks, "acme", "r1"), newCaller(t, locks, "acme", "r2")
	c.wants("acquire", `{"name": "kept", "ttl": 0.1}`, "acquired", true)
	c.wants("acquire", `{"name": "detached", "ttl": 0.2, "detached": true}`, "acquired", true)
	c.refuses("release", `{"name": "detached"}`, kernel.CodeLockLost, "a detached lease ends by its ttl alone")
	next.wants("is_locked", `{"name": "detached"}`, "locked", true)
	c.wants("acquire", `{"name": "second"}`, "acquired", true)
	c.refuses("acquire", `{"name": "third"}`, kernel.CodeLimit, "max_held")
	next.wants("is_locked", `{"name": "third"}`, "locked", false)
	time.Sleep(300 * time.Millisecond)
	next.wants("is_locked", `{"name": "kept"}`, "locked", true)
	next.wants("is_locked", `{"name": "detached"}`, "locked", false)
	if err := c.run.Leases.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next.wants("acquire", `{"name": "kept", "timeout": 0}`, "acquired", true)
	c.refuses("acquire", `{"name": "late"}`, kernel.CodeLimit, "none once it has ended")
	next.wants("is_locked", `{"name": "late"}`, "locked", false)
}

func TestFences(t *testing.T) {
	c := newCaller(t, lock.New(memlock.New(), lock.Options{}), "acme", "r")
	ctx := kernel.WithRun(t.Context(), c.run)
	got, err := c.call("acquire", `{"name": "orders", "ttl": 0.05}`)
	if err != nil {
		t.Fatal(err)
	}
	c.wants("acquire", `{"name": "calls", "permits": 3}`, "acquired", true)
	fences, err := kernel.FencesFrom(ctx)
	if err != nil || len(fences) != 1 || fences[0].Lock != "memory/acme/orders" || fmt.Sprint(fences[0].Token) != fmt.Sprint(got["token"]) {
		t.Errorf("%+v, %v, want the token of orders, %v", fences, err, got["token"])
	}
	child := &kernel.RunContext{RunID: "child", Tenant: "acme"}
	child.Leases.Inherit(&c.run.Leases)
	if again, err := kernel.FencesFrom(kernel.WithRun(t.Context(), child)); err != nil || len(again) != 1 || again[0] != fences[0] {
		t.Errorf("a run that it started: %+v, %v", again, err)
	}
	c.wants("release", orders, "released", true)
	if fences, err := kernel.FencesFrom(ctx); err != nil || len(fences) != 0 {
		t.Errorf("after it was given back: %+v, %v", fences, err)
	}
}

func TestArguments(t *testing.T) {
	c := newCaller(t, lock.New(memlock.New(), lock.Options{}), "acme", "r")
	for args, says := range map[string]string{
		`{}`: "the name", `{"name": ""}`: "the name", `{"name": 7}`: "name has the wrong type", `{"name": null}`: "name has the wrong type", `{"name": "a\nb"}`: `a\nb`,
		`{"name": "a", "ttl": 0}`: "ttl must be", `{"name": "a", "ttl": -1}`: "ttl must be", `{"name": "a", "ttl": 1e300}`: "ttl must be", `{"name": "a", "ttl": "1"}`: "ttl must be",
		`{"name": "a", "ttl": 0.000001}`: "max_ttl", `{"name": "a", "ttl": 90000}`: "max_ttl", `{"name": "a", "timeout": -1}`: "timeout must be", `{"name": "a", "permits": 0}`: "permits must be",
		`{"name": "a", "permits": 1.5}`: "permits must be", `{"name": "a", "permits": 10001}`: "1 to 10000", `{"name": "a", "detached": 1}`: "detached has the wrong type", `{"name": "a", "wait": 1}`: "unknown argument wait",
	} {
		c.refuses("acquire", args, kernel.CodeArguments, says)
	}
	ops := c.locks.Ops()
	if _, err := ops[0].Func(t.Context(), &kernel.PortCall{Op: "lock.acquire", Args: map[string]any{"name": "a"}}); kernel.CodeOf(err) != kernel.CodeInternal {
		t.Errorf("outside a run: %v", err)
	}
	if _, err := ops[0].Func(kernel.WithRun(t.Context(), c.run), &kernel.PortCall{Op: "lock.acquire", Args: map[string]any{"name": "a"}, Body: []byte("x")}); kernel.CodeOf(err) != kernel.CodeArguments {
		t.Errorf("a body: %v", err)
	}
	if got := c.run.Leases.Find("", "a", ""); len(got) != 0 {
		t.Errorf("%v was acquired", got)
	}
}
