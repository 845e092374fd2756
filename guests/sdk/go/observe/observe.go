// Package observe makes a module one that is told of events. Importing it is what exports observe.
package observe

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

// Event is what observe gets.
type Event struct{}

// Func handles observe. hexdag.Continue says that the event is dealt with, hexdag.Deny that it is to
// be given up, hexdag.RetryAfter and hexdag.Fail that it is to be delivered again. It may see an event
// twice.
type Func func(*Event) hexdag.Verdict

// Serve runs the handler as the export does.
func (f Func) Serve() uint64 {
	return hexdag.Serve(func() hexdag.Verdict {
		if f == nil {
			return hexdag.Fail("unregistered", "no handler is registered: call observe.Handle from init")
		}
		return f(&Event{})
	})
}

// Payload is the whole message.
func (*Event) Payload() hexdag.Doc { return (&hexdag.ToolCall{}).Payload() }

// Run is the run's identity and usage: /run_id, /tenant, /usage/input_tokens, ...
func (e *Event) Run() hexdag.Doc { return e.Payload().At("/run") }

// Topic returns what the event was published on.
func (e *Event) Topic() string { return e.Payload().String("/event/subject") }

// ID returns the event's id: it is the same when the event is delivered again.
func (e *Event) ID() string { return e.Payload().String("/event/id") }

// Attempt counts the deliveries of the event, from 1.
func (e *Event) Attempt() int64 { return e.Payload().Int("/attempt", 1) }

// Envelope is the whole event, a CloudEvent: /type, /time, /partitionkey, /runid, ...
func (e *Event) Envelope() hexdag.Doc { return e.Payload().At("/event") }

// Data is the event's data, absent if it has none.
func (e *Event) Data() hexdag.Doc { return e.Payload().At("/event/data") }

var handler Func

// Handle registers the handler; call it from init.
func Handle(f Func) { handler = f }

//go:wasmexport observe
func export(uint32) uint64 { return handler.Serve() }
