package artifactstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

func store(t *testing.T, s *artifacts.Store, runID, name, data string) *artifacts.Artifact {
	t.Helper()
	a, err := s.Store(t.Context(), runID, name, strings.NewReader(data), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func content(t *testing.T, s *artifacts.Store, id string) string {
	t.Helper()
	r, _, err := s.Retrieve(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func wantCode(t *testing.T, err error, want kernel.Code) {
	t.Helper()
	if got := kernel.CodeOf(err); got != want {
		t.Errorf("got %v (%s), want %s", err, got, want)
	}
}

// objects lists the whole bucket below the prefixes that a store uses.
func objects(t *testing.T, b driver.Bucket, a *artifacts.Artifact) []string {
	t.Helper()
	digits := strings.TrimPrefix(a.Digest, "sha256:")
	found := append(keys(t, b, "content/", "", 100), keys(t, b, "manifests/", "", 100)...)
	return append(found, keys(t, b, "refs/"+digits+"/", "", 100)...)
}

func testStoreRoundTrip(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	data := bytes.Repeat([]byte{0, 1, 2, 0xff, '\n'}, 50_000)
	metadata := map[string]any{"n": json.Number("12345678901234567890"), "tags": []any{"a", "ü", nil}, "<&>": true}
	a, err := s.Store(t.Context(), "run 1/ü", "reports/März 2026.bin", iotest.HalfReader(bytes.NewReader(data)),
		artifacts.StoreOptions{ContentType: "text/plain; charset=utf-8", Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	want := &artifacts.Artifact{ID: a.ID, RunID: "run 1/ü", Name: "reports/März 2026.bin", Digest: a.Digest, Size: int64(len(data)),
		ContentType: "text/plain; charset=utf-8", Metadata: metadata, Stored: a.Stored}
	got, described, err := s.RetrieveBytes(t.Context(), a.ID, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes came back")
	}
	list, err := s.List(t.Context(), "run 1/ü")
	if err != nil {
		t.Fatal(err)
	}
	for name, described := range map[string]any{"Store": a, "Retrieve": described, "List": list[0]} {
		if diff := cmp.Diff(any(want), described); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if err := s.Delete(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Delete(t.Context(), a.ID), kernel.CodeNotFound)
	_, _, err = s.Retrieve(t.Context(), a.ID)
	wantCode(t, err, kernel.CodeNotFound)
	if left := objects(t, b, a); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func testStoreSharedContent(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	all := []*artifacts.Artifact{
		store(t, s, "run-1", "a", "same"), store(t, s, "run-2", "a", "same"), store(t, s, "run-1", "b", "same"),
	}
	if got := keys(t, b, "content/", "", 10); len(got) != 1 {
		t.Errorf("one content is kept as %v", got)
	}
	for i, a := range all {
		for _, other := range all[i:] {
			if got := content(t, s, other.ID); got != "same" {
				t.Errorf("%q", got)
			}
			if other != a && (other.ID == a.ID || other.Digest != a.Digest) {
				t.Errorf("%+v and %+v", a, other)
			}
		}
		if err := s.Delete(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		want := 0 // the content once, then a manifest and a reference for each artifact
		if left := len(all) - i - 1; left > 0 {
			want = 1 + 2*left
		}
		if left := objects(t, b, a); len(left) != want {
			t.Errorf("%d objects are left, want %d: %v", len(left), want, left)
		}
	}
}

func testStoreIsIdempotent(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	first, second := store(t, s, "run", "a", "x"), store(t, s, "run", "a", "x")
	if first.ID != second.ID {
		t.Errorf("%s and %s", first.ID, second.ID)
	}
	other := store(t, s, "run", "a", "y")
	typed, err := s.Store(t.Context(), "run", "a", strings.NewReader("x"), artifacts.StoreOptions{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{first.ID: true, other.ID: true, typed.ID: true}
	list, err := s.List(t.Context(), "run")
	if err != nil || len(ids) != 3 || len(list) != 3 {
		t.Errorf("%d ids, %d listed, %v", len(ids), len(list), err)
	}
}

func testStoreList(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	want := map[string]bool{}
	for i := range 7 {
		want[store(t, s, "run", fmt.Sprint("n", i), "x").ID] = true
		store(t, s, "run2", fmt.Sprint("n", i), "x")
	}
	got, after := map[string]bool{}, ""
	for {
		page, err := s.ListPage(t.Context(), "run", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page {
			if a.ID <= after || a.RunID != "run" {
				t.Errorf("%+v behind %s", a, after)
			}
			after, got[a.ID] = a.ID, true
		}
		if len(page) < 3 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none, err := s.List(t.Context(), "no such run"); err != nil || none != nil {
		t.Errorf("%v, %v", none, err)
	}
}

func testStoreFailedSource(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{MaxSize: 1000})
	broken := errors.New("the source broke")
	try := func(ctx context.Context, r io.Reader) error {
		_, err := s.Store(ctx, "run", "a", r, artifacts.StoreOptions{})
		return err
	}
	err := try(t.Context(), io.MultiReader(strings.NewReader("some"), iotest.ErrReader(broken)))
	if wantCode(t, err, kernel.CodeFailed); !errors.Is(err, broken) {
		t.Errorf("the cause is lost: %v", err)
	}
	wantCode(t, try(t.Context(), strings.NewReader(strings.Repeat("x", 1001))), kernel.CodeLimit)
	ctx, cancel := context.WithCancel(t.Context())
	err = try(ctx, io.MultiReader(strings.NewReader("some"), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil })))
	wantCode(t, err, kernel.CodeCanceled)

	if list, err := s.List(t.Context(), "run"); err != nil || list != nil {
		t.Errorf("kept: %v, %v", list, err)
	}
	if got := keys(t, b, "content/", "", 10); got != nil {
		t.Errorf("kept: %v", got)
	}
	store(t, s, "run", "a", strings.Repeat("x", 1000)) // the limit itself
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// testStoreCorruption changes what is under a store and expects every read to say so, and
// nothing else to be disturbed.
func testStoreCorruption(t *testing.T, b driver.Bucket) { storeCorruption(t, b, b) }

// storeCorruption changes what lies in the bucket under b.
func storeCorruption(t *testing.T, b, under driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	other := store(t, s, "run", "b", "other content")
	a := store(t, s, "run", "a", "the content")
	contentKey, manifestKey := "content/"+a.Digest[len("sha256:"):], "manifests/"+a.ID[len("sha256:"):]
	read := func() error {
		_, _, err := s.RetrieveBytes(t.Context(), a.ID, 100)
		return err
	}
	for name, data := range damages(get(t, under, contentKey)) {
		put(t, under, contentKey, data)
		if err := read(); !errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("%s content: %v", name, err)
		}
		wantOneCorrupt(t, s, a, other)
	}
	if err := b.Delete(t.Context(), contentKey); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, artifacts.ErrCorrupt) {
		t.Errorf("content missing: %v", err)
	}
	store(t, s, "run", "a", "the content") // heals
	if err := read(); err != nil {
		t.Error(err)
	}

	for name, data := range damages(get(t, under, manifestKey)) {
		put(t, under, manifestKey, data)
		if err := read(); !errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("%s manifest: %v", name, err)
		}
		if _, err := s.List(t.Context(), "run"); !errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("List with a %s manifest: %v", name, err)
		}
		wantOneCorrupt(t, s, a, other)
		if done, err := s.Collect(t.Context(), artifacts.CollectOptions{}); err != nil || !slices.Equal(done.Corrupt, []string{a.ID}) {
			t.Errorf("Collect with a %s manifest: %+v, %v", name, done, err)
		}
	}
	if err := s.Delete(t.Context(), a.ID); err != nil {
		t.Errorf("Delete with a changed manifest: %v", err)
	}
	wantCode(t, read(), kernel.CodeNotFound)
	store(t, s, "run", "a", "the content")
	if err := read(); err != nil {
		t.Error(err)
	}
}

// damages are what becomes of an object.
func damages(data []byte) map[string][]byte {
	flipped := bytes.Clone(data)
	flipped[len(flipped)-1] ^= 1
	return map[string][]byte{"flipped": flipped, "cut": data[:len(data)-1], "longer": append(bytes.Clone(data), 's'), "empty": {}, "foreign": []byte("of another program\n")}
}

// wantOneCorrupt walks over all and expects both, of which one is damaged.
func wantOneCorrupt(t *testing.T, s *artifacts.Store, damaged, good *artifacts.Artifact) {
	t.Helper()
	found := map[string]bool{}
	err := s.Verify(t.Context(), func(a *artifacts.Artifact, problem error) error {
		found[a.ID] = errors.Is(problem, artifacts.ErrCorrupt)
		return nil
	})
	if err != nil || len(found) != 2 || !found[damaged.ID] || found[good.ID] {
		t.Errorf("Verify: %v, %v", found, err)
	}
	if list, err := s.Lineage(t.Context(), good.ID); err != nil || len(list) != 1 {
		t.Errorf("Lineage: %v, %v", list, err)
	}
}

// testStoreInterrupted makes a Store end after each of its commits, as a crash
// does: there is no artifact, what others need stays, and storing again works.
func testStoreInterrupted(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	for commits := range 4 {
		data := fmt.Sprint("content ", commits)
		stopped := artifacts.New(&stopping{Bucket: b, commits: commits}, artifacts.Options{})
		_, err := stopped.Store(t.Context(), "run", "a", strings.NewReader(data), artifacts.StoreOptions{})
		wantCode(t, err, kernel.CodeFailed)
		if list, err := s.List(t.Context(), "run"); err != nil || list != nil {
			t.Errorf("after %d commits: %v, %v", commits, list, err)
		}
		other := store(t, s, "other", "a", data)
		if got := content(t, s, other.ID); got != data {
			t.Errorf("%q", got)
		}
		if err := s.Delete(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
		if left := objects(t, b, other); left != nil {
			t.Errorf("after %d commits, left behind: %v", commits, left)
		}
		again := store(t, s, "run", "a", data)
		if err := s.Delete(t.Context(), again.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// stopping is a bucket that fails after some commits, and some deletes.
type stopping struct {
	driver.Bucket

	mu               sync.Mutex
	commits, deletes int
}

// step takes one of the steps that are left.
func (b *stopping) step(left *int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if *left == 0 {
		return errors.New("stopped")
	}
	*left--
	return nil
}

func (b *stopping) Delete(ctx context.Context, key string) error {
	if err := b.step(&b.deletes); err != nil {
		return err
	}
	return b.Bucket.Delete(ctx, key)
}

func (b *stopping) NewWriter(ctx context.Context) (driver.Writer, error) {
	w, err := b.Bucket.NewWriter(ctx)
	return &stoppingWriter{Writer: w, bucket: b}, err
}

type stoppingWriter struct {
	driver.Writer
	bucket *stopping
}

func (w *stoppingWriter) Commit(ctx context.Context, key string) error {
	if err := w.bucket.step(&w.bucket.commits); err != nil {
		return err
	}
	return w.Writer.Commit(ctx, key)
}

// testStoreDuringDelete deletes an artifact while another of the same content is
// between its content and its manifest: the content stays.
func testStoreDuringDelete(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	old := store(t, s, "run", "old", "shared")
	deleted := make(chan error, 1)
	between := artifacts.New(&hooked{Bucket: b, prefix: "runs/", hook: func() {
		go func() { deleted <- s.Delete(context.WithoutCancel(t.Context()), old.ID) }()
		select {
		case err := <-deleted: // nothing held it up
			deleted <- err
		case <-time.After(50 * time.Millisecond):
		}
	}}, artifacts.Options{})
	fresh := store(t, between, "run", "fresh", "shared")
	if err := <-deleted; err != nil {
		t.Error(err)
	}
	if got := content(t, s, fresh.ID); got != "shared" {
		t.Errorf("%q", got)
	}
}

// hooked is a bucket that calls hook before it commits a key with prefix.
type hooked struct {
	driver.Bucket
	prefix string
	hook   func()
}

func (b *hooked) NewWriter(ctx context.Context) (driver.Writer, error) {
	w, err := b.Bucket.NewWriter(ctx)
	return &hookedWriter{Writer: w, bucket: b}, err
}

type hookedWriter struct {
	driver.Writer
	bucket *hooked
}

func (w *hookedWriter) Commit(ctx context.Context, key string) error {
	if strings.HasPrefix(key, w.bucket.prefix) {
		w.bucket.hook()
	}
	return w.Writer.Commit(ctx, key)
}

// testStoreConcurrent stores and deletes artifacts of the same content from
// several sides: nobody's delete takes away what another has stored.
func testStoreConcurrent(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for range 8 {
				a, err := s.Store(t.Context(), fmt.Sprint("run-", i), "a", strings.NewReader("shared"), artifacts.StoreOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if data, _, err := s.RetrieveBytes(t.Context(), a.ID, 100); err != nil || string(data) != "shared" {
					t.Errorf("%q, %v", data, err)
				}
				if err := s.Delete(t.Context(), a.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := keys(t, b, "content/", "", 10); got != nil {
		t.Errorf("left behind: %v", got)
	}
}
