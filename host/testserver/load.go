package testserver

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Load has clients do b.N times what one does, each of them again as soon as it is done, and reports how many were done in a second and how long
// they took.
func Load(b *testing.B, clients int, one func() error) {
	b.Helper()
	if err := one(); err != nil {
		b.Fatal(err)
	}
	took := make([]time.Duration, b.N)
	next := make(chan int)
	var all sync.WaitGroup
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			for i := range next {
				began := time.Now()
				if err := one(); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(began)
			}
		})
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
