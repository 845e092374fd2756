package fileartifacts_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/fileartifacts"
)

func random(size int, seed uint64) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	return data
}

// BenchmarkStoreBesideCopy stores content that is not there yet, beside a plain copy of it to a
// file that is hashed on the way and synced in the end (its name is not, which an artifact's is).
func BenchmarkStoreBesideCopy(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20, 64 << 20} {
		data := random(size, 1)
		b.Run("copy/"+strconv.Itoa(size), func(b *testing.B) {
			dir := b.TempDir()
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				data[0], data[size/2] = byte(i), byte(i>>8)
				copyAndHash(b, filepath.Join(dir, strconv.Itoa(i)), bytes.NewReader(data))
			}
		})
		b.Run("store/"+strconv.Itoa(size), func(b *testing.B) {
			store := newStore(b)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				for at := 0; at < size; at += 256 << 10 { // every piece is new
					data[at], data[at+1], data[at+2] = byte(i), byte(i>>8), byte(i>>16)
				}
				if _, err := store.Store(b.Context(), "run", strconv.Itoa(i), bytes.NewReader(data), artifacts.StoreOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRetrieveBesideRead reads an artifact, beside reading and hashing a file.
func BenchmarkRetrieveBesideRead(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20, 64 << 20} {
		data := random(size, 1)
		b.Run("read/"+strconv.Itoa(size), func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "x")
			copyAndHash(b, file, bytes.NewReader(data))
			b.SetBytes(int64(size))
			for b.Loop() {
				f, err := os.Open(file)
				if err != nil {
					b.Fatal(err)
				}
				hash := sha256.New()
				if _, err := io.Copy(hash, f); err != nil {
					b.Fatal(err)
				}
				hash.Sum(nil)
				f.Close()
			}
		})
		b.Run("retrieve/"+strconv.Itoa(size), func(b *testing.B) {
			store := newStore(b)
			a, err := store.Store(b.Context(), "run", "x", bytes.NewReader(data), artifacts.StoreOptions{})
			if err != nil {
				b.Fatal(err)
			}
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

func newStore(b *testing.B) *artifacts.Store {
	b.Helper()
	bucket, err := fileartifacts.OpenBucket(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { bucket.Close() })
	return artifacts.New(bucket, artifacts.Options{})
}

func copyAndHash(b *testing.B, file string, data io.Reader) {
	b.Helper()
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, hash), data); err != nil {
		b.Fatal(err)
	}
	hash.Sum(nil)
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
}
