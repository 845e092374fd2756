package redteam

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// deadline is the limit of the guests that want to run for ever.
const deadline = 100 * time.Millisecond

// What the host answers to a guest that it stopped.
const (
	stopped = string(kernel.CodeTimeout)
	limited = string(kernel.CodeLimit)
	trapped = string(kernel.CodeTrap)
)

// timeCases are group B: a guest is stopped at its deadline, whatever it does.
func timeCases() []Case {
	spin := func(id, name, what string) Case {
		return Case{ID: id, What: what, Source: name + ".wat", Want: stopped + "|" + limited, Time: 2 * deadline,
			attack: hooking(guest{name: name, limits: sandbox.Limits{Deadline: deadline}})}
	}
	flood := spin("B17b", "wide-output", "prints 64 GB in one call of fd_write")
	flood.Memory, flood.attack = 96<<20, hooking(guest{name: "wide-output", limits: sandbox.Limits{Deadline: deadline, Memory: 128 << 20}})
	bulk := spin("B18", "bulk", "fills all of its memory when the deadline comes")
	bulk.Time = deadline + 150*time.Millisecond // one operation on 64 MiB cannot be stopped
	bulk.Memory, bulk.attack = 96<<20, hooking(guest{name: "bulk", limits: sandbox.Limits{Deadline: deadline, Memory: 64 << 20}})
	block := new(probe.Script).Do(probe.Call, "test.slow", 0, 0, 0, 0).Do(probe.Spin)
	impatient := theProbe()
	impatient.limits = sandbox.Limits{Deadline: deadline}
	return []Case{
		spin("B15a", "spin", "loops for ever"),
		spin("B15b", "spin-calls", "calls itself 2^60 times without a loop"),
		spin("B15c", "spin-start", "loops in its start function"),
		spin("B15d", "spin-init", "loops in _initialize"),
		spin("B17a", "flood", "calls the host for ever, cheaply"),
		flood, bulk,
		{ID: "B19", What: "waits in a host call of 3 s", Source: "probe.wat", Want: stopped, Time: 3 * deadline, Record: kernel.Allow, attack: probing(impatient, block)},
		{ID: "B20", What: "runs past its deadline after a call that had its effect", Source: "probe.wat", Want: "timeout, done and recorded once", Time: 3 * deadline, Record: kernel.Allow, attack: lateEffect},
		{ID: "B21", What: "loops in 1,000 calls at once", Source: "spin.wat", Want: "all stopped or refused", Time: 4 * time.Second, Memory: 128 << 20, attack: crowd},
		{ID: "B22", What: "sleeps for a year", Source: "sleep.wat", Want: "continue", Time: deadline, attack: hooking(guest{name: "sleep"})},
		{ID: "C28", What: "waits in 3,000 calls of three modules at once", Source: "probe.wat", Want: "at most 128 at once, the rest waits or is refused", Time: 4 * time.Second, Memory: 192 << 20, attack: greedyTenant},
		{ID: "E55", What: "is called by 16 at once, each leaving its mark", Source: "probe.wat", Want: "each saw its own", attack: marks},
		{ID: "E56", What: "is replaced by another version while it runs", Source: "version.wat", Want: "no run saw two versions", Record: kernel.Allow, attack: replaced},
		{ID: "E57", What: "loops in a run that is canceled", Source: "probe.wat", Want: string(kernel.CodeCanceled), Time: 3 * deadline, attack: canceled},
	}
}

// lateEffect calls the host once and then loops: what was done stays done and
// recorded, and is not done again.
func lateEffect(ctx context.Context, s *site) string {
	g := theProbe()
	g.limits = sandbox.Limits{Deadline: deadline}
	_, _, err := s.probe(ctx, g, new(probe.Script).Do(probe.Call, "test.echo", `{"topic":"orders"}`, 0, 0).Do(probe.Spin))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) != 1 || len(s.records) != 1 {
		return fmt.Sprintf("done %d times, recorded %d times", len(s.calls), len(s.records))
	}
	return answered(err, "nothing") + ", done and recorded once"
}

// crowd has a thousand calls of a guest that loops, all at once.
func crowd(ctx context.Context, s *site) string {
	m, err := s.load(ctx, guest{name: "spin", limits: sandbox.Limits{Deadline: deadline}})
	if err != nil {
		return shown(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	s.begin()
	var wg sync.WaitGroup
	answers := make(chan string, 1000)
	for range cap(answers) {
		wg.Go(func() {
			answers <- guarded(func() string {
				_, err := s.hook(ctx, m, nil)
				return answered(err, "continue")
			})
		})
	}
	wg.Wait()
	close(answers)
	for a := range answers {
		switch kernel.Code(a) {
		case kernel.CodeTimeout, kernel.CodeLimit, kernel.CodeUnavailable, kernel.CodeCanceled:
		default:
			return a
		}
	}
	return "all stopped or refused"
}

// greedyTenant has one tenant call as much as it can: its quota holds over all
// modules, and leaves each of them room for others.
func greedyTenant(ctx context.Context, s *site) string {
	quota := sandbox.DefaultTenantLimits()
	block := new(probe.Script).Do(probe.Call, "test.slow", 0, 0, 0, 0).Image()
	var modules []*extension.Module
	for range 3 {
		g := theProbe()
		g.limits = sandbox.Limits{Deadline: 3 * deadline}
		m, err := s.load(ctx, g)
		if err != nil {
			return shown(err)
		}
		modules = append(modules, m)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s.begin()
	var wg sync.WaitGroup
	var refused atomic.Int64
	for i := range 3000 {
		wg.Go(func() {
			if _, err := s.hook(ctx, modules[i%3], block); kernel.CodeOf(err) == kernel.CodeLimit && strings.Contains(err.Error(), "tenant_limits.instances") {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if most := s.mostSlow.Load(); most > int64(quota.Instances) || most < int64(quota.Instances)/2 || refused.Load() == 0 {
		return fmt.Sprintf("%d at once, %d refused", most, refused.Load())
	}
	return fmt.Sprintf("at most %d at once, the rest waits or is refused", quota.Instances)
}

// replaced has a module's file replaced in the middle of its calls.
func replaced(ctx context.Context, s *site) string {
	versioned := func(n byte) []byte {
		bytes := append([]byte(nil), wasm("version")...)
		bytes[strings.Index(string(bytes), "VERSION=")+len("VERSION=")] = n
		return bytes
	}
	g := guest{name: "version", wasm: versioned(1), requests: []any{"test.echo"}}
	m, err := s.load(ctx, g)
	if err != nil {
		return shown(err)
	}
	defer m.EndRun(ctx, "attack")
	s.during = func() { // what the guest's own call of test.echo does
		for n := byte(2); n < 5; n++ {
			if err := s.write("version", g, versioned(n)); err != nil {
				panic(err)
			}
			if changed, err := m.Reload(ctx, func(string) error { return nil }); err != nil || !changed {
				panic(fmt.Sprint("not replaced: ", err))
			}
		}
		s.during = nil
	}
	for range 2 {
		v, err := s.hook(ctx, m, nil)
		if err != nil || v.Delay != time.Millisecond {
			return fmt.Sprintf("a run that began with version 1 got %s: %v", v.Delay, err)
		}
	}
	m.EndRun(ctx, "attack")
	if v, err := s.hook(ctx, m, nil); err != nil || v.Delay != 4*time.Millisecond || m.Versions() != 1 {
		return fmt.Sprintf("the next run got version %s of %d: %v", v.Delay, m.Versions(), err)
	}
	return "no run saw two versions"
}

// marks has sixteen callers at once write their own number into memory, a global
// and the arguments, and look whether it is still theirs.
func marks(ctx context.Context, s *site) string {
	m, err := s.load(ctx, theProbe())
	if err != nil {
		return shown(err)
	}
	const at = 0x20000
	var wg sync.WaitGroup
	answers := make(chan string, 16)
	for i := range cap(answers) {
		wg.Go(func() {
			answers <- guarded(func() string {
				for range 10 {
					script := new(probe.Script).Do(probe.GetGlobal).Do(probe.Load, at).Do(probe.SetGlobal, 100+i).Do(probe.Store, at, 100+i).Do(probe.GetGlobal).Do(probe.Load, at)
					v, err := s.hook(ctx, m, script.Image())
					if err != nil {
						return err.Error()
					}
					got, _, err := script.Results(v.Body)
					if err != nil || got[0] != 1 || got[1] != 0 || got[4] != int64(100+i) || got[5] != int64(100+i) {
						return fmt.Sprintf("caller %d saw %v", i, got)
					}
				}
				return ""
			})
		})
	}
	wg.Wait()
	close(answers)
	for a := range answers {
		if a != "" {
			return a
		}
	}
	return "each saw its own"
}

func canceled(ctx context.Context, s *site) string {
	g := theProbe()
	g.limits = sandbox.Limits{Deadline: time.Minute}
	m, err := s.load(ctx, g)
	if err != nil {
		return shown(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	time.AfterFunc(deadline, cancel)
	s.begin()
	_, err = s.hook(ctx, m, new(probe.Script).Do(probe.Spin).Do(probe.Call, "test.echo", 0, 0, 0, 0).Image())
	if len(s.calls) > 0 {
		return "a canceled run went on"
	}
	return answered(err, abi.Continue.String())
}
