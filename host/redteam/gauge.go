package redteam

import (
	"bytes"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// gauge watches how much memory the process holds.
type gauge struct {
	base, peak uint64
	quit, done chan struct{}
}

// startGauge gives back what the process does not need, and starts from there.
func startGauge() *gauge {
	debug.FreeOSMemory()
	g := &gauge{base: held(), quit: make(chan struct{}), done: make(chan struct{})}
	g.peak = g.base
	go g.run()
	return g
}

func (g *gauge) run() {
	defer close(g.done)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		g.peak = max(g.peak, held())
		select {
		case <-g.quit:
			return
		case <-ticker.C:
		}
	}
}

// stop returns how far memory has grown.
func (g *gauge) stop() uint64 {
	close(g.quit)
	<-g.done
	return max(g.peak, held()) - g.base
}

// held returns the process's resident memory where the system tells it in
// /proc, which sees guests' memory too; elsewhere what Go's runtime holds. Neither
// stops the world, which a guest that loops could delay.
func held() uint64 {
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(text); len(fields) > 1 {
			if pages, err := strconv.ParseUint(string(fields[1]), 10, 64); err == nil {
				return pages * uint64(os.Getpagesize())
			}
		}
	}
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
