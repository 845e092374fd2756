package journal

import (
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Answer returns the answer of a node that was taken from the cache; nil where none was, and the node works.
func (l *Lane) Answer() *Entry {
	if l.silent() || l.tape.mode == Recording {
		return nil
	}
	switch {
	case l.tape.mode == Rehearsing:
		e := l.search(Answer, func(*Entry) (string, bool) { return "", true })
		if e != nil {
			l.write(*e)
		}
		return e
	case l.tape.mode == Resuming, l.tape.parted():
		l.skipEvents()
	}
	l.Warnings()
	if l.next < len(l.known) && l.known[l.next].Kind == Answer {
		l.await()
		e := l.consume()
		if l.Again() {
			l.write(*e)
		}
		return e
	}
	return nil
}

// Warnings has the observer told again of warnings about a node's answer and whether it is kept, which nobody asks for
// in a run that is done again.
func (l *Lane) Warnings() {
	if !l.Again() || l.tape.mode != Replaying {
		return
	}
	for {
		if l.next >= len(l.known) || l.known[l.next].Kind != Told || l.known[l.next].Event.Type != kernel.NodeWarned {
			return
		}
		l.await()
		l.retell(l.consume())
	}
}

// retell tells of an event as it was.
func (l *Lane) retell(e *Entry) {
	l.write(Entry{Kind: Told, Event: e.Event})
	if o := l.tape.run.Observer; o != nil {
		o(e.Event)
	}
}

// Took notes that a node's answer was taken from the cache.
func (l *Lane) Took(v kernel.Value, labels *kernel.Labels, cached *kernel.Cached) {
	if !l.silent() {
		l.write(Entry{Kind: Answer, Value: v, Labels: labels, Cached: cached})
	}
}

// Ending returns the error that the lane's node ended with then, if that is what comes next in a run that is done as it was.
func (l *Lane) Ending() *kernel.Error {
	if l.silent() || l.tape.mode != Replaying || l.next >= len(l.known) || l.known[l.next].Kind != Done {
		return nil
	}
	return l.known[l.next].Failed
}

// Ready waits until it is the lane's turn.
func (l *Lane) Ready() {
	if !l.silent() {
		l.await()
	}
}

// Restored returns what became of the node before, if it is not to work again.
func (l *Lane) Restored() *Entry {
	if l.silent() {
		return nil
	}
	switch l.tape.mode {
	case Resuming:
	case Rehearsing:
		if l.tape.opts.Keep == nil || strings.Contains(l.path, "/") || !l.tape.opts.Keep(l.path) {
			return nil
		}
	default:
		return nil
	}
	for i := len(l.known) - 1; i >= 0; i-- {
		if e := l.known[i]; e.Kind == Done {
			l.next = len(l.known)
			if l.Again() {
				l.write(*e)
			}
			return e
		}
	}
	return nil
}

// Done notes what became of the lane's node.
func (l *Lane) Done(e Entry) {
	if l.silent() {
		return
	}
	e.Kind = Done
	l.leave(0) // what panicked did not
	switch l.tape.mode {
	case Replaying:
		is := e.Brief()
		_, _ = l.expect(Done, is, func(was *Entry) (string, bool) { return is, same(was, &e) })
	case Rehearsing:
		l.search(Done, func(was *Entry) (string, bool) { return "", true })
	}
	l.write(e)
}

// note is differ of what leaves the rest comparable.
func (t *Tape) note(d Difference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.differences = append(t.differences, d)
}

// same reports whether two ends of a node are alike.
func same(a, b *Entry) bool {
	return a.State == b.State && code(a.Failed) == code(b.Failed) && (a.Failed == nil || a.Failed.What == b.Failed.What && a.Failed.Why == b.Failed.Why) && Equal(a.Value, b.Value) &&
		a.Labels.String() == b.Labels.String()
}

// Ended reports whether two runs ended alike.
func (e *Entry) Ended(other *Entry) bool {
	return e.Status == other.Status && code(e.Failed) == code(other.Failed) && Equal(e.Value, other.Value)
}

// Equal reports whether two values are the same JSON.
func Equal(a, b kernel.Value) bool {
	x, errX := kernel.EncodeJSON(a)
	y, errY := kernel.EncodeJSON(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
