package natsartifacts_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/natsartifacts"
)

func TestMain(m *testing.M) {
	natsservertest.Node()
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	server := natsservertest.Embedded(t, false)
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket {
		b, err := natsartifacts.NewBucket(t.Context(), server.JetStream(), natsartifacts.Options{Name: strings.ReplaceAll(t.Name(), "/", "-"), TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}, artifactstest.Unsteady)
}

func TestAsBlob(t *testing.T) {
	server := natsservertest.Embedded(t, false)
	var buckets atomic.Int64
	artifactstest.RunBlobTests(t, func(t *testing.T) driver.Bucket {
		b, err := natsartifacts.NewBucket(t.Context(), server.JetStream(), natsartifacts.Options{Name: fmt.Sprint("blob-", buckets.Add(1)), TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}

func put(t *testing.T, b driver.Bucket, key, text string) error {
	t.Helper()
	w, err := b.NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return w.Commit(t.Context(), key)
}

func get(t *testing.T, b driver.Bucket, key string) (string, error) {
	t.Helper()
	r, _, err := b.Open(t.Context(), key)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return string(text), err
}

// An object whose chunks are gone, as the client leaves one where it did not hear that it is there, is written anew.
func TestObjectWithoutChunks(t *testing.T) {
	js := natsservertest.Embedded(t, false).JetStream()
	b, err := natsartifacts.NewBucket(t.Context(), js, natsartifacts.Options{Name: "b", TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, b, "key", "text"); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "OBJ_b")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject("$O.b.C.>")); err != nil {
		t.Fatal(err)
	}
	if err := put(t, b, "key", "text"); err != nil {
		t.Fatal(err)
	}
	if text, err := get(t, b, "key"); text != "text" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// What was stored while the nodes of a cluster are killed in turn is there, whoever is asked.
func TestKilledNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a cluster")
	}
	c := natsservertest.Start(t, 3, false)
	open := func() driver.Bucket {
		s, err := natsserver.Open(t.Context(), natsserver.Config{URL: c.URL()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		b, err := natsartifacts.NewBucket(t.Context(), s.JetStream(), natsartifacts.Options{Name: "b", Replicas: 3, TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	writer, reader := open(), open()
	stored := 0
	for node := range 3 {
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			c.Kill(node)
		}()
		for range 20 {
			key := fmt.Sprint("key", stored)
			if err := put(t, writer, key, key); err != nil {
				t.Fatal(key, err)
			}
			if text, err := get(t, reader, key); text != key || err != nil {
				t.Fatalf("%s: %q, %v", key, text, err)
			}
			stored++
		}
		<-killed
		c.Restart(node)
		c.WaitReady()
	}
	for i := range stored {
		key := fmt.Sprint("key", i)
		if text, err := get(t, reader, key); text != key || err != nil {
			t.Errorf("%s: %q, %v", key, text, err)
		}
	}
}
