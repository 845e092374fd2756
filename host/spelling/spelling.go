// Package spelling suggests what a misspelt name may have meant.
package spelling

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/hexdag/hexdag/host/kernel"
)

// The bounds that keep a suggestion cheap and short.
const (
	maxName   = 64 // bytes of a name that is compared
	maxListed = 40 // known names that are listed
)

// Suggest returns how to correct a name that is not among the known ones: "did
// you mean x?", or the list of them where none is near.
func Suggest(name string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	if near := Nearest(name, known); near != "" {
		return "did you mean " + kernel.Quote(near) + "?"
	}
	return "known are " + List(known)
}

// Nearest returns the known name that the fewest edits turn name into, capitals
// aside, or "" if more than half of it would have to change.
func Nearest(name string, known []string) string {
	best, distance := "", len(name)/2+1
	if len(name) > maxName {
		return ""
	}
	for _, k := range known {
		if len(k) > maxName {
			continue
		}
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// List returns the names, sorted, each once, with commas between them; of many,
// the first 40.
func List(names []string) string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	more := ""
	if len(sorted) > maxListed {
		sorted, more = sorted[:maxListed], ", ..."
	}
	for i, name := range sorted {
		sorted[i] = kernel.Quote(name)
	}
	return strings.Join(sorted, ", ") + more
}
