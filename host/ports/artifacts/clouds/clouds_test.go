package clouds_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/blobartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/clouds"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/testserver"
)

// conformance runs the suite in a bucket, each test below a prefix of its own.
func conformance(t *testing.T, bucketURL string, prepare func(*blob.Bucket), lacks ...artifactstest.Lack) {
	t.Helper()
	bucket, err := clouds.Open(t.Context(), bucketURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bucket.Close() })
	if prepare != nil {
		prepare(bucket)
	}
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket {
		return &patient{blobartifacts.NewBucket(bucket, blobartifacts.Options{Prefix: t.Name() + "/", TempDir: t.TempDir(), StartAfter: clouds.StartAfter})}
	}, lacks...)
}

// patient commits again what versitygw refused because of a folder that it was removing, since
// the last object in it had been deleted. S3 has no folders.
type patient struct{ driver.Bucket }

func (b *patient) NewWriter(ctx context.Context) (driver.Writer, error) {
	w, err := b.Bucket.NewWriter(ctx)
	return &patientWriter{w}, err
}

type patientWriter struct{ driver.Writer }

func (w *patientWriter) Commit(ctx context.Context, key string) error {
	for {
		err := w.Writer.Commit(ctx, key)
		if err == nil || !strings.Contains(err.Error(), "ExistingObjectIsDirectory") {
			return err
		}
	}
}

func TestS3(t *testing.T) { conformance(t, testserver.S3(t), nil) }

// TestAsBlob: an object store behind what the store of artifacts adds is one as before.
func TestAsBlob(t *testing.T) {
	bucket, err := clouds.Open(t.Context(), testserver.S3(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bucket.Close() })
	var n atomic.Int64
	artifactstest.RunBlobTests(t, func(t *testing.T) driver.Bucket {
		return &patient{blobartifacts.NewBucket(bucket, blobartifacts.Options{Prefix: fmt.Sprint("blob-", n.Add(1), "/"), TempDir: t.TempDir(), StartAfter: clouds.StartAfter})}
	})
}

// TestGCS: fake-gcs-server reads an object and its checksum apart, so that one which is replaced in between
// is "bad CRC on read" now and then. Google's does not.
func TestGCS(t *testing.T) { conformance(t, testserver.GCS(t), nil, artifactstest.Unsteady) }

func TestAzure(t *testing.T) {
	conformance(t, testserver.Azure(t), func(bucket *blob.Bucket) {
		var client *container.Client
		if !bucket.As(&client) {
			t.Fatal("no client")
		}
		if _, err := client.Create(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	for bucketURL, why := range map[string]string{
		"":                                   "it is no URL of a bucket",
		"s3://":                              "it is no URL of a bucket",
		"file:///tmp":                        "it is no URL of a bucket",
		"mem://x":                            "known schemes are azblob, gs, s3",
		"s3://key:hunter2@bucket":            "a URL holds no credentials",
		"s3://bucket?secret=hunter2&foo=bar": "unknown query parameter",
	} {
		_, err := clouds.Open(t.Context(), bucketURL)
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", bucketURL, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
}

func TestWithoutParameters(t *testing.T) {
	for address, want := range map[string]string{
		"s3://bucket?region=x&token=hunter2":                     "s3://bucket",
		"s3://key:hunter2@bucket/a":                              "s3://bucket/a",
		"nats://u:hun@ter2@a:4222/,nats://hunter2@b,u:hunter2@c": "nats://a:4222/,nats://b,c",
		"nats://u:12/ter2@a":                                     "nats://a",
		"nats://u:hun/ter2@a":                                    "nats://...",
		"nats://u:hun,ter2@a":                                    "nats://...,a",
		"s3://bucket?token=hun@ter2":                             "s3://bucket",
		"postgres://u:hun?ter2@a/db":                             "postgres://...",
		"/var/lib/x@y?z":                                         "/var/lib/x@y?z",
		"":                                                       "",
	} {
		if got := clouds.WithoutParameters(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
