package engine

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// opAcquire is the operation that a lock is acquired with.
const opAcquire = "lock.acquire"

// releaseTime is how long giving a lock back may take; what is not given back ends by itself.
const releaseTime = 5 * time.Second

// locked runs f while the run holds a lock, or none where spec is nil; labels are of what its name is made of. f's context ends when the lock is lost.
func (r *run) locked(ctx context.Context, door *ports.Door, spec *pipeline.Lock, scope *pipeline.Scope, node string, labels *kernel.Labels, f func(context.Context) error) (err error) {
	if spec == nil {
		return f(ctx)
	}
	lease, err := r.acquireLock(ctx, door, spec, scope, node, labels)
	if err != nil {
		return kernel.At(err, kernel.Where{File: spec.Where.File, Line: spec.Where.Line, Column: spec.Where.Column, Node: node})
	}
	held, cancel := lease.Context(ctx)
	defer func() {
		cancel()
		err = r.releaseLock(ctx, lease, node, err)
	}()
	return f(held)
}

func (r *run) acquireLock(ctx context.Context, door *ports.Door, spec *pipeline.Lock, scope *pipeline.Scope, node string, labels *kernel.Labels) (kernel.Lease, error) {
	name, err := spec.Name.Render(scope)
	if err != nil {
		return nil, err
	}
	args := map[string]any{"name": name}
	if spec.Timeout != nil {
		args["timeout"] = number(*spec.Timeout)
	}
	if spec.TTL > 0 {
		args["ttl"] = number(spec.TTL.Seconds())
	}
	if spec.Permits > 0 {
		args["permits"] = kernel.Number(int64(spec.Permits))
	}
	reply, err := door.Call(ports.WithScoped(ctx), &kernel.PortCall{Op: opAcquire, Args: args, Node: node, Labels: labels, Caller: kernel.Caller{Principal: r.context.Principal}})
	if err != nil {
		return nil, err
	}
	if answer, _ := reply.Value.(map[string]any); r.tape.Again() && answer["acquired"] != false {
		return recordedLease{name, journal.LaneFrom(ctx)}, nil
	}
	answer, _ := reply.Value.(map[string]any)
	id, _ := answer["lease"].(string)
	if found := r.context.Leases.Find("", name, id); id != "" && len(found) == 1 {
		return found[0], nil
	}
	if answer["acquired"] == false {
		return nil, &kernel.Error{Code: kernel.CodeLockHeld, What: "the lock " + kernel.Quote(name) + " is held", Why: "it was not given back within the lock's timeout", Fix: "raise the timeout, or see who holds it: hexdag locks who " + kernel.Quote(name)}
	}
	return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the lock " + kernel.Quote(name) + " was not acquired", Why: "a hook answered in place of the port", Fix: "have it let lock.acquire pass"}
}

// recordedLease stands for a lock in a run that is done again: nobody else works.
type recordedLease struct {
	name string
	lane *journal.Lane
}

func (l recordedLease) ID() string          { return "" }
func (l recordedLease) Name() string        { return l.name }
func (l recordedLease) Fence() kernel.Fence { return kernel.Fence{} }
func (l recordedLease) Valid() bool         { return true }

func (l recordedLease) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// Release fails where the lock was lost then.
func (l recordedLease) Release(context.Context) error {
	if was := l.lane.Ending(); was != nil && was.Code == kernel.CodeLockLost {
		return was
	}
	return nil
}

// releaseLock gives a lock back. Work that ended after it was lost has failed: somebody else may have worked meanwhile.
func (r *run) releaseLock(ctx context.Context, lease kernel.Lease, node string, worked error) error {
	r.context.Leases.Remove(lease)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	err := lease.Release(ctx)
	switch {
	case err == nil:
	case kernel.CodeOf(err) == kernel.CodeLockLost && worked == nil:
		return err
	default:
		kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeWarned, Node: node, Reason: err.Error()})
	}
	return worked
}

func number(f float64) kernel.Value {
	return json.Number(strconv.FormatFloat(f, 'f', -1, 64))
}
