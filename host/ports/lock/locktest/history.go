package locktest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// History is what holders of one lock saw, and when: it is linearizable if there is an order of what
// happened, within the times at which it may have, in which at most one holds the lock, tokens rise, and the resource that
// takes tokens refuses those that are smaller than it has seen. It may be used by several goroutines.
type History struct {
	begun time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
	// ends are the leases that ended by their time, at some moment after it.
	ends []porcupine.Operation
	seen uint64 // of the resource that takes tokens
}

// NewHistory begins a history.
func NewHistory() *History { return &History{begun: time.Now()} }

type opKind int

const (
	opAcquire opKind = iota
	opRelease
	opEnd // the lease ended, or had ended
	opWrite
)

// input is what was asked with a token; the output is whether it was done.
type input struct {
	kind  opKind
	token uint64
}

func (h *History) at(t time.Time) int64 { return t.Sub(h.begun).Nanoseconds() }

func (h *History) add(client int, in input, done bool, call, returned time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: done, Call: h.at(call), Return: h.at(returned)})
}

// acquired notes a lease that was to be had.
func (h *History) acquired(client int, token uint64, call time.Time) {
	h.add(client, input{opAcquire, token}, true, call, time.Now())
}

// released notes a lease that was given back while it was held.
func (h *History) released(client int, token uint64, call time.Time) {
	h.add(client, input{opRelease, token}, true, call, time.Now())
}

// ended notes that a lease ended at some moment from then on.
func (h *History) ended(client int, token uint64, from time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends = append(h.ends, porcupine.Operation{ClientId: client, Input: input{opEnd, token}, Output: true, Call: h.at(from)})
}

// write writes to the resource with a token.
func (h *History) write(client int, token uint64) {
	call := time.Now()
	h.mu.Lock()
	done := token >= h.seen
	if done {
		h.seen = token
	}
	h.mu.Unlock()
	h.add(client, input{opWrite, token}, done, call, time.Now())
}

// acquires returns how many leases were acquired, and how many writes of stale holders were refused.
func (h *History) acquires() (leases, refused int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range h.ops {
		switch in := op.Input.(input); {
		case in.kind == opAcquire:
			leases++
		case in.kind == opWrite && op.Output == false:
			refused++
		}
	}
	return leases, refused
}

// lockState is the lock and the resource: whose token holds it (0: none), the last token, and the largest that was written with.
type lockState struct{ holder, last, seen uint64 }

// model returns the sequential lock; without exclusive, one that several may hold at once.
func model(exclusive bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return lockState{} },
		Step: func(state, in, out any) (bool, any) {
			s, op, done := state.(lockState), in.(input), out.(bool)
			switch op.kind {
			case opAcquire:
				ok := op.token > s.last && (s.holder == 0 || !exclusive)
				s.holder, s.last = op.token, max(s.last, op.token)
				return ok, s
			case opRelease:
				ok := s.holder == op.token || !exclusive
				s.holder = 0
				return ok, s
			case opEnd:
				if s.holder == op.token {
					s.holder = 0
				}
				return true, s
			case opWrite:
				ok := done == (op.token >= s.seen)
				s.seen = max(s.seen, op.token)
				return ok, s
			}
			return false, s
		},
		DescribeOperation: func(in, out any) string {
			op := in.(input)
			return fmt.Sprintf("%s %d: %v", [...]string{"acquire", "release", "end", "write"}[op.kind], op.token, out)
		},
	}
}

// String returns what happened, a line each, in the order in which it began.
func (h *History) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ops := slices.Concat(h.ops, h.ends)
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text strings.Builder
	for _, op := range ops {
		until := "..."
		if op.Return != 0 {
			until = time.Duration(op.Return).Round(time.Microsecond).String()
		}
		fmt.Fprintf(&text, "%12s %12s  client %d  %s\n", time.Duration(op.Call).Round(time.Microsecond), until, op.ClientId, model(true).DescribeOperation(op.Input, op.Output))
	}
	return text.String()
}

// checkTime is how long a check may take.
const checkTime = 30 * time.Second

// Check returns whether the history is linearizable. Without exclusive, two may hold the lock at
// once, and tokens and the resource alone are checked.
func (h *History) Check(exclusive bool) porcupine.CheckResult {
	h.mu.Lock()
	defer h.mu.Unlock()
	ops := slices.Clone(h.ops)
	if exclusive {
		for _, end := range h.ends {
			end.Return = h.nextAcquire(end.Input.(input).token, end.Call)
			ops = append(ops, end)
		}
	}
	return porcupine.CheckOperationsTimeout(model(exclusive), ops, checkTime)
}

// nextAcquire returns when the acquire of the next larger token returned, by which a lease that the token was of has ended: a
// bound that takes no order away in which that acquire is legal, and leaves the checker less to try.
func (h *History) nextAcquire(token uint64, call int64) int64 {
	next, at := uint64(math.MaxUint64), int64(math.MaxInt64)
	for _, op := range h.ops {
		if in := op.Input.(input); in.kind == opAcquire && in.token > token && in.token < next {
			next, at = in.token, op.Return
		}
	}
	return max(at, call)
}
