package memvectors_test

import (
	"fmt"
	"math/rand"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/memvectors"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/vectorsearchtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformanceExact(t *testing.T) {
	vectorsearchtest.Run(t, func(_ testing.TB, metric driver.Metric) driver.Index { return memvectors.New(metric) })
}

func TestConformanceGraph(t *testing.T) {
	vectorsearchtest.Run(t, func(_ testing.TB, metric driver.Metric) driver.Index { return memvectors.NewGraph(metric) })
}

// BenchmarkSearch is the scan beside the graph.
func BenchmarkSearch(b *testing.B) {
	for name, open := range map[string]func(driver.Metric) driver.Index{"exact": memvectors.New, "graph": memvectors.NewGraph} {
		for _, n := range []int{2000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				x := open(driver.Cosine)
				defer x.Close()
				rng := rand.New(rand.NewSource(1))
				vector := func() []float32 {
					v := make([]float32, 256)
					for i := range v {
						v[i] = float32(rng.NormFloat64())
					}
					return v
				}
				for i := range n {
					if err := x.Upsert(b.Context(), "acme", "c", []driver.Item{{ID: fmt.Sprint(i), Vector: vector(), Metadata: []byte("{}")}}, driver.Room{Vectors: n, Bytes: 1 << 30}, nil); err != nil {
						b.Fatal(err)
					}
				}
				q := &driver.Query{Vector: vector(), Limit: 10}
				for b.Loop() {
					if _, err := x.Search(b.Context(), "acme", "c", q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
