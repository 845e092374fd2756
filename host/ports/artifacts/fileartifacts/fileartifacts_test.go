package fileartifacts_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/fileartifacts"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("FILEARTIFACTS_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) *fileartifacts.Bucket {
	t.Helper()
	b, err := fileartifacts.OpenBucket(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket { return open(t, t.TempDir()) })
}

func TestAsBlob(t *testing.T) {
	artifactstest.RunBlobTests(t, func(t *testing.T) driver.Bucket { return open(t, t.TempDir()) })
}

// TestConformanceOfTwo uses one directory through two buckets in turn, as two
// processes do.
func TestConformanceOfTwo(t *testing.T) {
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket {
		dir := t.TempDir()
		return &inTurn{Bucket: open(t, dir), second: open(t, dir)}
	})
}

// inTurn locks through one bucket, then through the other, and reads through the second.
type inTurn struct {
	*fileartifacts.Bucket
	second *fileartifacts.Bucket
	locks  atomic.Int64
}

func (b *inTurn) Lock(ctx context.Context, exclusive bool) (func(), error) {
	if b.locks.Add(1)%2 == 0 {
		return b.second.Lock(ctx, exclusive)
	}
	return b.Bucket.Lock(ctx, exclusive)
}

func (b *inTurn) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	return b.second.Open(ctx, key)
}

func (b *inTurn) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	return b.second.List(ctx, prefix, after, limit)
}

func TestModesAndLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "artifacts")
	s := artifacts.New(open(t, dir), artifacts.Options{})
	a, err := s.Store(t.Context(), "run", "a", strings.NewReader("hello\n"), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// echo hello | sha256sum
	const digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	if a.Digest != "sha256:"+digest {
		t.Errorf("digest %s", a.Digest)
	}
	data, err := os.ReadFile(filepath.Join(dir, "content", digest))
	if err != nil || string(data) != "hello\n" {
		t.Errorf("%q, %v", data, err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDeleteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := artifacts.New(open(t, dir), artifacts.Options{})
	for i := range 3 {
		a, err := s.Store(t.Context(), "run", "a", strings.NewReader(fmt.Sprint(i)), artifacts.StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if fmt.Sprint(left) != "[lock tmp]" {
		t.Errorf("left: %v", left)
	}
}

func TestStaysInItsDirectory(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "artifacts")
	b := open(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, "content")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"content/secret", "../outside/secret", secret, "a/../../outside/secret"} {
		if _, _, err := b.Open(t.Context(), key); err == nil {
			t.Errorf("%s was opened", key)
		}
		if err := b.Delete(t.Context(), key); err == nil {
			t.Errorf("%s was deleted", key)
		}
		w, err := b.NewWriter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context(), key); err == nil {
			t.Errorf("%s was written", key)
		}
		w.Abort()
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "secret" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestRemovesOldUploads(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	for range 2 {
		w, err := b.NewWriter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Abort)
	}
	uploads, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(uploads) != 2 {
		t.Fatalf("%v, %v", uploads, err)
	}
	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "tmp", uploads[0].Name()), old, old); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) != 1 || left[0].Name() != uploads[1].Name() {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	unlock, err := open(t, dir).Lock(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := open(t, dir).Lock(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// counted has markers of what tenants have.
var counted = artifacts.Options{TenantBytes: 1 << 40}

// child stores and deletes artifacts until it is killed, and says what it has kept.
func child(dir string) {
	b, err := fileartifacts.OpenBucket(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s := artifacts.New(b, counted)
	for i := 0; ; i++ {
		store := func(name string) *artifacts.Artifact {
			content := fmt.Sprint(os.Getpid(), " ", i, strings.Repeat(".", i%5*30_000))
			a, err := s.Store(context.Background(), "run", fmt.Sprint(name, i), strings.NewReader(content), artifacts.StoreOptions{})
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			return a
		}
		kept, dropped := store("kept"), store("dropped") // of the same content
		if err := s.Delete(context.Background(), dropped.ID); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ok", kept.ID)
	}
}

// TestKill kills two processes that share a directory: nothing is torn, and
// nothing is lost that was acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []string
	for range 2 {
		var running []*exec.Cmd
		var outputs []*bufio.Scanner
		for range 2 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "FILEARTIFACTS_CHILD="+dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			running, outputs = append(running, cmd), append(outputs, bufio.NewScanner(out))
		}
		for i, cmd := range running {
			for n := 0; outputs[i].Scan(); n++ {
				id, ok := strings.CutPrefix(outputs[i].Text(), "ok ")
				if !ok {
					t.Error(outputs[i].Text())
				}
				acknowledged = append(acknowledged, id)
				if n == 20 {
					if err := cmd.Process.Kill(); err != nil {
						t.Error(err)
					}
				}
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the child ended by itself")
			}
		}
	}
	s := artifacts.New(open(t, dir), artifacts.Options{})
	list, err := s.List(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	whole := map[string]bool{}
	for _, a := range list {
		if _, _, err := s.RetrieveBytes(t.Context(), a.ID, 1<<20); err != nil {
			t.Error(err)
		}
		whole[a.ID] = true
	}
	for _, id := range acknowledged {
		if !whole[id] {
			t.Errorf("%s was acknowledged and is not there", id)
		}
	}
	before, _ := artifactstest.Markers(t, open(t, dir))
	if _, err := artifacts.New(open(t, dir), counted).Collect(t.Context(), artifacts.CollectOptions{}); err != nil {
		t.Error(err)
	}
	artifactstest.WantMarkers(t, open(t, dir))
	t.Logf("%d acknowledged, %d listed, %d markers of %d are needed", len(acknowledged), len(list), 3*len(list), len(before))
}

func BenchmarkStore(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := artifacts.New(open(b, b.TempDir()), artifacts.Options{})
			data := strings.Repeat("x", size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				if _, err := s.Store(b.Context(), "run", fmt.Sprint("n", i), strings.NewReader(data), artifacts.StoreOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// With no room on the disk a store fails and says so, whether its content is kept whole or in pieces; what was stored
// before is whole, and with room again it goes on.
func TestDiskFull(t *testing.T) {
	store := artifacts.New(open(t, testserver.SmallDisk(t, 32<<20)), artifacts.Options{})
	data := make([]byte, 6<<20) // in pieces
	var kept []string
	var err error
	for n := 0; n < 100 && err == nil; n++ {
		rand.NewChaCha8([32]byte{byte(n)}).Read(data)
		content := data
		if n%2 == 1 {
			content = data[:1<<20]
		}
		var a *artifacts.Artifact
		if a, err = store.Store(t.Context(), "run", fmt.Sprint(n), bytes.NewReader(content), artifacts.StoreOptions{}); err == nil {
			kept = append(kept, a.ID)
		}
	}
	if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), "make room") || len(kept) < 4 {
		t.Fatalf("%d artifacts on 32 MiB: %v", len(kept), err)
	}
	list, err := store.List(t.Context(), "run")
	if err != nil || len(list) != len(kept) {
		t.Errorf("%d artifacts, %d were acknowledged: %v", len(list), len(kept), err)
	}
	if err := store.Verify(t.Context(), func(a *artifacts.Artifact, err error) error { return err }); err != nil {
		t.Error(err)
	}
	for _, id := range kept[1:4] { // two of 1 MiB, which go at once, and one in pieces
		if err := store.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Store(t.Context(), "run", "again", bytes.NewReader(data[:1<<20]), artifacts.StoreOptions{}); err != nil {
		t.Error(err)
	}
}
