// Package etcdserver runs etcd for tests, on loopback and in the process.
package etcdserver

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/testserver"
)

// Cluster is an etcd of one or more servers, which ends with the test. Its methods are for the goroutine of the test.
type Cluster struct {
	t       testing.TB
	configs []*embed.Config
	servers []*embed.Etcd // nil for one that does not run
}

// Start starts a cluster.
func Start(t testing.TB, servers int) *Cluster {
	t.Helper()
	testenv.NeedServer(t, "etcd")
	c := &Cluster{t: t, servers: make([]*embed.Etcd, servers)}
	folder := t.TempDir()
	at := func() url.URL {
		return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))}
	}
	var members []string
	for i := range servers {
		client, peer := at(), at()
		config := embed.NewConfig()
		config.Name, config.Dir = fmt.Sprintf("n%d", i), filepath.Join(folder, fmt.Sprint(i))
		config.LogLevel, config.LogOutputs = "fatal", []string{"/dev/null"}
		config.TickMs, config.ElectionMs = 50, 500
		config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		members = append(members, config.Name+"="+peer.String())
		c.configs = append(c.configs, config)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.Stop(i)
		}
	})
	var all sync.WaitGroup
	for i, config := range c.configs {
		config.InitialCluster = strings.Join(members, ",")
		all.Go(func() { c.Restart(i) })
	}
	all.Wait()
	return c
}

// Endpoint returns host:port of a server.
func (c *Cluster) Endpoint(server int) string { return c.configs[server].ListenClientUrls[0].Host }

// Stop ends a server.
func (c *Cluster) Stop(server int) {
	if c.servers[server] != nil {
		c.servers[server].Close()
		c.servers[server] = nil
	}
}

// Restart starts a server that does not run, with the data that it had.
func (c *Cluster) Restart(server int) {
	c.t.Helper()
	e, err := embed.StartEtcd(c.configs[server])
	if err != nil {
		c.t.Error(err)
		return
	}
	c.servers[server] = e
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(60 * time.Second):
		c.t.Error("etcd is not ready after 60 s")
	}
}
