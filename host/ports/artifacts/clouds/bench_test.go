package clouds_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/blobartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/clouds"
	"github.com/hexdag/hexdag/host/testserver"
)

// BenchmarkS3 stores and retrieves artifacts, beside one object of the same bytes put, and got and hashed, with the
// SDK. bucket is that object through ours.
func BenchmarkS3(b *testing.B) {
	at := testserver.S3(b)
	parsed, err := url.Parse(at)
	if err != nil {
		b.Fatal(err)
	}
	client := s3.New(s3.Options{Region: "us-east-1", UsePathStyle: true, BaseEndpoint: aws.String(parsed.Query().Get("endpoint")), Credentials: aws.CredentialsProviderFunc(credentials)})
	bucket, err := clouds.Open(b.Context(), at)
	if err != nil {
		b.Fatal(err)
	}
	defer bucket.Close()
	ours := blobartifacts.NewBucket(bucket, blobartifacts.Options{Prefix: "ours/", TempDir: b.TempDir(), StartAfter: clouds.StartAfter})
	store := artifacts.New(ours, artifacts.Options{Shared: true})
	for _, size := range []int{1 << 20, 16 << 20} {
		data, n := make([]byte, size), 0
		source := rand.NewChaCha8([32]byte{})
		fresh := func() string { // every piece is new
			n++
			for at := 0; at < size; at += 64 << 10 {
				source.Read(data[at : at+16])
			}
			return strconv.Itoa(size) + "-" + strconv.Itoa(n)
		}
		b.Run("put/sdk/"+strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				key := fresh()
				sum := sha256.Sum256(data)
				if _, err := client.PutObject(b.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("sdk/" + key + hex.EncodeToString(sum[:4])), Body: bytes.NewReader(data)}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("put/bucket/"+strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				key := fresh()
				w, err := ours.NewWriter(b.Context())
				if err == nil {
					_, err = w.Write(data)
				}
				if err == nil {
					err = w.Commit(b.Context(), "x/"+key)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("put/store/"+strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := store.Store(b.Context(), "run", fresh(), bytes.NewReader(data), artifacts.StoreOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		if _, err := client.PutObject(b.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("sdk/got"), Body: bytes.NewReader(data)}); err != nil {
			b.Fatal(err)
		}
		a, err := store.Store(b.Context(), "run", "got", bytes.NewReader(data), artifacts.StoreOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run("get/sdk/"+strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				got, err := client.GetObject(b.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("sdk/got")})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(sha256.New(), got.Body); err != nil {
					b.Fatal(err)
				}
				got.Body.Close()
			}
		})
		b.Run("get/store/"+strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				r, _, err := store.Retrieve(b.Context(), a.ID)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}

func credentials(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "access", SecretAccessKey: "secretsecret"}, nil
}
