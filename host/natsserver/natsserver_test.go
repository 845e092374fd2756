package natsserver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/testenv"
)

func TestMain(m *testing.M) {
	natsservertest.Node()
	goleak.VerifyTestMain(m)
}

func stream(t *testing.T, s *natsserver.Server, replicas int) {
	t.Helper()
	c := jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}, Replicas: replicas}
	if _, err := s.JetStream().CreateOrUpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// publish publishes until it succeeds.
func publish(t *testing.T, s *natsserver.Server, text string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := s.JetStream().Publish(ctx, "s.a", []byte(text), jetstream.WithMsgID(text))
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func messages(t *testing.T, s *natsserver.Server) uint64 {
	t.Helper()
	st, err := s.JetStream().Stream(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	info, err := st.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func TestEmbeddedKeepsWhatItHas(t *testing.T) {
	testenv.NeedServer(t, "NATS")
	c := natsserver.Config{Folder: t.TempDir()}
	for round := range uint64(3) {
		s, err := natsserver.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		stream(t, s, 1)
		if n := messages(t, s); n != round {
			t.Errorf("round %d: %d messages", round, n)
		}
		publish(t, s, string(rune('a'+round)))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The second to name a folder is let in by the first, and takes over from it.
func TestFolderIsShared(t *testing.T) {
	testenv.NeedServer(t, "NATS") // before the first is open
	c := natsserver.Config{Folder: t.TempDir()}
	first, err := natsserver.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	second := natsservertest.Open(t, c)
	stream(t, first, 1)
	publish(t, second, "a")
	if n := messages(t, first); n != 1 {
		t.Errorf("the first sees %d messages", n)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	publish(t, second, "b")
	if n := messages(t, second); n != 2 {
		t.Errorf("the second has %d messages", n)
	}
}

func TestLongPathIsNotShared(t *testing.T) {
	c := natsserver.Config{Folder: filepath.Join(t.TempDir(), strings.Repeat("x", 100)), Timeout: 200 * time.Millisecond}
	natsservertest.Open(t, natsserver.Config{Folder: c.Folder})
	_, err := natsserver.Open(t.Context(), c)
	if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "another process has it") {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	no := false
	for name, test := range map[string]struct {
		config natsserver.Config
		code   kernel.Code
		says   string
	}{
		"nothing":    {natsserver.Config{}, kernel.CodeConfig, "neither url nor folder"},
		"both":       {natsserver.Config{URL: "nats://a", Folder: "b"}, kernel.CodeConfig, "url is set"},
		"sync":       {natsserver.Config{URL: "nats://a", SyncAlways: &no}, kernel.CodeConfig, "sync_always"},
		"ca":         {natsserver.Config{Folder: "b", CA: "x"}, kernel.CodeConfig, "for a cluster"},
		"negative":   {natsserver.Config{Folder: "b", MaxBytes: -1}, kernel.CodeConfig, "negative"},
		"no folder":  {natsserver.Config{Folder: filepath.Join(file, "below")}, kernel.CodeConfig, "cannot be made"},
		"nobody":     {natsserver.Config{URL: "nats://127.0.0.1:1", Timeout: time.Second}, kernel.CodeUnavailable, "cannot be reached"},
		"no such CA": {natsserver.Config{URL: "nats://127.0.0.1:1", CA: file + "x"}, kernel.CodeUnavailable, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := natsserver.Open(t.Context(), test.config)
			if s != nil || kernel.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.says) {
				t.Error(s, err)
			}
		})
	}
}

// A cluster keeps what was acknowledged while each of its nodes is killed, cut off
// and paused in turn.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: a cluster under faults")
	}
	c := natsservertest.Start(t, 3, false)
	s := natsservertest.Open(t, natsserver.Config{URL: c.URL()})
	stream(t, s, 3)
	publish(t, s, "first")
	want := uint64(1)
	for node := range 3 {
		for name, fault := range map[string]struct{ begin, end func(int) }{
			"kill":    {c.Kill, c.Restart},
			"isolate": {c.Isolate, c.Heal},
			"pause":   {c.Pause, c.Resume},
		} {
			fault.begin(node)
			others := natsservertest.Open(t, natsserver.Config{URL: c.URL((node+1)%3, (node+2)%3), Timeout: 30 * time.Second})
			publish(t, others, name+c.URL(node))
			want++
			fault.end(node)
			settle(t, others) // else the next fault may be the second at once, which takes the majority
		}
	}
	c.WaitReady()
	if n := messages(t, s); n != want {
		t.Errorf("%d messages, %d were acknowledged", n, want)
	}
}

// settle waits until all nodes have all that the stream has.
func settle(t *testing.T, s *natsserver.Server) {
	t.Helper()
	current := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		st, err := s.JetStream().Stream(ctx, "s") // asks for its state, too
		if err != nil {
			return false
		}
		cluster := st.CachedInfo().Cluster
		return cluster != nil && cluster.Leader != "" && len(cluster.Replicas) == 2 &&
			!slices.ContainsFunc(cluster.Replicas, func(r *jetstream.PeerInfo) bool { return !r.Current || r.Offline })
	}
	for deadline := time.Now().Add(time.Minute); !current(); {
		if time.Now().After(deadline) {
			t.Fatal("a node does not catch up")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := natsserver.Open(ctx, natsserver.Config{Folder: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
