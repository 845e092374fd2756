package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// maxListed is how many holders one call of lock.holder returns at most.
const maxListed = 100

// Ops returns the port's methods for the door. All are about the locks of the tenant of
// the run that calls.
//
//	lock.acquire {name, timeout?, ttl?, permits?, detached?} -> {acquired, lease, token, expires_in} or {acquired: false, retry_after_ms?}
//	lock.release {name, lease?} -> {released}
//	lock.renew {name, lease?} -> {renewed, expires_in}
//	lock.is_locked {name} -> {locked}
//	lock.holder {name} -> {locked, holders: [{principal, run_id, pipeline, node, module, token, permits, since, expires_in}]}
//
// Times are numbers of seconds but retry_after_ms, after which a permit ends if nobody renews it. Without timeout, acquire waits until the caller's time is up; 0 is not at
// all. The lease is renewed while the run lives and released when it ends or is suspended. A detached one is
// neither: it ends by its ttl, which makes permits a number of calls in a time.
//
// A lease is of the run and, where a module acquired it, of the module: nobody else can release or renew it. Which
// of several leases on one name is meant, lease says.
//
// A capability can restrict name.
func (l *Locks) Ops() []ports.Op {
	name := []string{"name"}
	return []ports.Op{
		{Name: "lock.acquire", Guards: name, Func: l.opAcquire},
		{Name: "lock.release", Guards: name, Func: l.opRelease},
		{Name: "lock.renew", Guards: name, Func: l.opRenew},
		{Name: "lock.is_locked", Guards: name, Func: l.opIsLocked},
		{Name: "lock.holder", Guards: name, Func: l.opHolder},
	}
}

func (l *Locks) opAcquire(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "name", "timeout", "ttl", "permits", "detached")
	if err != nil {
		return nil, err
	}
	lease, err := l.Acquire(ctx, a.run.Tenant, a.name, Ask{Owner: a.owner(call), TTL: a.ttl, Permits: a.permits, Wait: a.timeout})
	var held *kernel.Error
	if errors.As(err, &held) && held.Code == kernel.CodeLockHeld {
		value := map[string]any{"acquired": false}
		if held.RetryAfter > 0 {
			value["retry_after_ms"] = kernel.Number((held.RetryAfter + time.Millisecond - 1).Milliseconds())
		}
		return reply(value)
	}
	if err != nil {
		return nil, err
	}
	if a.detached && !a.run.CountCall("lock.detached", maxDetached) {
		return nil, tooMany(ctx, a, lease, maxDetached)
	}
	if !a.detached {
		if !a.run.Leases.Add(a.module, lease, l.opts.MaxHeld) {
			return nil, tooMany(ctx, a, lease, l.opts.MaxHeld)
		}
		lease.Keep()
	}
	return reply(map[string]any{"acquired": true, "lease": lease.ID(), "token": number(lease.Token()), "expires_in": seconds(lease.Left())})
}

// maxDetached is how many locks that outlive it a run takes.
const maxDetached = 10_000

// tooMany gives a lease back that the run cannot hold.
func tooMany(ctx context.Context, a *arguments, lease *Lease, most int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease.TTL())
	defer cancel()
	_ = lease.Release(ctx) // what is not released ends by itself
	return &kernel.Error{Code: kernel.CodeLimit, What: "the lock " + kernel.Quote(a.name) + " was not acquired", Why: fmt.Sprintf("a run holds at most %d locks (max_held), and none once it has ended", most), Fix: "release those that are not needed"}
}

func (l *Locks) opRelease(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "name", "lease")
	if err != nil {
		return nil, err
	}
	lease, err := a.find()
	if err != nil {
		return nil, err
	}
	a.run.Leases.Remove(lease)
	if err := lease.Release(ctx); err != nil {
		return nil, err
	}
	return reply(map[string]any{"released": true})
}

func (l *Locks) opRenew(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "name", "lease")
	if err != nil {
		return nil, err
	}
	found, err := a.find()
	if err != nil {
		return nil, err
	}
	lease, _ := found.(*Lease)
	if err := lease.Renew(ctx); err != nil {
		return nil, err
	}
	return reply(map[string]any{"renewed": true, "expires_in": seconds(lease.Left())})
}

func (l *Locks) opIsLocked(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "name")
	if err != nil {
		return nil, err
	}
	locked, err := l.IsLocked(ctx, a.run.Tenant, a.name)
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"locked": locked})
}

func (l *Locks) opHolder(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "name")
	if err != nil {
		return nil, err
	}
	list, err := l.Holders(ctx, a.run.Tenant, a.name, maxListed)
	if err != nil {
		return nil, err
	}
	holders := make([]any, len(list))
	for i, h := range list {
		holders[i] = map[string]any{
			"principal": h.Owner.Principal, "run_id": h.Owner.Run, "pipeline": h.Owner.Pipeline, "node": h.Owner.Node, "module": h.Owner.Module,
			"token": number(h.Fence), "permits": number(uint64(h.Permits)), "since": h.Owner.Since.UTC().Format(time.RFC3339Nano), "expires_in": seconds(h.Left),
		}
	}
	return reply(map[string]any{"locked": len(list) > 0 && len(list) >= min(list[0].Permits, maxListed), "holders": holders})
}

func reply(value map[string]any) (*kernel.PortReply, error) {
	return &kernel.PortReply{Value: value}, nil
}

func number(n uint64) kernel.Value { return json.Number(strconv.FormatUint(n, 10)) }

func seconds(d time.Duration) kernel.Value {
	return json.Number(strconv.FormatFloat(d.Round(time.Millisecond).Seconds(), 'f', -1, 64))
}

// arguments are a call's, and who calls.
type arguments struct {
	run          *kernel.RunContext
	module       string // the innermost of the callers; "" is the pipeline itself
	name, lease  string
	timeout, ttl time.Duration
	permits      int
	detached     bool
}

// begin reads the arguments of a call, which takes those that are known.
func begin(ctx context.Context, call *kernel.PortCall, known ...string) (*arguments, error) {
	a := &arguments{run: kernel.RunFrom(ctx), timeout: Forever}
	if a.run == nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: call.Op + " was called outside a run"}
	}
	if n := len(call.Caller.Modules); n > 0 {
		a.module = call.Caller.Modules[n-1].Name
	}
	for name := range call.Args {
		if !slices.Contains(known, name) {
			return nil, badCall(call, "unknown argument %s; it takes %s", kernel.Quote(name), strings.Join(known, ", "))
		}
	}
	if len(call.Body) > 0 {
		return nil, badCall(call, "it takes no body")
	}
	for name, value := range call.Args {
		if value == nil && name != "name" {
			continue
		}
		if err := a.read(call, name, value); err != nil {
			return nil, err
		}
	}
	return a, checkName(a.name)
}

func (a *arguments) read(call *kernel.PortCall, name string, value any) error {
	ok := true
	switch name {
	case "name":
		a.name, ok = value.(string)
	case "lease":
		a.lease, ok = value.(string)
	case "detached":
		a.detached, ok = value.(bool)
	case "permits":
		text, _ := value.(json.Number)
		n, err := strconv.ParseInt(string(text), 10, 32)
		if a.permits, ok = int(n), err == nil && n > 0; !ok {
			return badCall(call, "permits must be a number from 1")
		}
	case "timeout", "ttl":
		text, _ := value.(json.Number)
		s, err := text.Float64()
		const most = 10 * 365 * 24 * 60 * 60
		if err != nil || !(s >= 0 && s <= most) || name == "ttl" && s == 0 {
			return badCall(call, "%s must be a number of seconds", name)
		}
		d := time.Duration(s * float64(time.Second))
		if name == "ttl" {
			a.ttl = max(d, 1) // too short is said as that
		} else {
			a.timeout = d
		}
	}
	if !ok {
		return badCall(call, "%s has the wrong type", name)
	}
	return nil
}

// owner says who acquires.
func (a *arguments) owner(call *kernel.PortCall) Owner {
	return Owner{Principal: a.run.Principal, Run: a.run.RunID, Pipeline: a.run.PipelineName, Node: call.Node, Module: a.module}
}

// find returns the caller's lease.
func (a *arguments) find() (kernel.Lease, error) {
	switch found := a.run.Leases.Find(a.module, a.name, a.lease); len(found) {
	case 1:
		return found[0], nil
	case 0:
		who := "this run"
		if a.module != "" {
			who = "module " + kernel.Quote(a.module) + " in this run"
		}
		e := kernel.LockLost(a.name, who+" holds no such lease; nobody gives back what another holds")
		e.Fix = "acquire it first; a detached lease ends by its ttl alone"
		return nil, e
	default:
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: fmt.Sprintf("lock: %d leases on %s are held", len(found), kernel.Quote(a.name)), Why: "it is not said which one is meant", Fix: "pass lease, as lock.acquire returned it"}
	}
}

func badCall(call *kernel.PortCall, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: call.Op + ": " + fmt.Sprintf(format, args...)}
}
