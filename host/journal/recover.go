package journal

import (
	"iter"
	"strings"
)

// UnderWay returns the calls that were begun and have no reply.
func UnderWay(entries []*Entry) []InFlight {
	open := map[string]*Entry{}
	var lanes []string
	for _, e := range entries {
		switch e.Kind {
		case Call:
			if open[e.Lane] == nil {
				lanes = append(lanes, e.Lane)
			}
			open[e.Lane] = e
		case Reply:
			open[e.Lane] = nil
		}
	}
	var calls []InFlight
	for _, lane := range lanes {
		if e := open[lane]; e != nil {
			calls = append(calls, InFlight{Lane: lane, Op: e.Op, Key: e.Key})
		}
	}
	return calls
}

// Over returns the entries of nodes that are done, and of what is inside of these, in their order: they do not work again.
func Over(entries []*Entry) iter.Seq[*Entry] {
	done := map[string]bool{}
	for _, e := range entries {
		if e.Kind == Done {
			done[e.Lane] = true
		}
	}
	over := func(lane string) bool {
		for {
			if done[lane] {
				return true
			}
			i := strings.LastIndexByte(lane, '/')
			if i < 0 {
				return false
			}
			lane = lane[:i]
		}
	}
	return func(yield func(*Entry) bool) {
		for _, e := range entries {
			if over(e.Lane) && !yield(e) {
				return
			}
		}
	}
}
