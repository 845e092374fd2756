package driver

import "strings"

// Match reports whether a topic matches a pattern.
func Match(pattern, topic string) bool {
	for {
		p, prest, pmore := strings.Cut(pattern, ".")
		if p == ">" {
			return true
		}
		t, trest, tmore := strings.Cut(topic, ".")
		if p != "*" && p != t {
			return false
		}
		if !pmore || !tmore {
			return pmore == tmore
		}
		pattern, topic = prest, trest
	}
}

// MatchAny reports whether a topic matches one of the patterns.
func MatchAny(patterns []string, topic string) bool {
	for _, p := range patterns {
		if Match(p, topic) {
			return true
		}
	}
	return false
}

// Overlaps reports whether there is a topic that matches both patterns.
func Overlaps(a, b string) bool {
	for {
		p, prest, pmore := strings.Cut(a, ".")
		q, qrest, qmore := strings.Cut(b, ".")
		switch {
		case p == ">" || q == ">":
			return true
		case p != "*" && q != "*" && p != q:
			return false
		case !pmore || !qmore:
			return pmore == qmore
		}
		a, b = prest, qrest
	}
}

// Identity is what makes two events the same: their topic and their id.
func Identity(e *Event) string { return e.Topic + " " + e.ID }

// Partition is which of n partitions an event belongs to: its key's, or, without
// key, its id's.
func Partition(e *Event, n int) int {
	text := e.Key
	if text == "" {
		text = e.ID
	}
	h := uint32(2166136261) // FNV-1a: the same in every process, for ever
	for i := range len(text) {
		h = (h ^ uint32(text[i])) * 16777619
	}
	return int(h % uint32(n))
}
