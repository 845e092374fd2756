// Package cluster_test runs the example of many hosts: see README.md.
package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	natsservertest.Node()
	remove, err := testenv.Home()
	if err != nil {
		panic(err)
	}
	code := m.Run()
	remove()
	os.Exit(code)
}

// cluster is three hosts on a NATS cluster, a PostgreSQL and a Temporal.
type cluster struct {
	t        *testing.T
	dir      string
	program  string
	nats     *natsservertest.Cluster
	postgres *testserver.Process
	temporal *testserver.Process
	workers  []*exec.Cmd

	mu    sync.Mutex
	ended []time.Time // when runs did, in that order
}

// TestCluster has the hosts do runs, kills one of each in turn, and says what was lost and how long it took to go on. How many runs is
// HEXDAG_CLUSTER_RUNS: 'make cluster' has 10,000.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a cluster")
	}
	runs := 60
	if text, set := os.LookupEnv("HEXDAG_CLUSTER_RUNS"); set {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		runs = n
	}
	c := &cluster{t: t, dir: t.TempDir()}
	c.build()
	c.nats = natsservertest.Start(t, 3, false)
	server, url := testserver.Postgres(t)
	c.postgres, c.temporal = server, testserver.Temporal(t)
	template, err := os.ReadFile("hexdag.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("NATS", c.nats.URL(), "POSTGRES", url, "TEMPORAL", c.temporal.Address()).Replace(string(template))
	c.write("hexdag.yaml", config)
	order, err := os.ReadFile("order.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.write("order.yaml", string(order))
	h := c.open() // the first that there is makes the streams
	for range 3 {
		c.start()
	}
	c.do(h, runs)
}

// open opens a host that starts runs.
func (c *cluster) open() *host.Host {
	c.t.Helper()
	cfg, err := host.LoadConfig(filepath.Join(c.dir, "hexdag.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	h, err := host.New(c.t.Context(), cfg, host.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

// build builds the command.
func (c *cluster) build() {
	c.t.Helper()
	c.program = filepath.Join(c.dir, "hexdag")
	if out, err := exec.Command("go", "build", "-o", c.program, "github.com/hexdag/hexdag/host/cmd/hexdag").CombinedOutput(); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
}

func (c *cluster) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// start starts a host.
func (c *cluster) start() {
	c.t.Helper()
	cmd := exec.Command(c.program, "worker", "--config", filepath.Join(c.dir, "hexdag.yaml"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it says that it was killed
		if c.t.Failed() {
			c.t.Log(said.String())
		}
	})
	c.workers = append(c.workers, cmd)
}

// do has runs done, and kills one of each meanwhile.
func (c *cluster) do(h *host.Host, runs int) {
	t := c.t
	p, err := h.Load(t.Context(), filepath.Join(c.dir, "order.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	lost := c.order(p, runs)
	took := time.Since(began)
	sold, twice := c.sold(h)
	fmt.Printf("%d runs on 3 hosts in %s, %.0f a second\n", runs, took.Round(time.Second), float64(runs)/took.Seconds())
	fmt.Printf("lost: %d runs\n", lost)
	fmt.Printf("told of: %d orders, twice of %d\n", sold, twice)
	if lost > 0 || sold != runs || twice > 0 {
		t.Error("something was lost, or done twice")
	}
}

// order does the runs, 32 at a time, and returns how many did not complete.
func (c *cluster) order(p *host.Pipeline, runs int) (lost int) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := range next {
				r := p.Run(c.t.Context(), map[string]any{"id": fmt.Sprint(i), "pieces": i, "shelf": i % 7}, host.RunOptions{Durable: true})
				c.mu.Lock()
				c.ended = append(c.ended, time.Now())
				if r.Status != engine.Completed {
					lost++
					c.t.Errorf("order %d: run %s %s: %v", i, r.RunID, r.Status, r.Err)
				}
				c.mu.Unlock()
			}
		})
	}
	faults := []fault{
		{"a host", func() {
			_ = c.workers[0].Process.Kill()
			c.start()
		}},
		{"a node of NATS", func() { c.nats.Kill(0); c.nats.Restart(0) }},
		{"PostgreSQL", func() { c.postgres.Kill(); c.postgres.Restart() }},
		{"Temporal", func() { c.temporal.Kill(); c.temporal.Restart() }},
	}
	for i := range runs {
		next <- i
		if at := slices.Index([]int{runs / 6, runs * 2 / 6, runs * 3 / 6, runs * 4 / 6}, i); at >= 0 {
			c.kill(faults[at])
		}
	}
	close(next)
	wg.Wait()
	return lost
}

// fault is something that is killed, with kill -9, and started again.
type fault struct {
	what string
	kill func()
}

// kill kills, and says for how long no run ended then.
func (c *cluster) kill(f fault) {
	at := time.Now()
	f.kill()
	deadline := at.Add(3 * time.Minute)
	for time.Now().Before(deadline) {
		c.mu.Lock()
		i, _ := slices.BinarySearchFunc(c.ended, at, time.Time.Compare)
		n := len(c.ended) - i
		c.mu.Unlock()
		if n >= 8 { // some were about to end
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Printf("killed %s: went on after %s\n", f.what, time.Since(at).Round(10*time.Millisecond))
}

// sold returns how many orders the shop was told of, and of how many more than once.
func (c *cluster) sold(h *host.Host) (orders, twice int) {
	told := map[string]int{}
	start := eventbus.Start{Beginning: true}
	for {
		events, err := h.Bus().Read(c.t.Context(), h.Tenant(), []string{"orders.sold"}, start, 1000)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range events {
			var order string
			if err := json.Unmarshal(e.Data, &order); err != nil {
				c.t.Fatal(err)
			}
			if told[order]++; told[order] == 2 {
				twice++
			}
			start = eventbus.Start{Sequence: e.Sequence + 1}
		}
		if len(events) == 0 {
			return len(told), twice
		}
	}
}
