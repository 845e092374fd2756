package kernel

import (
	"slices"
	"strings"
)

// DidYouMean suggests the nearest of the known names, or lists them.
func DidYouMean(name string, known []string) string {
	if best := Nearest(name, known); best != "" {
		return "did you mean " + Quote(best) + "?"
	}
	if len(known) == 0 {
		return "there are none"
	}
	sorted := slices.Clone(known)
	slices.Sort(sorted)
	return "known are " + Quote(strings.Join(slices.Compact(sorted), ", "))
}

// Nearest returns the known name that is nearest to another; "" if none is near.
func Nearest(name string, known []string) string {
	best, distance := "", min(len(name), maxCompared)/3+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

const maxCompared = 64

// editDistance is Levenshtein's, in one row.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), maxCompared)], b[:min(len(b), maxCompared)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
