package extension_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// A call that waited for an instance carries what was learned in it meanwhile, and what was
// learned before.
func TestWhoWaitsForAnInstanceCarriesWhatItHolds(t *testing.T) {
	secret, err := kernel.NewLabels("", kernel.Secret, "vault")
	if err != nil {
		t.Fatal(err)
	}
	for _, isolation := range []sandbox.Isolation{sandbox.IsolateRun, sandbox.Shared} {
		t.Run(string(isolation), func(t *testing.T) {
			s := newSite(t)
			limits := sandbox.Limits{Deadline: 20 * time.Second}
			if isolation == sandbox.Shared {
				limits.Instances = 1 // else the second has one of its own
			}
			m, err := s.load(t, probe.Wasm, &abi.Manifest{Capabilities: capabilities(t, abi.OpClock, abi.OpRandom, topic("**"))},
				extension.Spec{Isolation: isolation, Limits: limits, Grants: capabilities(t, abi.OpClock, abi.OpRandom, topic("**"))})
			if err != nil {
				t.Fatal(err)
			}
			hook, err := m.PortHook()
			if err != nil {
				t.Fatal(err)
			}
			holds, goOn := make(chan struct{}), make(chan struct{})
			s.again = func(ctx context.Context) (*kernel.PortReply, error) {
				close(holds)
				<-goOn
				kernel.FlowFrom(ctx).Join(secret)
				return &kernel.PortReply{}, nil
			}
			call := func(script *probe.Script) *kernel.Labels {
				flow := kernel.NewFlow(nil)
				if _, err := hook.BeforePort(kernel.WithFlow(inRun(), flow), &kernel.PortCall{Op: "other.op", Args: map[string]any{}, Body: script.Image(), Caller: kernel.Caller{Principal: "alice"}}); err != nil {
					t.Error(err)
				}
				return flow.Labels()
			}
			var calls sync.WaitGroup
			calls.Go(func() {
				call(new(probe.Script).Do(probe.Call, "test.echo", `{"topic": "t"}`, 0, 0))
			})
			<-holds
			var carried *kernel.Labels
			calls.Go(func() { carried = call(new(probe.Script)) })
			time.Sleep(20 * time.Millisecond) // so that it waits; where it begins later, the test asserts less
			close(goOn)
			calls.Wait()
			if carried.Confidentiality() != kernel.Secret {
				t.Errorf("who waited carries %s", carried)
			}
			if later := call(new(probe.Script)); later.Confidentiality() != kernel.Secret {
				t.Errorf("who came later carries %s", later)
			}
		})
	}
}
