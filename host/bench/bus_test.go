package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
	"github.com/hexdag/hexdag/host/ports/eventbus/natsbus"
)

var order = []byte(`{"order":"4711","state":"paid"}`)

// BenchmarkBus: in memory, from publishing until the handler has it, beside a Go channel; on the
// server in the process, publishing and delivering, beside nats.go with the same streams, the same
// envelope and the same consumer.
func BenchmarkBus(b *testing.B) {
	b.Run("deliver/hexdag", func(b *testing.B) {
		got := make(chan struct{})
		bus := eventbus.New(membus.New(membus.Config{}), eventbus.Options{})
		defer bus.Close()
		if _, err := bus.Subscribe(b.Context(), "t", []string{"orders.*"}, func(context.Context, *eventbus.Delivery) error { got <- struct{}{}; return nil }, eventbus.SubscribeOptions{}); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := bus.Publish(context.Background(), &eventbus.Event{Topic: "orders.paid", Tenant: "t", Data: order}); err != nil {
				b.Fatal(err)
			}
			<-got
		}
	})
	b.Run("deliver/channel", func(b *testing.B) {
		in, got := make(chan *eventbus.Event, 1024), make(chan struct{})
		go func() {
			for range in {
				got <- struct{}{}
			}
		}()
		defer close(in)
		for b.Loop() {
			in <- &eventbus.Event{Topic: "orders.paid", Tenant: "t", Data: order}
			<-got
		}
	})
	for _, sync := range []bool{false, true} {
		name := map[bool]string{false: "nats", true: "nats-sync"}[sync]
		b.Run(name+"/hexdag", func(b *testing.B) { benchmarkBus(b, sync) })
		b.Run(name+"/nats.go", func(b *testing.B) { benchmarkNATS(b, sync) })
	}
}

func openNATS(b *testing.B, sync bool) *natsserver.Server {
	s, err := natsserver.Open(b.Context(), natsserver.Config{Folder: b.TempDir(), SyncAlways: &sync})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// benchmarkBus publishes one event after the other, each acknowledged, and has all delivered.
func benchmarkBus(b *testing.B, sync bool) {
	d, err := natsbus.New(openNATS(b, sync), natsbus.Config{})
	if err != nil {
		b.Fatal(err)
	}
	bus := eventbus.New(d, eventbus.Options{})
	defer bus.Close()
	got := make(chan struct{}, 1<<20)
	if _, err := bus.Subscribe(b.Context(), "t", []string{"orders.*"}, func(context.Context, *eventbus.Delivery) error { got <- struct{}{}; return nil }, eventbus.SubscribeOptions{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := bus.Publish(context.Background(), &eventbus.Event{Topic: "orders.paid", Tenant: "t", Data: order}); err != nil {
			b.Fatal(err)
		}
		<-got
	}
}

// benchmarkNATS does what natsbus does by nats.go alone.
func benchmarkNATS(b *testing.B, sync bool) {
	js := openNATS(b, sync).JetStream()
	stream, err := js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name: "raw", Subjects: []string{"raw.>"}, Storage: jetstream.FileStorage, MaxBytes: 1 << 30, MaxAge: 7 * 24 * time.Hour, Duplicates: 2 * time.Minute, AllowDirect: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	c, err := stream.CreateConsumer(b.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1, FilterSubject: "raw.*.orders.*", DeliverPolicy: jetstream.DeliverNewPolicy, MemoryStorage: true})
	if err != nil {
		b.Fatal(err)
	}
	got := make(chan struct{}, 1<<20)
	consuming, err := c.Consume(func(msg jetstream.Msg) {
		var e driver.Event
		if json.Unmarshal(msg.Data(), &e) == nil {
			got <- struct{}{}
		}
		_ = msg.Ack()
	})
	if err != nil {
		b.Fatal(err)
	}
	defer consuming.Stop()
	n := 0
	for b.Loop() {
		n++
		e := &driver.Event{ID: fmt.Sprint("raw-", n), Source: "/raw", Type: "orders.paid", Topic: "orders.paid", Time: time.Now().UTC(), Tenant: "t", Data: order}
		text, err := json.Marshal(e)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.Publish(context.Background(), "raw.3.orders.paid", text, jetstream.WithMsgID(e.ID)); err != nil {
			b.Fatal(err)
		}
		<-got
	}
}
