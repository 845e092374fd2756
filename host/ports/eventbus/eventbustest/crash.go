package eventbustest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// subscriberEnv has a process be a subscriber: its value is a subscriber.
const subscriberEnv = "HEXDAG_TEST_SUBSCRIBER"

type subscriber struct {
	Target string // what open takes
	Tenant string
	Out    string // the file of what was handled
}

// Subscriber subscribes, and does not return, if this process was started for that: to be killed.
// A TestMain that has Crash called in its tests begins with it. open opens the bus.
func Subscriber(open func(ctx context.Context, target string) (driver.Bus, error)) {
	text, is := os.LookupEnv(subscriberEnv)
	if !is {
		return
	}
	err := subscribeUntilKilled(text, open)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func subscribeUntilKilled(text string, open func(context.Context, string) (driver.Bus, error)) error {
	var s subscriber
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	out, err := os.OpenFile(s.Out, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	ctx := context.Background()
	for {
		d, err := open(ctx, s.Target)
		if err != nil { // what it is to connect to is just being killed
			time.Sleep(100 * time.Millisecond)
			continue
		}
		b := eventbus.New(d, eventbus.Options{})
		_, err = b.Subscribe(ctx, s.Tenant, []string{"crash.>"}, func(_ context.Context, d *eventbus.Delivery) error {
			_, err := fmt.Fprintf(out, "%s %s\n", d.Event.Key, d.Event.Data) // one write: a kill leaves a line, or none
			return err
		}, eventbus.SubscribeOptions{Group: "crash", Concurrency: 16, AckWait: time.Second, Start: eventbus.Start{Beginning: true}, MaxDeliveries: 1 << 30})
		if err == nil {
			select {} // until it is killed
		}
		_ = b.Close()
		time.Sleep(100 * time.Millisecond)
	}
}

// Faults is what goes wrong while messages are published and handled.
type Faults struct {
	Target   string // of open
	Bus      driver.Bus
	Messages int
	Keys     int
	// Break breaks and mends something, the n'th time, Breaks times, from one goroutine, with Every between. The
	// subscriber is killed besides.
	Break  func(n int)
	Breaks int
	Every  time.Duration
	Kills  time.Duration // how often the subscriber is killed; 0 is every second
}

// Crash publishes messages, has a subscriber in another process handle them, kills that
// process again and again and breaks what Faults says, and checks that no message is lost and each
// key's are in order. It reports how many were handled more than once.
func Crash(t *testing.T, f Faults) {
	t.Helper()
	b := eventbus.New(f.Bus, eventbus.Options{PublishTimeout: 120})
	defer b.Close()
	s := subscriber{Target: f.Target, Tenant: "crash", Out: filepath.Join(t.TempDir(), "handled")}
	process := startSubscriber(t, s)
	defer func() { process.kill() }()

	ctx, cancel := context.WithCancel(t.Context())
	var breaking sync.WaitGroup
	var kills, breaks atomic.Int64
	breaking.Go(func() {
		for again(ctx, cmp.Or(f.Kills, time.Second)) {
			process.kill()
			kills.Add(1)
			process.start(t, s)
		}
	})
	breaking.Go(func() {
		for n := 0; n < f.Breaks && again(ctx, f.Every); n++ {
			f.Break(n)
			breaks.Add(1)
		}
	})
	started := time.Now()
	var wait sync.WaitGroup
	var failed atomic.Int64
	for k := range f.Keys {
		wait.Go(func() {
			for n := range f.Messages / f.Keys {
				for n == f.Messages/f.Keys/2 && (kills.Load() == 0 || breaks.Load() == 0) && again(t.Context(), 10*time.Millisecond) { // however fast the machine is, something breaks in the middle
				}
				e := &eventbus.Event{ID: fmt.Sprintf("%d-%d", k, n), Topic: fmt.Sprintf("crash.t%d", k%3), Key: fmt.Sprint("k", k), Tenant: s.Tenant, Data: []byte(strconv.Itoa(n))}
				for {
					again := *e
					if _, err := b.Publish(t.Context(), &again); err == nil {
						break
					}
					if failed.Add(1); t.Context().Err() != nil {
						return
					}
				}
			}
		})
	}
	wait.Wait()
	cancel()
	breaking.Wait()
	published := time.Since(started)
	total := f.Messages / f.Keys * f.Keys
	lines := waitHandled(t, s.Out, total)
	process.kill()
	handled := checkHandled(t, lines, f.Keys, f.Messages/f.Keys)
	t.Logf("%d messages published in %s (%d failures, tried again), all handled after %s; the subscriber was killed %d times, the engine %d times; %d were handled more than once", total, published.Round(time.Millisecond), failed.Load(), time.Since(started).Round(time.Millisecond), kills.Load(), breaks.Load(), len(lines)-handled)
	if kills.Load() == 0 || breaks.Load() == 0 {
		t.Error("nothing was killed")
	}
}

// again waits, and reports whether there is time for more.
func again(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// waitHandled waits until as many different lines were written, and returns all.
func waitHandled(t *testing.T, file string, total int) []string {
	t.Helper()
	last, since := 0, time.Now()
	for {
		lines := readLines(t, file)
		different := map[string]struct{}{}
		for _, l := range lines {
			different[l] = struct{}{}
		}
		if len(different) >= total {
			return lines
		}
		if len(different) != last {
			last, since = len(different), time.Now()
		}
		if time.Since(since) > time.Minute {
			t.Fatalf("%d of %d were handled, and nothing more comes", len(different), total)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func readLines(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var lines []string
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// checkHandled checks that the first deliveries of every key are in order and complete, and
// returns how many different messages there are.
func checkHandled(t *testing.T, lines []string, keys, each int) int {
	t.Helper()
	next := map[string]int{}
	for _, l := range lines {
		key, text, _ := strings.Cut(l, " ")
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		switch {
		case n == next[key]:
			next[key]++
		case n > next[key]:
			t.Fatalf("key %s: %d came before %d", key, n, next[key])
		}
	}
	handled := 0
	for k := range keys {
		n := next[fmt.Sprint("k", k)]
		if n != each {
			t.Errorf("key k%d: %d of %d were handled", k, n, each)
		}
		handled += n
	}
	return handled
}

// subscriberProcess is killed by one goroutine at a time.
type subscriberProcess struct{ cmd *exec.Cmd }

func startSubscriber(t *testing.T, s subscriber) *subscriberProcess {
	t.Helper()
	p := &subscriberProcess{}
	p.start(t, s)
	return p
}

func (p *subscriberProcess) start(t *testing.T, s subscriber) {
	text, err := json.Marshal(s)
	if err != nil {
		t.Error(err)
		return
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), subscriberEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Error(err)
	}
}

func (p *subscriberProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it says that it was killed
}
