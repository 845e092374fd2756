package eventbustest

import (
	"strings"

	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// Backend is a backend with what it says it can promise, which Run holds it to.
type Backend struct {
	Name string
	driver.Capabilities
}

// Table is what backends promise, as Markdown.
func Table(backends ...Backend) string {
	var b strings.Builder
	row := func(what string, cell func(Backend) string) {
		b.WriteString("| " + what + " |")
		for _, backend := range backends {
			b.WriteString(" " + cell(backend) + " |")
		}
		b.WriteString("\n")
	}
	row("", func(b Backend) string { return "`" + b.Name + "`" })
	b.WriteString("|---|" + strings.Repeat("---|", len(backends)) + "\n")
	for _, c := range []struct {
		what string
		has  func(driver.Capabilities) bool
	}{
		{"at least once, order of a key, groups, dead letters, replay from the beginning", func(driver.Capabilities) bool { return true }},
		{"outlives the process", func(c driver.Capabilities) bool { return c.Durable }},
		{"several processes", func(c driver.Capabilities) bool { return c.Shared }},
		{"replay from a sequence", func(c driver.Capabilities) bool { return c.ReplaySequence }},
		{"replay from a time", func(c driver.Capabilities) bool { return c.ReplayTime }},
		{"drops an id that was published before", func(c driver.Capabilities) bool { return c.Dedup }},
		{"counts the deliveries that subscribers died of", func(c driver.Capabilities) bool { return c.CountsCrashes }},
		{"forgets a module's group that nobody was in for a day", func(c driver.Capabilities) bool { return c.ForgetsGroups }},
		{"one order of all events of a tenant", func(c driver.Capabilities) bool { return c.TotalOrder }},
	} {
		row(c.what, func(b Backend) string {
			if c.has(b.Capabilities) {
				return "yes"
			}
			return "**no**"
		})
	}
	return b.String()
}
