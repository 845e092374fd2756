package encrypted_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/encrypted"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func key(t *testing.T) *age.X25519Identity {
	t.Helper()
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func bucket(t *testing.T, under driver.Bucket, keys ...*age.X25519Identity) *encrypted.Bucket {
	t.Helper()
	b, err := encrypted.NewBucket(under, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAsBlob(t *testing.T) {
	artifactstest.RunBlobTests(t, func(t *testing.T) driver.Bucket { return bucket(t, memartifacts.NewBucket(), key(t)) })
}

func TestConformance(t *testing.T) {
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket { return bucket(t, memartifacts.NewBucket(), key(t)) })
}

func TestCorruption(t *testing.T) {
	artifactstest.RunCorruptionTests(t, func(t *testing.T) (driver.Bucket, driver.Bucket) {
		under := memartifacts.NewBucket()
		return bucket(t, under, key(t)), under
	})
}

// TestUnderFails: what the bucket under it fails with is not damage.
func TestUnderFails(t *testing.T) {
	under := memartifacts.NewBucket()
	k, broken := key(t), errors.New("the wire broke")
	a, err := artifacts.New(bucket(t, under, k), artifacts.Options{}).Store(t.Context(), "run", "a", strings.NewReader(strings.Repeat("x", 200_000)), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{0, 100, 190, 210, 100_000} {
		_, _, err := artifacts.New(bucket(t, &breaking{under, after, broken}, k), artifacts.Options{}).RetrieveBytes(t.Context(), a.ID, 1<<20)
		if !errors.Is(err, broken) || errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("after %d bytes: %v", after, err)
		}
	}
}

// breaking is a bucket whose contents cannot be read further than so many bytes.
type breaking struct {
	driver.Bucket
	after  int
	broken error
}

func (b *breaking) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	r, o, err := b.Bucket.Open(ctx, key)
	if err != nil || !strings.HasPrefix(key, "content/") {
		return r, o, err
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(r, int64(b.after)), iotest.ErrReader(b.broken))), o, nil
}

// all returns everything that a bucket holds directly below some prefixes.
func all(t *testing.T, b driver.Bucket) []byte {
	t.Helper()
	var found []byte
	for _, prefix := range []string{"manifests/", "content/"} {
		list, err := b.List(t.Context(), prefix, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			r, _, err := b.Open(t.Context(), o.Key)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			found = append(append(found, o.Key...), data...)
		}
	}
	return found
}

func TestNothingInTheClear(t *testing.T) {
	under := memartifacts.NewBucket()
	s := artifacts.New(bucket(t, under, key(t)), artifacts.Options{})
	opts := artifacts.StoreOptions{Metadata: map[string]any{"note": "canary of the metadata"}}
	if _, err := s.Store(t.Context(), "canary of the run", "canary of the name", strings.NewReader("canary of the content"), opts); err != nil {
		t.Fatal(err)
	}
	if found := all(t, under); len(found) < 200 || bytes.Contains(found, []byte("canary")) {
		t.Errorf("%q", found)
	}
}

func TestKeyRotation(t *testing.T) {
	under := memartifacts.NewBucket()
	first, second := key(t), key(t)
	read := func(id string, keys ...*age.X25519Identity) error {
		_, _, err := artifacts.New(bucket(t, under, keys...), artifacts.Options{}).RetrieveBytes(t.Context(), id, 100)
		return err
	}
	a, err := artifacts.New(bucket(t, under, first), artifacts.Options{}).Store(t.Context(), "run", "a", strings.NewReader("x"), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := read(a.ID, second, first); err != nil {
		t.Error(err)
	}
	if err := read(a.ID, second); err == nil || !strings.Contains(err.Error(), "cannot be decrypted") {
		t.Errorf("with another key: %v", err)
	}
}

// TestTampered changes every byte of an object in turn.
func TestTampered(t *testing.T) {
	under := memartifacts.NewBucket()
	b := bucket(t, under, key(t))
	write := func(b driver.Bucket, data []byte) {
		w, err := b.NewWriter(t.Context())
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil {
			err = w.Commit(t.Context(), "content/x")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(b driver.Bucket) ([]byte, error) {
		r, _, err := b.Open(t.Context(), "content/x")
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		return data, errors.Join(err, r.Close())
	}
	write(b, []byte("the content"))
	sealed, err := read(under)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		write(under, changed)
		if data, err := read(b); err == nil {
			t.Errorf("byte %d of %d changed: %q", i, len(sealed), data)
		}
		write(under, sealed[:i])
		if data, err := read(b); err == nil {
			t.Errorf("cut at %d of %d: %q", i, len(sealed), data)
		}
	}
	write(under, []byte("in the clear"))
	if _, err := read(b); err == nil || !strings.Contains(err.Error(), "is not encrypted as it should be") {
		t.Errorf("in the clear: %v", err)
	}
}
