package expr

import (
	"time"
)

// machine is one evaluation.
type machine struct {
	scope     Scope
	steps     int // left
	textLimit int
	slots     []value // of comprehensions' variables
	stack     []value // of arguments
	clock     value   // the time, once it was asked for
}

// now is the time of the evaluation: one reading, however often it is asked for.
func (m *machine) now() value {
	if m.clock.kind == absent {
		t := time.Now
		if c, ok := m.scope.(interface{ Now() time.Time }); ok {
			t = c.Now
		}
		m.clock = value{kind: kindInstant, ref: t().UTC().Round(0).Truncate(time.Microsecond)}
	}
	return m.clock
}

// isMissing is the fault of using what the scope does not have.
func isMissing(v value) *fault {
	return wrong(v.text()+" is missing", "correct the name, or write default("+v.text()+", ...)")
}
