package extension

import (
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// Trace is all that went into and out of one call of a module: what it takes to
// make the call again without the host that it was made in.
type Trace struct {
	Point   abi.Point
	Input   kernel.Value
	Body    []byte // beside the input
	Config  kernel.Value
	Calls   []HostCall
	Clock   []time.Time // what it read
	Random  []byte      // all that was drawn
	Log     []LogLine
	Outcome *sandbox.Outcome // its usage is valid beside an error, too
	Err     error
}

// HostCall is a call that a guest made through the door, and what came of it.
type HostCall struct {
	Op    string
	Args  map[string]any
	Body  []byte
	Reply *kernel.PortReply
	Err   error
}

// LogLine is a line that a guest logged, as it is.
type LogLine struct {
	Level abi.Level
	Text  string
}

// The methods note what a guest does; on nil they do nothing.

func (t *Trace) called(c HostCall) {
	if t != nil {
		t.Calls = append(t.Calls, c)
	}
}

func (t *Trace) logged(level abi.Level, line string) {
	if t != nil {
		t.Log = append(t.Log, LogLine{Level: level, Text: line})
	}
}

func (t *Trace) read(now time.Time) {
	if t != nil {
		t.Clock = append(t.Clock, now)
	}
}

func (t *Trace) drew(p []byte) {
	if t != nil {
		t.Random = append(t.Random, p...)
	}
}
