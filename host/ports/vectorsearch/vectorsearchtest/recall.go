package vectorsearchtest

import (
	"fmt"
	"math"
	"math/rand"
	"slices"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
	"github.com/hexdag/hexdag/host/testenv"
)

// random returns vectors around a few centres, as embeddings are.
func random(n, dimension int, seed int64) [][]float32 {
	rng := rand.New(rand.NewSource(seed))
	centres := make([][]float32, 20)
	for i := range centres {
		centres[i] = make([]float32, dimension)
		for j := range centres[i] {
			centres[i][j] = float32(rng.NormFloat64())
		}
	}
	vectors := make([][]float32, n)
	for i := range vectors {
		vectors[i] = make([]float32, dimension)
		for j, x := range centres[rng.Intn(len(centres))] {
			vectors[i][j] = x + 0.7*float32(rng.NormFloat64())
		}
	}
	return vectors
}

func batches(t *testing.T, v *vectorsearch.Vectors, vectors [][]float32) {
	t.Helper()
	for start := 0; start < len(vectors); start += 500 {
		var batch []vectorsearch.Vector
		for i := start; i < min(start+500, len(vectors)); i++ {
			batch = append(batch, vectorsearch.Vector{ID: fmt.Sprintf("%06d", i), Values: vectors[i], Metadata: map[string]kernel.Value{"part": i % 10}})
		}
		upsert(t, v, "acme", "c", batch...)
	}
}

// testSame: of many that are the same as many are found as are asked for.
func (h Harness) testSame(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	same := make([][]float32, 1200)
	for i := range same {
		same[i] = []float32{1, 2}
	}
	same[600] = []float32{-1, 2}
	batches(t, v, same)
	if found, err := v.Search(t.Context(), "acme", "c", vectorsearch.Query{Values: same[0], Limit: 100}); err != nil || len(found) != 100 {
		t.Errorf("%d, %v", len(found), err)
	}
	if got := ids(t, v, "c", vectorsearch.Query{Values: same[600], Limit: 1}); got != "000600" {
		t.Errorf("found %s", got)
	}
}

// testChurn: what was replaced or deleted is not found, whatever an index keeps of it.
func (h Harness) testChurn(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	const n = 1500
	batches(t, v, random(n, 8, 1))
	fresh := random(n, 8, 2)
	batches(t, v, fresh) // in place of all
	var gone []string
	for i := 0; i < n; i += 3 {
		gone = append(gone, fmt.Sprintf("%06d", i))
	}
	if deleted, err := v.Delete(t.Context(), "acme", "c", gone, nil); err != nil || deleted != len(gone) {
		t.Fatal(deleted, err)
	}
	for i := 0; i < n; i += 50 {
		found, err := v.Search(t.Context(), "acme", "c", vectorsearch.Query{Values: fresh[i], Limit: 5})
		if err != nil || len(found) != 5 {
			t.Fatal(found, err)
		}
		for _, m := range found {
			if slices.Contains(gone, m.ID) {
				t.Errorf("%s was deleted", m.ID)
			}
		}
		if id := fmt.Sprintf("%06d", i); i%3 != 0 && found[0].ID != id {
			t.Errorf("%s is not the nearest to itself", id)
		}
	}
	if deleted, err := v.Delete(t.Context(), "acme", "c", nil, map[string]kernel.Value{"part": 7}); err != nil || deleted != 100 {
		t.Errorf("%d, %v", deleted, err)
	}
	upsert(t, v, "acme", "c", vectorsearch.Vector{ID: "last", Values: fresh[0]})
	if got := ids(t, v, "c", vectorsearch.Query{Values: fresh[0], Limit: 1}); got != "last" {
		t.Errorf("found %s", got)
	}
}

// testRecall compares with the truth: of the ten nearest, an index finds 95 of 100 at least, with
// conditions and without.
func (h Harness) testRecall(t *testing.T) {
	const dimension, queries = 32, 50
	n := 4000
	if testenv.Race {
		n = 1500
	}
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	vectors := random(n+queries, dimension, 3)
	batches(t, v, vectors[:n])
	for _, where := range []map[string]kernel.Value{nil, {"part": 3}} {
		hits := 0
		for _, q := range vectors[n:] {
			found, err := v.Search(t.Context(), "acme", "c", vectorsearch.Query{Values: q, Limit: 10, Where: where})
			if err != nil || len(found) != 10 {
				t.Fatal(len(found), err)
			}
			truth := nearest(vectors[:n], q, 10, where != nil)
			for _, m := range found {
				if slices.Contains(truth, m.ID) {
					hits++
				}
			}
		}
		t.Logf("recall %.3f with %v", float64(hits)/(10*queries), where)
		if hits < 10*queries*95/100 {
			t.Errorf("%d of %d are found, with %v", hits, 10*queries, where)
		}
	}
}

func nearest(vectors [][]float32, q []float32, k int, part3 bool) []string {
	type scored struct {
		id    string
		score float64
	}
	var all []scored
	for i, v := range vectors {
		if part3 && i%10 != 3 {
			continue
		}
		var dot, norm float64
		for j := range v {
			dot += float64(v[j]) * float64(q[j])
			norm += float64(v[j]) * float64(v[j])
		}
		all = append(all, scored{fmt.Sprintf("%06d", i), dot / math.Sqrt(norm)})
	}
	slices.SortFunc(all, func(a, b scored) int {
		if a.score > b.score {
			return -1
		}
		return 1
	})
	var list []string
	for _, s := range all[:k] {
		list = append(list, s.id)
	}
	return list
}
