package journal

import (
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
)

// Brief is an entry in a few words.
func (e *Entry) Brief() string {
	switch e.Kind {
	case Told:
		return briefEvent(e.Event)
	case Done, End:
		text := string(e.State) + e.Status // it has one of them
		if e.Failed != nil {
			return text + " (" + e.Failed.What + ")"
		}
		if v, err := kernel.EncodeJSON(e.Value); err == nil {
			text += " " + kernel.Quote(shorten(string(v)))
		}
		return text
	case Call, Reply:
		return string(e.Kind) + " of " + e.Op
	case Decision:
		if e.Decided != nil {
			return "a decision about " + e.Op + ": " + briefDecision(e.Decided)
		}
		return "a decision about " + e.Op
	case Draw:
		return "a reading of " + e.Op
	case Enter:
		if e.Op != "" {
			return kernel.Quote(e.Op)
		}
		return e.Module + "." + e.Point
	case Leave, Ran:
		text := fmt.Sprintf("%s.%s: %s with %d fuel", e.Module, e.Point, e.Verdict, e.Fuel)
		if e.Failed != nil {
			text += " (" + string(e.Failed.Code) + ")"
		}
		return text
	case Local:
		return kernel.Quote(e.Op)
	}
	return string(e.Kind)
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 120 {
		return string(r[:117]) + "..."
	}
	return s
}

func briefDecision(d *kernel.Decision) string {
	text := string(d.Effect)
	for i, r := range d.Reasons {
		sep := ", "
		if i == 0 {
			sep = " by "
		}
		text += sep + kernel.Quote(r.ID)
	}
	return text
}

// briefEvent is an event without what differs from one time to the next.
func briefEvent(e *kernel.Event) string {
	if e == nil {
		return "an event"
	}
	text := string(e.Type)
	for _, part := range []string{e.Node, e.Body, e.Op, e.Module, e.Action, e.Status, e.EventKey, e.Resource, e.Entity, e.EntityID, e.FromState, e.ToState} {
		if part != "" {
			text += " " + part
		}
	}
	return text
}
