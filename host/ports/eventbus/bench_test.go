package eventbus_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
)

var data = []byte(`{"order":"4711","state":"paid"}`)

func subscribe(b *testing.B, handler eventbus.Handler, opts eventbus.SubscribeOptions) *eventbus.Bus {
	bus := eventbus.New(membus.New(membus.Config{}), eventbus.Options{})
	b.Cleanup(func() { bus.Close() })
	if _, err := bus.Subscribe(b.Context(), "acme", []string{"orders.*"}, handler, opts); err != nil {
		b.Fatal(err)
	}
	return bus
}

// From publishing until the handler has it, one event at a time.
func BenchmarkMemoryLatency(b *testing.B) {
	got := make(chan struct{})
	bus := subscribe(b, func(context.Context, *eventbus.Delivery) error { got <- struct{}{}; return nil }, eventbus.SubscribeOptions{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.Publish(context.Background(), &eventbus.Event{Topic: "orders.paid", Tenant: "acme", Data: data}); err != nil {
			b.Fatal(err)
		}
		<-got
	}
}

// How many a publisher and a subscriber manage, both busy.
func BenchmarkMemoryThroughput(b *testing.B) {
	for _, publishers := range []int{1, 2} {
		b.Run(fmt.Sprint("publishers=", publishers), func(b *testing.B) {
			var n atomic.Int64
			bus := subscribe(b, func(context.Context, *eventbus.Delivery) error { n.Add(1); return nil }, eventbus.SubscribeOptions{})
			b.ReportAllocs()
			b.SetParallelism(1)
			if publishers == 1 {
				for b.Loop() {
					if _, err := bus.Publish(context.Background(), &eventbus.Event{Topic: "orders.paid", Tenant: "acme", Data: data}); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := bus.Publish(context.Background(), &eventbus.Event{Topic: "orders.paid", Tenant: "acme", Data: data}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for n.Load() < int64(b.N) {
				runtime.Gosched()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
