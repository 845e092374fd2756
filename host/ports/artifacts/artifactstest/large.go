package artifactstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// noise returns bytes that nothing compresses or finds twice.
func noise(size int, seed byte) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func storeBytes(t *testing.T, s *artifacts.Store, name string, data []byte, opts artifacts.StoreOptions) *artifacts.Artifact {
	t.Helper()
	a, err := s.Store(t.Context(), "run", name, bytes.NewReader(data), opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// testStorePieces stores two versions of a large content, which share most of their pieces.
func testStorePieces(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	first := noise(3*artifacts.PiecesAbove, 1)
	second := slices.Concat(first[:5_000_000], []byte("something in between"), first[5_000_000:])
	a := storeBytes(t, s, "a", first, artifacts.StoreOptions{})
	before := len(keys(t, b, "pieces/", "", 100))
	c := storeBytes(t, s, "b", second, artifacts.StoreOptions{})
	after := len(keys(t, b, "pieces/", "", 100))
	if before < 3 || after == before || after > before+3 {
		t.Errorf("%d pieces of the one, %d of both", before, after)
	}
	for _, want := range []struct {
		a    *artifacts.Artifact
		data []byte
	}{{a, first}, {c, second}} {
		if got := content(t, s, want.a.ID); got != string(want.data) || want.a.Size != int64(len(want.data)) {
			t.Errorf("%d bytes came back, of %d", len(got), len(want.data))
		}
	}
	if found := keys(t, b, "content/", "", 10); found != nil {
		t.Errorf("kept whole, too: %v", found)
	}
}

// testStorePiecesAtTheLimit stores content around the size from which it is cut.
func testStorePiecesAtTheLimit(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	data := noise(artifacts.PiecesAbove+1, 2)
	for _, size := range []int{artifacts.PiecesAbove - 1, artifacts.PiecesAbove, artifacts.PiecesAbove + 1} {
		if a := storeBytes(t, s, "a", data[:size], artifacts.StoreOptions{}); content(t, s, a.ID) != string(data[:size]) {
			t.Errorf("%d bytes came back otherwise", size)
		}
	}
	if whole := len(keys(t, b, "content/", "", 10)); whole != 2 {
		t.Errorf("%d kept whole", whole)
	}
}

// testStorePiecesCorruption damages what large content is made of.
func testStorePiecesCorruption(t *testing.T, b driver.Bucket) { piecesCorruption(t, b, b) }

func piecesCorruption(t *testing.T, b, under driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	data := noise(2*artifacts.PiecesAbove, 3)
	a := storeBytes(t, s, "a", data, artifacts.StoreOptions{})
	recipe := "recipes/" + strings.TrimPrefix(a.Digest, "sha256:")
	damaged := func(what string) {
		t.Helper()
		r, _, err := s.Retrieve(t.Context(), a.ID)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if !errors.Is(err, artifacts.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
		var found error
		if err := s.Verify(t.Context(), func(_ *artifacts.Artifact, problem error) error { found = problem; return nil }); err != nil || !errors.Is(found, artifacts.ErrCorrupt) {
			t.Errorf("%s: Verify: %v, %v", what, found, err)
		}
	}
	piece := keys(t, b, "pieces/", "", 100)[1]
	original, made := get(t, b, piece), get(t, b, recipe)
	for name, data := range damages(get(t, under, piece)) {
		put(t, under, piece, data)
		damaged("a " + name + " piece")
	}
	for name, data := range damages(get(t, under, recipe)) {
		put(t, under, recipe, data)
		damaged("a " + name + " recipe")
	}
	if err := b.Delete(t.Context(), piece); err != nil {
		t.Fatal(err)
	}
	damaged("a piece that is missing")
	put(t, b, piece, original)
	for _, text := range []string{"", "{}", `{"version":2}`, string(made[:len(made)-3]), strings.Replace(string(made), "sha256:", "../../", 1), `{"version":1,"size":8388608,"pieces":[{"digest":"` + a.Digest + `","size":8388608}]}`} {
		put(t, b, recipe, []byte(text))
		damaged("recipe " + text[:min(len(text), 20)])
	}
	put(t, b, recipe, made)
	if got := content(t, s, a.ID); got != string(data) {
		t.Error("not mended")
	}
}

// aged is a bucket of which everything was written long ago, but for what is written after
// it was opened.
type aged struct {
	driver.Bucket
	opened time.Time
}

// old waits for a full second: that is how precisely some buckets tell when an object was
// written.
func old(b driver.Bucket) driver.Bucket {
	opened := time.Now().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(opened) + 10*time.Millisecond)
	return &aged{b, opened}
}

func (b *aged) age(o driver.Object) driver.Object {
	if !o.Modified.IsZero() && o.Modified.Before(b.opened) {
		o.Modified = o.Modified.Add(-100 * time.Hour)
	}
	return o
}

func (b *aged) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	r, o, err := b.Bucket.Open(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	then := b.age(*o)
	return r, &then, nil
}

func (b *aged) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	list, err := b.Bucket.List(ctx, prefix, after, limit)
	for i := range list {
		list[i] = b.age(list[i])
	}
	return list, err
}

func (b *aged) Walk(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return func(yield func(driver.Object, error) bool) {
		for o, err := range b.Bucket.Walk(ctx, prefix) {
			if !yield(b.age(o), err) {
				return
			}
		}
	}
}

// testCollect removes what is too old, and nothing that anything needs.
func testCollect(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	large := noise(2*artifacts.PiecesAbove, 4)
	parent := storeBytes(t, s, "parent", []byte("parent"), artifacts.StoreOptions{})
	child := storeBytes(t, s, "child", []byte("child"), artifacts.StoreOptions{Origin: artifacts.Origin{Parents: []string{parent.ID}}})
	kept := storeBytes(t, s, "kept", large, artifacts.StoreOptions{})
	shared := storeBytes(t, s, "shared", slices.Concat(large, []byte("more")), artifacts.StoreOptions{})
	gone := storeBytes(t, s, "gone", noise(2*artifacts.PiecesAbove, 5), artifacts.StoreOptions{})
	deleted := storeBytes(t, s, "deleted", noise(2*artifacts.PiecesAbove, 6), artifacts.StoreOptions{})
	put(t, b, "content/"+strings.Repeat("0", 64), []byte("of a Store that did not end"))

	s = artifacts.New(old(b), artifacts.Options{})
	fresh := storeBytes(t, s, "grandchild", []byte("x"), artifacts.StoreOptions{Origin: artifacts.Origin{Parents: []string{child.ID}}})
	put(t, b, "content/"+strings.Repeat("1", 64), []byte("of a Store that is under way"))
	if err := s.Delete(t.Context(), deleted.ID); err != nil {
		t.Fatal(err)
	}
	opts := artifacts.CollectOptions{KeepFor: 50 * time.Hour, Keep: func(a *artifacts.Artifact) bool { return a.Name == "kept" }}
	opts.Try = true
	tried, err := s.Collect(t.Context(), opts)
	if err != nil || tried.Artifacts != 2 { // shared, gone
		t.Errorf("tried: %+v, %v", tried, err)
	}
	opts.Try = false
	done, err := s.Collect(t.Context(), opts)
	if err != nil || done.Artifacts != 2 || done.Objects < 8 || done.Bytes < 4*artifacts.PiecesAbove {
		t.Errorf("%+v, %v", done, err)
	}
	for _, a := range []*artifacts.Artifact{parent, child, kept, fresh} {
		content(t, s, a.ID)
	}
	for _, a := range []*artifacts.Artifact{shared, gone, deleted} {
		_, _, err := s.Retrieve(t.Context(), a.ID)
		wantCode(t, err, kernel.CodeNotFound)
	}
	if left := keys(t, b, "content/", "", 100); len(left) != 4 { // parent, child, grandchild, and what is under way
		t.Errorf("content left: %v", left)
	}
	again, err := s.Collect(t.Context(), opts)
	if err != nil || again.Artifacts+again.Objects != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// testCollectSparesReused stores content whose pieces have been there for long and are
// needed by nothing else.
func testCollectSparesReused(t *testing.T, b driver.Bucket) {
	data := noise(2*artifacts.PiecesAbove, 7)
	s := artifacts.New(b, artifacts.Options{})
	if err := s.Delete(t.Context(), storeBytes(t, s, "a", data, artifacts.StoreOptions{}).ID); err != nil {
		t.Fatal(err)
	}
	s = artifacts.New(old(b), artifacts.Options{})
	collect := readerFunc(func([]byte) (int, error) { // most pieces are there, and no recipe yet
		if _, err := s.Collect(t.Context(), artifacts.CollectOptions{}); err != nil {
			t.Error(err)
		}
		return 0, io.EOF
	})
	a, err := s.Store(t.Context(), "run", "b", io.MultiReader(bytes.NewReader(data), collect), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if content(t, s, a.ID) != string(data) {
		t.Error("other content")
	}
}

// testCollectWithoutManifest keeps everything where it cannot be told what is needed.
func testCollectWithoutManifest(t *testing.T, b driver.Bucket) { collectWithoutManifest(t, b, b) }

func collectWithoutManifest(t *testing.T, b, under driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	a := storeBytes(t, s, "a", []byte("a"), artifacts.StoreOptions{})
	key := "manifests/" + strings.TrimPrefix(a.ID, "sha256:")
	manifest := get(t, under, key)
	put(t, under, key, manifest[1:])
	done, err := artifacts.New(old(b), artifacts.Options{}).Collect(t.Context(), artifacts.CollectOptions{KeepFor: time.Hour})
	if err != nil || done.Objects != 0 || !slices.Equal(done.Corrupt, []string{a.ID}) {
		t.Errorf("%+v, %v", done, err)
	}
	put(t, under, key, manifest)
	content(t, s, a.ID)
}

// collectDamaged removes what nothing needs, though nobody can read it.
func collectDamaged(t *testing.T, b, under driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{Shared: true})
	small, large := storeBytes(t, s, "a", []byte("small"), artifacts.StoreOptions{}), storeBytes(t, s, "b", noise(2*artifacts.PiecesAbove, 8), artifacts.StoreOptions{})
	objects := append(keys(t, under, "pieces/", "", 100), "content/"+strings.TrimPrefix(small.Digest, "sha256:"))
	for _, key := range objects {
		put(t, under, key, []byte("of another program"))
	}
	for _, a := range []*artifacts.Artifact{small, large} {
		if err := s.Delete(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	done, err := artifacts.New(old(b), artifacts.Options{}).Collect(t.Context(), artifacts.CollectOptions{})
	if err != nil || done.Objects != len(objects)+1 {
		t.Errorf("%+v, %v, of %d", done, err, len(objects)+1)
	}
}
