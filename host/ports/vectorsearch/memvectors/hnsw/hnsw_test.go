package hnsw_test

import (
	"math/rand"
	"slices"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host/ports/vectorsearch/memvectors/hnsw"
	"github.com/hexdag/hexdag/host/testenv"
)

func squares(a, b []float32) float32 {
	var s float32
	for i := range a {
		s += (a[i] - b[i]) * (a[i] - b[i])
	}
	return s
}

// points are in tight groups that are far from each other, where a graph without edges that lead out
// loses whole groups.
func points(n, groups int, rng *rand.Rand) [][]float32 {
	list := make([][]float32, n)
	for i := range list {
		list[i] = make([]float32, 16)
		group := rand.New(rand.NewSource(int64(i * groups / n))) // one after the other
		for j := range list[i] {
			list[i][j] = 100*float32(group.NormFloat64()) + float32(rng.NormFloat64())
		}
	}
	return list
}

func TestRecall(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	list := points(3000, 30, rng)
	if testenv.Race {
		list = points(900, 30, rng)
	}
	g := hnsw.New(squares, 16, 100, 1)
	if g.Search(list[0], 1, 10, nil) != nil {
		t.Error("an empty graph has something")
	}
	for i, p := range list {
		if id := g.Add(p); id != i || g.Len() != i+1 {
			t.Fatal(id, g.Len())
		}
	}
	for name, keep := range map[string]func(int) bool{"all": nil, "one in ten": func(n int) bool { return n%10 == 3 }, "few": func(n int) bool { return n%300 == 7 }, "none": func(int) bool { return false }} {
		hits, wanted := 0, 0
		for i := range 100 {
			q := list[i*len(list)/100]
			var truth []hnsw.Found
			for n, p := range list {
				if keep == nil || keep(n) {
					truth = append(truth, hnsw.Found{Node: n, Distance: squares(p, q)})
				}
			}
			slices.SortFunc(truth, func(a, b hnsw.Found) int {
				if a.Distance < b.Distance {
					return -1
				}
				return 1
			})
			truth = truth[:min(10, len(truth))]
			found := g.Search(q, 10, 100, keep)
			for j, f := range found {
				if j > 0 && f.Distance < found[j-1].Distance || keep != nil && !keep(f.Node) {
					t.Fatalf("%s: %v", name, found)
				}
				if slices.Contains(truth, f) {
					hits++
				}
			}
			wanted += len(truth)
		}
		if hits*100 < wanted*95 {
			t.Errorf("%s: %d of %d", name, hits, wanted)
		}
	}
}

func TestConcurrentSearches(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	list := points(500, 5, rng)
	g := hnsw.New(squares, 8, 50, 1)
	for _, p := range list {
		g.Add(p)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				n := (i*50 + j) % len(list)
				if found := g.Search(list[n], 1, 50, nil); len(found) != 1 || found[0].Node != n {
					t.Errorf("%d: %v", n, found)
				}
			}
		})
	}
	wg.Wait()
}
