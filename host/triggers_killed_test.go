package host_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/testenv"
)

// mortalListener has events start durable runs, and goes on with those whose host has died, until nothing is left to do.
func mortalListener(ctx context.Context, h *host.Host) error {
	l, err := h.Listen(ctx, host.ListenOptions{Told: func(t *host.Triggered) { fmt.Println("did", t.Event.ID) }})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var recovering sync.WaitGroup
	recovering.Go(func() {
		if err := h.Recover(ctx, host.RunOptions{}, func(*host.Recovered) {}); err != nil {
			fmt.Println("error", err)
		}
	})
	recovering.Wait()
	l.Wait(ctx, mortalAckWait+2*time.Second)
	return l.Close(ctx)
}

// mortalAckWait is how soon the bus delivers to another what a dead process was delivered.
const mortalAckWait = 30 * time.Second

// TestTriggersKilled kills the process that has events start runs, again and again: each event has one run in the end.
func TestTriggersKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits until the bus gives up on a dead process")
	}
	s := newSite(t, mortalConfig+`  triggers: [{name: t, on: ask.*, pipeline: echo.yaml, concurrency: 4, start: beginning}]
`)
	s.pipeline(t, "echo", `{kind: llm_node, metadata: {name: ask}, spec: {human_message: "{{ id }} ask"}}
    - {kind: service_call_node, metadata: {name: tell}, dependencies: [ask], spec: {service: eventbus, method: publish, input_mapping: {topic: "'orders.new'", data: "$input.id"}}}`)
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	bus, tenant, closeBus, err := host.OpenBus(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	const events = 60
	for i := range events {
		if _, err := bus.Publish(t.Context(), &eventbus.Event{Topic: "ask.a", Tenant: tenant, Data: fmt.Appendf(nil, `{"id": "e%d"}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := closeBus(); err != nil {
		t.Fatal(err)
	}
	kills := 8
	if testenv.Race {
		kills = 3
	}
	for range kills {
		cmd, said := s.live(t, "listen")
		die(t, cmd, said, rand.IntN(8), time.Duration(rand.Int64N(int64(20*time.Millisecond))))
	}
	var told map[string]int
	for range 3 { // the bus delivers again in its own time, which is later on a busy machine
		cmd, lines := s.live(t, "listen")
		ended(t, cmd, lines)
		if told, _ = s.told(t); len(told) == events {
			break
		}
	}
	for i := range events {
		if n := told["e"+strconv.Itoa(i)]; n != 1 {
			t.Errorf("event %d: published %d times; runs that did not complete: %v", i, n, s.incomplete(t))
		}
	}
	asked := 0
	for _, n := range counted(t, s.path("asked.log")) {
		asked += n
	}
	t.Logf("%d events, the model was asked %d times", events, asked)
	if most := events + (kills+3)*4; asked > most { // those that were under way, and had no answer yet
		t.Errorf("the model was asked %d times, more than %d", asked, most)
	}
}

// incomplete tells of the runs that have not completed how their journals end.
func (s site) incomplete(t *testing.T) (how []string) {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := host.OpenJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	heads, err := j.Runs(t.Context(), "default", driver.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range heads {
		read, err := journal.Read(t.Context(), j, "default", head.ID)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := read.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if last := len(entries) - 1; head.Status != driver.Status(engine.Completed) && last >= 0 {
			how = append(how, fmt.Sprintf("%s of %v is %s: %s %v", head.ID, entries[0].Head.Input, head.Status, entries[last].Brief(), entries[last].Failed))
		}
	}
	return how
}
