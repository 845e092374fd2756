package moduledev

import (
	"fmt"
	"slices"
)

// Call is what came of a call, with all text escaped.
type Call struct {
	Name      string
	Verdict   string
	Result    string // what it patched, or put out, as JSON
	Fuel      int64
	HostCalls []string
	Log       []string
	Problems  []string // of a case that failed
}

// Change is what is different in a call of the same name.
type Change struct {
	Name  string
	Lines []string
}

// changes compares two rounds, call by call. Calls that are new are not changes.
func changes(old, now []Call) []Change {
	var list []Change
	for _, call := range now {
		i := slices.IndexFunc(old, func(c Call) bool { return c.Name == call.Name })
		if i < 0 {
			continue
		}
		if lines := old[i].compare(call); len(lines) > 0 {
			list = append(list, Change{call.Name, lines})
		}
	}
	return list
}

func (c *Call) compare(now Call) []string {
	var lines []string
	if c.Verdict != now.Verdict {
		lines = append(lines, "verdict  "+c.Verdict+" -> "+now.Verdict)
	}
	if c.Result != now.Result {
		lines = append(lines, "result   "+orNone(c.Result)+" -> "+orNone(now.Result))
	}
	if c.Fuel != now.Fuel {
		lines = append(lines, fmt.Sprintf("fuel     %d -> %d (%+.1f%%)", c.Fuel, now.Fuel, 100*float64(now.Fuel-c.Fuel)/float64(max(c.Fuel, 1))))
	}
	lines = append(lines, difference("calls    ", c.HostCalls, now.HostCalls)...)
	return append(lines, difference("log      ", c.Log, now.Log)...)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// difference lists the lines that are gone, with -, and those that are new, with +.
func difference(what string, old, now []string) []string {
	var lines []string
	rest := slices.Clone(now)
	for _, line := range old {
		if i := slices.Index(rest, line); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		lines = append(lines, what+"- "+line)
	}
	for _, line := range rest {
		lines = append(lines, what+"+ "+line)
	}
	if len(lines) == 0 && !slices.Equal(old, now) {
		return []string{what + "in another order"}
	}
	return lines
}
