package journal

import (
	"github.com/hexdag/hexdag/host/kernel"
)

// Guest is a call of a module.
type Guest struct {
	Module, Digest, Point string
}

// Took is what a module's call took of its run's budgets. Of lines and bytes, of which most runs have no limit, it is 0 where there is none.
type Took struct {
	Fuel     int64 `json:"fuel,omitempty"`
	LogLines int64 `json:"log_lines,omitempty"`
	BytesIn  int64 `json:"bytes_in,omitempty"`
	BytesOut int64 `json:"bytes_out,omitempty"`
}

// Return is the call of a module that has returned, and did nothing else meanwhile.
type Return struct {
	Lane string
	Guest
	Took
	Usage   *kernel.UsageSnapshot
	Verdict string
	Failed  *kernel.Error
}

func (r *Return) entry() Entry {
	return Entry{Kind: Ran, Lane: r.Lane, Module: r.Module, Digest: r.Digest, Point: r.Point, Usage: r.Usage, Took: r.Took, Verdict: r.Verdict, Failed: r.Failed}
}

// entering is a module's call that is under way.
type entering struct {
	guest   Guest
	usage   *kernel.UsageSnapshot
	written bool // its beginning
}

// Enter notes that a module is called. An error is why that was stopped then: how far a module comes in its time is
// not the same twice. That it was called is written once it does something itself; else, all at once in the end.
func (l *Lane) Enter(g Guest) error {
	if l.silent() {
		return nil
	}
	usage := l.usage
	if l.tape.mode == Resuming || l.tape.mode == Replaying {
		e := Entry{Kind: Enter, Module: g.Module, Digest: g.Digest, Point: g.Point, Usage: usage}
		known, err := l.entered(&e)
		if err != nil || known {
			return err
		}
		usage = e.Usage
	}
	l.enter(entering{guest: g, usage: usage})
	return nil
}

// enter has the lane be in one call of a module more, leave in so many.
func (l *Lane) enter(e entering) {
	if l.entering = append(l.entering, e); len(l.entering) == 1 && l.tape.mode == Replaying {
		l.tape.works(1)
	}
}

func (l *Lane) leave(in int) {
	if len(l.entering) > 0 && in == 0 && l.tape.mode == Replaying {
		l.tape.works(-1)
	}
	l.entering = l.entering[:in]
}

// entered goes past what is known of the beginning of a module's call, and reports whether that is written already.
func (l *Lane) entered(e *Entry) (known bool, err error) {
	if l.tape.mode == Resuming {
		l.skipEvents()
	}
	if l.next < len(l.known) && l.known[l.next].Kind == Ran && l.known[l.next].Module == e.Module && l.known[l.next].Point == e.Point {
		l.await()
		if was := l.known[l.next]; was.Failed != nil && unlike(was.Failed) {
			l.pass(l.next + 1)
			return true, was.Failed
		}
		return false, nil
	}
	what := e.Module + "." + e.Point
	was, err := l.expect(Enter, what, func(was *Entry) (string, bool) {
		return what, was.Op == "" && was.Module == e.Module && was.Point == e.Point
	})
	if was == nil {
		return false, err
	}
	e.Usage = was.Usage
	if left := l.stopped(); left != nil {
		if l.Again() {
			l.write(*e)
		}
		return true, left
	}
	if l.Again() {
		l.write(*e)
	}
	l.enter(entering{written: true})
	return true, nil
}

// unlike reports whether a module's call failed for what is not the same twice: its time, or a limit, which can be one of all that
// its tenant does.
func unlike(e *kernel.Error) bool { return ended(e) || e.Code == kernel.CodeLimit }

// stopped returns the failure of the module's call that has just begun, if its time was up, and goes past all
// that it did.
func (l *Lane) stopped() error {
	depth := 0
	for i, e := range l.known[l.next:] {
		switch e.Kind {
		case Enter:
			if e.Op == "" {
				depth++
			}
		case Leave:
			if depth--; depth >= 0 {
				continue
			}
			if e.Failed == nil || !unlike(e.Failed) {
				return nil
			}
			l.pass(l.next + i + 1)
			return e.Failed
		}
	}
	return nil
}

// pass goes past known entries, up to an index, as they are. What they count for they count for again.
func (l *Lane) pass(to int) {
	for l.next < to {
		l.await()
		e := l.consume()
		switch e.Kind {
		case Call:
			l.calls++
		case Decision:
			l.tape.run.CountPort()
		case Reply:
			for _, c := range e.Charges {
				l.tape.run.Recharge(c)
			}
		}
		if l.Again() {
			l.write(*e)
		}
	}
}

// Leave notes that a module has returned.
func (l *Lane) Leave(g Guest, took Took, verdict string, failed error) error {
	if l.silent() {
		return failed
	}
	last := len(l.entering) - 1
	begun := l.entering[last]
	l.leave(last)
	is := Return{Lane: l.path, Guest: g, Usage: begun.usage, Took: took, Verdict: verdict, Failed: failure(failed)}
	if l.tape.mode == Resuming || l.tape.mode == Replaying {
		known, err := l.left(&is, begun.written)
		if err != nil {
			return err
		}
		if known && !l.Again() {
			return failed
		}
	}
	if begun.written {
		l.append(Entry{Kind: Leave, Module: g.Module, Point: g.Point, Took: took, Verdict: verdict, Failed: is.Failed})
	} else {
		l.tape.sink.AppendRan(is)
	}
	return failed
}

// left goes past what is known of the end of a module's call, and reports whether anything is.
func (l *Lane) left(r *Return, written bool) (known bool, err error) {
	is := r.entry()
	if written {
		is.Kind = Leave
	}
	what := is.Brief()
	e, err := l.expect(is.Kind, what, func(was *Entry) (string, bool) {
		return what, was.Module == r.Module && was.Fuel == r.Fuel && was.Verdict == r.Verdict && code(was.Failed) == code(r.Failed)
	})
	return e != nil, err
}

func code(e *kernel.Error) kernel.Code {
	if e == nil {
		return ""
	}
	return e.Code
}
