package blobartifacts_test

import (
	"testing"

	"go.uber.org/goleak"
	"gocloud.dev/blob/memblob"

	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/blobartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformanceInMemory(t *testing.T) {
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket {
		bucket := memblob.OpenBucket(nil)
		t.Cleanup(func() { bucket.Close() })
		return blobartifacts.NewBucket(bucket, blobartifacts.Options{Prefix: "some/where/", TempDir: t.TempDir()})
	})
}
