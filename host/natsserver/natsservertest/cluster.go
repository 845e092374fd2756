// Package natsservertest runs NATS for tests: in the process, or as a cluster on
// loopback whose nodes are processes that can be killed, paused and cut off.
package natsservertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/testserver"
)

// nodeEnv has a process be a node: its value is a spec.
const nodeEnv = "HEXDAG_TEST_NATS_NODE"

type spec struct {
	Name   string
	Folder string
	Client int
	Route  int
	Routes []string
	Sync   bool
}

// Node runs a node of a cluster if this process was started for that, and does not return
// then. A TestMain that has Start called in its tests begins with it.
func Node() {
	text, is := os.LookupEnv(nodeEnv)
	if !is {
		return
	}
	if err := runNode(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runNode(text string) error {
	var n spec
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return err
	}
	routes := make([]*url.URL, len(n.Routes))
	for i, r := range n.Routes {
		u, err := url.Parse(r)
		if err != nil {
			return err
		}
		routes[i] = u
	}
	opts := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: n.Folder, SyncAlways: n.Sync, JetStreamMaxStore: 1 << 50, // streams reserve more than they take
	}
	if len(routes) > 0 {
		// What nodes tell each other of third ones leads nowhere, for a route that went past the proxies could not be cut.
		opts.Routes, opts.Cluster = routes, server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Route, Advertise: "127.0.0.1:1", NoAdvertise: true, PoolSize: -1}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.Start()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the tests end, whichever way
	s.Shutdown()
	return nil
}

// Cluster is a cluster on loopback.
type Cluster struct {
	t     testing.TB
	specs []spec
	nodes []*exec.Cmd // nil for one that does not run
	links map[link]*testserver.Proxy
}

// link is a route, from a node to another.
type link struct{ from, to int }

// Start starts a cluster, which ends with the test. sync is every node's SyncAlways.
func Start(t testing.TB, nodes int, sync bool) *Cluster {
	t.Helper()
	testenv.NeedServer(t, "NATS cluster")
	c := &Cluster{t: t, nodes: make([]*exec.Cmd, nodes), links: map[link]*testserver.Proxy{}}
	folder := t.TempDir()
	for i := range nodes {
		c.specs = append(c.specs, spec{Name: fmt.Sprintf("n%d", i), Folder: filepath.Join(folder, fmt.Sprint(i)), Client: testserver.FreePort(t), Route: testserver.FreePort(t), Sync: sync})
	}
	for from := range nodes {
		for to := range nodes {
			if from == to {
				continue
			}
			p := testserver.NewProxy(t, fmt.Sprintf("127.0.0.1:%d", c.specs[to].Route))
			c.links[link{from, to}] = p
			c.specs[from].Routes = append(c.specs[from].Routes, "nats://"+p.Address())
		}
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.Kill(i)
		}
	})
	for i := range nodes {
		c.Restart(i)
	}
	c.WaitReady()
	return c
}

// WaitReady waits until the cluster has a leader.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	s, err := natsserver.Open(c.t.Context(), natsserver.Config{URL: c.URL(), Timeout: time.Minute})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// URL returns where clients connect to: to the nodes, or to all if none is named.
func (c *Cluster) URL(nodes ...int) string {
	var urls []string
	if len(nodes) == 0 {
		for i := range c.specs {
			nodes = append(nodes, i)
		}
	}
	for _, i := range nodes {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", c.specs[i].Client))
	}
	return strings.Join(urls, ",")
}

// Kill ends a node as kill -9 does.
func (c *Cluster) Kill(node int) {
	cmd := c.nodes[node]
	if cmd == nil {
		return
	}
	c.nodes[node] = nil
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it says that it was killed
}

// Restart starts a node that does not run, with the data that it had.
func (c *Cluster) Restart(node int) {
	c.t.Helper()
	text, err := json.Marshal(c.specs[node])
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.nodes[node] = cmd
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.specs[node].Client))
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("node %d does not listen: %v", node, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Pause stops a node's process as it stands.
func (c *Cluster) Pause(node int) { c.signal(node, syscall.SIGSTOP) }

// Resume has a paused node go on.
func (c *Cluster) Resume(node int) { c.signal(node, syscall.SIGCONT) }

func (c *Cluster) signal(node int, s syscall.Signal) {
	c.t.Helper()
	if err := c.nodes[node].Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// Isolate has nothing pass between a node and the others; connections stay open, as when
// a cable is pulled. Clients still reach it.
func (c *Cluster) Isolate(node int) { c.cut(node, true) }

// Heal ends what Isolate began.
func (c *Cluster) Heal(node int) { c.cut(node, false) }

func (c *Cluster) cut(node int, cut bool) {
	for l, p := range c.links {
		if l.from == node || l.to == node {
			if cut {
				p.Cut()
			} else {
				p.Heal()
			}
		}
	}
}
