package sandbox_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// A tenant's calls are counted over all modules, and take nothing from another's.
func TestTenantsHaveQuotas(t *testing.T) {
	r, err := sandbox.New(t.Context(), sandbox.Options{Tenants: sandbox.TenantLimits{Instances: 2, Waiting: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	limits := sandbox.Limits{Deadline: 10 * time.Second}
	one, two := load(t, r, probe.Wasm, limits), load(t, r, hostile(t, "canary"), limits)

	entered, release := make(chan struct{}, 3), make(chan struct{})
	held := &fakeHost{call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) {
		entered <- struct{}{}
		<-release
		return &kernel.PortReply{}, nil
	}}
	hold := new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0).Image()
	var calls sync.WaitGroup
	for range 3 {
		calls.Add(1)
		go func() {
			defer calls.Done()
			for { // the only place in the queue may be taken when this one comes: see greedy
				_, err := one.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: hold, Host: held, Tenant: "mallory"})
				if err == nil {
					return
				}
				if kernel.CodeOf(err) != kernel.CodeLimit {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
	<-entered
	<-entered
	greedy := func() error { // of the other module
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		_, err := two.Call(ctx, sandbox.Call{Point: abi.PortBefore, Input: input(), Tenant: "mallory"})
		return err
	}
	for kernel.CodeOf(greedy()) == kernel.CodeTimeout { // until the third waits
		time.Sleep(10 * time.Millisecond)
	}
	err = greedy()
	wantCode(t, err, kernel.CodeLimit)
	for _, word := range []string{"tenant mallory", "tenant_limits.instances is 2", "tenant_limits.waiting 1", "raise them"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %v", word, err)
		}
	}
	if _, err := two.Call(t.Context(), sandbox.Call{Point: abi.PortBefore, Input: input(), Tenant: "alice"}); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if len(entered) > 0 {
		t.Error("a third call of the tenant got in")
	}
	close(release)
	calls.Wait()
	if err := greedy(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A guest's call of a guest does not wait for the place that its caller has.
func TestTenantsDoNotWaitForThemselves(t *testing.T) {
	r, err := sandbox.New(t.Context(), sandbox.Options{Tenants: sandbox.TenantLimits{Instances: 1, Waiting: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	outer, inner := load(t, r, probe.Wasm, sandbox.Limits{}), load(t, r, hostile(t, "canary"), sandbox.Limits{})
	h := &fakeHost{call: func(ctx context.Context, _ string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
		_, err := inner.Call(ctx, sandbox.Call{Point: abi.PortBefore, Input: input(), Tenant: "t"})
		return &kernel.PortReply{}, err
	}}
	s := new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0)
	out, err := outer.Call(t.Context(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Host: h, Tenant: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if results, _, err := s.Results(out.Body); err != nil || results[0] != int64(abi.OK) {
		t.Errorf("the inner call: %v %v", results, err)
	}
}
