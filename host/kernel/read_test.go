package kernel

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// What Reads returned stays as it was, and makes another run know the same.
func TestReads(t *testing.T) {
	var first, second RunContext
	for i := range maxRead {
		first.ReadArtifact("n", fmt.Sprintf("id-%03d", i))
	}
	first.ReadArtifact("m", "id-000")
	reads := first.Reads()
	before := map[string][]string{"n": slices.Clone(reads["n"]), "m": {"id-000"}}
	for i := range 3 {
		first.ReadArtifact("n", fmt.Sprintf("later-%d", i))
	}
	if !maps.EqualFunc(reads, before, slices.Equal) {
		t.Errorf("what Reads returned has changed: %v", reads)
	}
	if got := first.ArtifactsRead("n"); len(got) != maxRead || slices.Contains(got, "id-000") || !slices.Contains(got, "later-2") {
		t.Errorf("%d are remembered: %v", len(got), got)
	}
	second.Recall(reads)
	if got := second.Reads(); !maps.EqualFunc(got, before, slices.Equal) {
		t.Errorf("recalled is %v", got)
	}
}
