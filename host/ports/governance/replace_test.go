package governance_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
)

// named is a driver whose decisions say by whom they are.
type named struct {
	name             string
	closed           atomic.Bool
	entered, proceed chan struct{} // of a question that is to wait
}

func (n *named) Authorize(ctx context.Context, _ *kernel.AccessRequest) (kernel.Decision, error) {
	if n.entered != nil {
		n.entered <- struct{}{}
		<-n.proceed
	}
	if n.closed.Load() {
		return kernel.Decision{}, nil
	}
	return kernel.Decision{Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: n.name}}, TTLSeconds: 60}, ctx.Err()
}

func (n *named) Revision() string { return n.name }

func TestReplaceDrains(t *testing.T) {
	old := &named{name: "old", entered: make(chan struct{}), proceed: make(chan struct{})}
	port := governance.New(old, governance.Options{})
	answer := make(chan kernel.Decision)
	go func() {
		d, _ := port.Authorize(context.Background(), request())
		answer <- d
	}()
	<-old.entered
	var unused atomic.Int32
	port.Replace(&named{name: "new"}, func() { unused.Add(1); old.closed.Store(true) })
	if d, _ := port.Authorize(t.Context(), request()); d.Revision != "new" || d.Reasons[0].ID != "new" || port.Revision() != "new" {
		t.Errorf("after it was replaced: %+v", d)
	}
	if unused.Load() != 0 {
		t.Error("the old one is unused while it is asked")
	}
	close(old.proceed)
	if d := <-answer; d.Effect != kernel.Allow || d.Revision != "old" || d.Reasons[0].ID != "old" {
		t.Errorf("under way: %+v", d)
	}
	if unused.Load() != 1 {
		t.Errorf("unused was called %d times", unused.Load())
	}
}

// TestReplaceUnderLoad: each decision is wholly of one driver, none is dropped, and none
// that was kept is given for another.
func TestReplaceUnderLoad(t *testing.T) {
	drivers := []*named{{name: "a"}, {name: "b"}, {name: "c"}}
	port := governance.New(drivers[0], governance.Options{})
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if d, _ := port.Authorize(context.Background(), request()); d.Effect != kernel.Allow || d.Reasons[0].ID != d.Revision {
					t.Errorf("%+v", d)
					return
				}
			}
		})
	}
	var unused atomic.Int32
	const rounds = 3000
	for i := range rounds {
		port.Replace(drivers[(i+1)%3], func() { unused.Add(1) })
	}
	close(stop)
	asking.Wait()
	if unused.Load() != rounds {
		t.Errorf("%d of %d were unused in the end", unused.Load(), rounds)
	}
}

// turning is a driver whose rules are replaced while it is asked.
type turning struct{ named }

func (n *turning) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	n.name += "+"
	return n.named.Authorize(ctx, req)
}

func TestChangedWhileAsked(t *testing.T) {
	port := governance.New(&turning{named{name: "a"}}, governance.Options{})
	for range 2 { // it is not kept
		if d, _ := port.Authorize(t.Context(), request()); d.Effect != kernel.Allow || d.Revision != "" {
			t.Errorf("%+v: whose decision it is, is not known", d)
		}
	}
	if got := port.Revision(); got != "a++" {
		t.Errorf("it was asked less than twice: %s", got)
	}
}
