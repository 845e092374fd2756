package natsbus

import (
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// filter has a consumer see the topics that match the patterns, in one partition or in
// all ("*"). It reports whether it sees no others: JetStream takes no two filters that
// one subject can match.
func (s stream) filter(c *jetstream.ConsumerConfig, patterns []string, partition string) (exact bool) {
	least := slices.Clone(patterns)
	least = slices.DeleteFunc(least, func(p string) bool {
		return slices.ContainsFunc(least, func(wider string) bool { return p != wider && covers(wider, p) })
	})
	slices.Sort(least)
	least = slices.Compact(least)
	for i, p := range least {
		for _, q := range least[i+1:] {
			if driver.Overlaps(p, q) {
				c.FilterSubjects = []string{s.prefix + partition + ".>"}
				return false
			}
		}
		c.FilterSubjects = append(c.FilterSubjects, s.prefix+partition+"."+p)
	}
	return true
}

// covers reports whether a pattern matches whatever another does.
func covers(wider, pattern string) bool {
	for {
		w, wrest, wmore := strings.Cut(wider, ".")
		p, prest, pmore := strings.Cut(pattern, ".")
		switch {
		case w == ">":
			return true
		case p == ">", w != "*" && w != p:
			return false
		case !wmore || !pmore:
			return wmore == pmore
		}
		wider, pattern = wrest, prest
	}
}
