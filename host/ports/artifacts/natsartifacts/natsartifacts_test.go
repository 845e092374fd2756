package natsartifacts_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/natsartifacts"
)

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
