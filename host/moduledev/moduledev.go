// Package moduledev is the loop in which a module is written: whenever its source
// changes it is built and the same calls are made again, and what has changed in what
// comes of them is told.
package moduledev

import (
	"context"
	"time"
)

// Round is one build, with the calls that were made of what was built.
type Round struct {
	Built time.Duration // what the build took
	Ran   time.Duration // from the build's end to that of the last call, compiling included
	Calls []Call
	Err   error // of the build, or of a module that cannot be loaded
}

// Loop is what to do in each round.
type Loop struct {
	Dir string // of the source, with all that is below
	// Build makes the module's file, and Run the calls of it.
	Build func(ctx context.Context) (file string, err error)
	Run   func(ctx context.Context, file string) ([]Call, error)
	// Report is given each round, with the changes since the last one that ran.
	Report func(r *Round, changes []Change)
	// Wait returns when it is time to look for changes, or the context is done. Two looks
	// that see the same, after one that saw a change, start a round: whoever saves
	// several files has ended by then.
	Wait func(ctx context.Context)
}

// Run does a round, and another after each change, until the context is done. It
// returns an error if the source cannot be looked at.
func Run(ctx context.Context, l Loop) error {
	seen, err := look(l.Dir)
	if err != nil {
		return err
	}
	last, built := l.round(ctx, nil), seen
	for l.Wait(ctx); ctx.Err() == nil; l.Wait(ctx) {
		now, err := look(l.Dir)
		if err != nil {
			return err
		}
		stable := now.same(seen)
		if seen = now; stable && !now.same(built) {
			built = now
			last = l.round(ctx, last)
		}
	}
	return nil
}

// round does one round and returns the calls to compare the next with.
func (l *Loop) round(ctx context.Context, last []Call) []Call {
	r := &Round{}
	start := time.Now()
	file, err := l.Build(ctx)
	r.Built = time.Since(start)
	if r.Err = err; err == nil {
		start = time.Now()
		r.Calls, r.Err = l.Run(ctx, file)
		r.Ran = time.Since(start)
	}
	if ctx.Err() != nil {
		return last // it was stopped, which is no result
	}
	l.Report(r, changes(last, r.Calls))
	if r.Err != nil {
		return last
	}
	return r.Calls
}
