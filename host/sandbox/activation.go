package sandbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// slice is how much fuel a guest gets at a time. Where it is used up, the guest
// calls the host: that is when deadlines are seen, and what lets the garbage
// collector of the process go on. It is less than a millisecond of work.
const slice = 100_000

// activation is the state of one call of an instance. It is kept between calls
// for its buffers.
type activation struct {
	context         callContext
	instance        *instance
	module          *Module
	call            Call
	limits          *Limits
	docs            [5]document
	written         [5]int // bytes that the guest has written to each document
	scratch         []byte
	lines           [2][]byte // unfinished lines of stdout and stderr
	usage           Usage
	start           time.Duration // on the clock
	deadline        time.Duration
	budgets         *kernel.Budgets // of the run
	tookIn, tookOut int64           // bytes that were taken from the budgets
	owed            int64           // fuel that imports took and the guest's counter does not show yet
	granted         int64           // fuel given to the guest
	work            int             // bytes that the import under way has moved
	virtual         int64           // nanoseconds of the clock that a guest without a grant sees
	started         bool            // this is no _initialize: the guest may reach the host
	stopped         error           // why the host stopped the guest
	called          lastCall        // of the host
	hostCtx         context.Context
	cancel          context.CancelFunc
}

type activationKey struct{}

// callContext carries the activation to the host functions. Its Value answers
// for the one key without walking the chain.
type callContext struct {
	context.Context
	a *activation
}

func (c *callContext) Value(key any) any {
	if _, ok := key.(activationKey); ok {
		return c.a
	}
	return c.Context.Value(key)
}

// stop is what the host panics with to unwind a guest; the reason is in the activation.
type stop struct{}

func (stop) Error() string { return "stopped by the host" }

func (a *activation) stopWith(err error) {
	a.stopped = err
	panic(stop{})
}

// contain turns a panic of the host's own code inside an import into the end of
// the call: the engine would tell it from a guest's trap no more.
func (a *activation) contain() {
	r := recover()
	if r == nil {
		return
	}
	if _, deliberate := r.(stop); !deliberate {
		internal := a.errorf(kernel.CodeInternal, fmt.Sprintf("the host panicked while a guest ran: %s", kernel.Quote(fmt.Sprint(r))), "", "report it; the guest was stopped")
		internal.Err = fmt.Errorf("%v\n%s", r, debug.Stack())
		a.stopped = internal
	}
	panic(stop{})
}

// begin prepares an instance for a call.
func (a *activation) begin(ctx context.Context, i *instance, call *Call) {
	a.context.Context = ctx
	a.call = *call
	a.written = [5]int{}
	a.lines[0], a.lines[1] = a.lines[0][:0], a.lines[1][:0]
	a.usage, a.tookIn, a.tookOut, a.owed = Usage{}, 0, 0, 0
	if a.budgets = call.Budgets; a.budgets == nil {
		a.budgets = &unlimited
	}
	a.start = clock()
	a.deadline = a.start + a.limits.Deadline
	a.virtual, a.stopped, a.called, a.hostCtx, a.cancel = 0, nil, lastCall{}, nil, nil
	a.started = call.Point != abi.ExportInit
	in := &a.docs[abi.DocInput]
	if a.started {
		in.put(call.Input)
		in.text, in.body = call.Text, call.Body
		if call.Config != nil {
			a.docs[abi.DocConfig].put(call.Config)
		}
	}
	a.granted = a.takeFuel(slice)
	if i.fuel != nil {
		i.fuel.Set(uint64(a.granted))
	}
}

// end frees what the call held beside its buffers.
func (a *activation) end() {
	if a.cancel != nil {
		a.cancel()
	}
	a.usage.Wall = clock() - a.start
	a.usage.Memory = a.instance.memory.length
	a.context.Context, a.call, a.hostCtx, a.cancel = nil, Call{}, nil, nil
	for n := range a.docs {
		a.docs[n].reset()
	}
}

// unlimited are the budgets of a call that has none.
var unlimited kernel.Budgets

// clockStart is where the clock begins, which is read more quickly than the time.
var clockStart = time.Now()

func clock() time.Duration { return time.Since(clockStart) }

// takeFuel takes up to n units from the call's limit and from the run's budget.
func (a *activation) takeFuel(n int64) int64 {
	return a.budgets.Fuel.Take(min(n, a.limits.Fuel-a.granted))
}

// refill is the guest's call for more fuel: left, which is below zero, is what
// it has overdrawn. It is also the point at which a guest is stopped.
func (a *activation) refill(left int64) int64 {
	left, a.owed = left-a.owed, 0
	a.checkTime()
	runtime.Gosched() // a guest that computes yields to those that answer
	want := max(slice, -left)
	got := a.takeFuel(want)
	a.granted += got
	if left+got < 0 {
		a.stopWith(a.outOfFuel())
	}
	return left + got
}

// checkTime stops the guest where its deadline or its caller's has passed.
func (a *activation) checkTime() {
	if err := a.overdue(); err != nil {
		a.stopWith(err)
	}
}

func (a *activation) overdue() error {
	if clock() > a.deadline {
		return a.errorf(kernel.CodeTimeout, fmt.Sprintf("the guest ran past its deadline in %s", a.call.Point), fmt.Sprintf("limits.deadline is %s", a.limits.Deadline), "raise it, or do less in one call")
	}
	err := a.context.Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return a.errorf(kernel.CodeTimeout, fmt.Sprintf("the guest was stopped in %s", a.call.Point), "the deadline of the node or the run passed: "+context.Cause(a.context.Context).Error(), "")
	}
	canceled := a.errorf(kernel.CodeCanceled, fmt.Sprintf("the guest was stopped in %s", a.call.Point), context.Cause(a.context.Context).Error(), "")
	canceled.Err = err
	return canceled
}

func (a *activation) outOfFuel() error {
	if a.granted >= a.limits.Fuel {
		return a.errorf(kernel.CodeLimit, fmt.Sprintf("the guest ran out of fuel in %s", a.call.Point), fmt.Sprintf("limits.fuel is %d", a.limits.Fuel), "raise it, or do less in one call")
	}
	return a.errorf(kernel.CodeLimit, fmt.Sprintf("the guest ran out of fuel in %s", a.call.Point), fmt.Sprintf("the budget of its run or tenant is used up; this call had %d", a.granted), "raise the budget")
}

func (a *activation) errorf(code kernel.Code, what, why, fix string) *kernel.Error {
	return &kernel.Error{Code: code, What: what, Where: kernel.Where{Module: a.module.ID()}, Why: why, Fix: fix}
}

// charge takes what an import did from the fuel, a constant and one unit for each
// 16 bytes of work; and the bytes from what the call and its run may move. The
// guest owes a little of it, for telling it costs more than that, and notices the
// rest at its next check.
func (a *activation) charge() {
	if a.owed += importFuel + int64(a.work)/16; a.owed > maxOwed && a.instance.fuel != nil {
		fuel := a.instance.fuel
		fuel.Set(uint64(int64(fuel.Get()) - a.owed))
		a.owed = 0
	}
	a.chargeBytes("bytes_in", "took", a.usage.BytesIn, &a.tookIn, a.limits.BytesIn, a.budgets.BytesIn)
	a.chargeBytes("bytes_out", "gave", a.usage.BytesOut, &a.tookOut, a.limits.BytesOut, a.budgets.BytesOut)
}

func (a *activation) chargeBytes(name, did string, used int64, taken *int64, limit int64, budget *kernel.Budget) {
	n := used - *taken
	if n == 0 {
		return
	}
	*taken = used
	var why, fix string
	switch {
	case used > limit:
		why, fix = fmt.Sprintf("limits.%s is %d", name, limit), "raise it, or move less in one call"
	case budget.Take(n) < n:
		why, fix = fmt.Sprintf("the budget %s of its run or tenant is used up", name), "raise run_limits."+name
	default:
		return
	}
	a.stopWith(a.errorf(kernel.CodeLimit, fmt.Sprintf("the guest %s more bytes than it may in %s", did, a.call.Point), why, fix))
}

// maxOwed is how much fuel a guest may owe at a time.
const maxOwed = 4096

// importFuel is what any call of an import costs.
const importFuel = 64

// settle closes the account after the guest has returned. A guest that has
// overdrawn its last slice pays now, or did not have the fuel.
func (a *activation) settle() error {
	left := int64(a.instance.fuel.Get()) - a.owed
	a.owed = 0
	if left < 0 {
		got := a.takeFuel(-left)
		a.granted += got
		if left += got; left < 0 {
			a.usage.Fuel = a.granted
			return a.outOfFuel()
		}
	}
	a.budgets.Fuel.Return(left)
	a.usage.Fuel = a.granted - left
	return a.stopped
}

// guestKey marks the context of what the host does for a guest.
type guestKey struct{}

func onBehalfOfAGuest(ctx context.Context) bool { return ctx.Value(guestKey{}) != nil }

// hostContext returns the context of what the host does for the guest: it ends
// with the call's deadline.
func (a *activation) hostContext() context.Context {
	if a.hostCtx == nil {
		parent := context.WithValue(a.context.Context, guestKey{}, true)
		a.hostCtx, a.cancel = context.WithDeadlineCause(parent, clockStart.Add(a.deadline), errDeadline)
	}
	return a.hostCtx
}

var errDeadline = errors.New("deadline of the call")

// ending says how a guest ended that gave no verdict: from the host's own state,
// never from what the guest can forge, such as an exit code.
func (a *activation) ending(err error) error {
	a.flushLines()
	a.usage.Fuel = a.granted
	if a.stopped != nil {
		return a.stopped
	}
	if overdue := a.overdue(); overdue != nil && a.hostCtx != nil {
		return overdue
	}
	if errors.Is(err, errTooDeep) {
		return a.errorf(kernel.CodeLimit, fmt.Sprintf("the guest's calls nest too deeply in %s", a.call.Point), err.Error(), "recurse less")
	}
	e := a.errorf(kernel.CodeTrap, fmt.Sprintf("the guest trapped in %s", a.call.Point), firstLine(err)+within(err)+a.called.String(), "its log lines may say more")
	e.Err = err
	if a.instance.memory.refused {
		e.Fix = fmt.Sprintf("it was refused memory past limits.memory, %d bytes: raise it, or use less", a.instance.memory.limit)
	}
	return e
}
