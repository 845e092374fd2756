// Package artifactstest is what every backend of the artifact store is held to:
// the duties of driver.Bucket, and a Store on top of it.
package artifactstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// Lack is a duty that a backend says it does not keep.
type Lack string

// The duties that a backend may lack.
const (
	NotAtomic    Lack = "who reads an object while it is written may get an error or a part of it"
	Unsteady     Lack = "who reads an object while other bytes replace it may get an error; the store's own are replaced by the same"
	WithoutTimes Lack = "it does not tell when an object was written"
)

// lacking are the tests that a backend without a duty cannot pass.
var lacking = map[string][]Lack{
	"ConcurrentSameKey": {NotAtomic, Unsteady}, "StoreConcurrent": {NotAtomic}, "OpenReaderStays": {NotAtomic}, "StoreDuringDelete": {NotAtomic},
	"Collect": {WithoutTimes}, "QuotaWaste": {WithoutTimes}, "Reconcile": {WithoutTimes}, "CollectDamaged": {WithoutTimes}, "Times": {WithoutTimes},
}

// RunConformanceTests runs the suite, without the tests of duties that the backend
// lacks. newBucket returns an empty bucket and leaves closing it to t.Cleanup.
func RunConformanceTests(t *testing.T, newBucket func(t *testing.T) driver.Bucket, lacks ...Lack) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b driver.Bucket)
	}{
		{"CommitAndOpen", testCommitAndOpen},
		{"Empty", testEmpty},
		{"Replace", testReplace},
		{"NothingBeforeCommit", testNothingBeforeCommit},
		{"Abort", testAbort},
		{"Absent", testAbsent},
		{"List", testList},
		{"ListIsOneLevel", testListIsOneLevel},
		{"Walk", testWalk},
		{"Times", testTimes},
		{"Delete", testDelete},
		{"OpenReaderStays", testOpenReaderStays},
		{"EndedContext", testEndedContext},
		{"ConcurrentSameKey", testConcurrentSameKey},
		{"ConcurrentPrefix", testConcurrentPrefix},
		{"Lock", testLock},
		{"LockGivesUp", testLockGivesUp},
		{"StoreRoundTrip", testStoreRoundTrip},
		{"Fences", testFences}, {"FencesRace", testFencesRace},
		{"StoreSharedContent", testStoreSharedContent},
		{"StoreIsIdempotent", testStoreIsIdempotent},
		{"StoreList", testStoreList},
		{"StoreFailedSource", testStoreFailedSource},
		{"StoreCorruption", testStoreCorruption},
		{"StoreInterrupted", testStoreInterrupted},
		{"StoreDuringDelete", testStoreDuringDelete},
		{"StoreConcurrent", testStoreConcurrent},
		{"StorePieces", testStorePieces},
		{"StorePiecesAtTheLimit", testStorePiecesAtTheLimit},
		{"StorePiecesCorruption", testStorePiecesCorruption},
		{"Collect", testCollect},
		{"QuotaWaste", testQuotaWaste},
		{"Reconcile", testReconcile},
		{"CollectSparesReused", testCollectSparesReused},
		{"CollectWithoutManifest", testCollectWithoutManifest},
		{"CollectDamaged", func(t *testing.T, b driver.Bucket) { collectDamaged(t, b, b) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, lack := range lacking[test.name] {
				if slices.Contains(lacks, lack) {
					t.Skip("NOT PROMISED: ", lack)
				}
			}
			test.run(t, newBucket(t))
		})
	}
}

// RunCorruptionTests runs the suite's tests of damage where the damage is to what a bucket keeps in
// another. newBuckets returns both.
func RunCorruptionTests(t *testing.T, newBuckets func(t *testing.T) (b, under driver.Bucket)) {
	for name, test := range map[string]func(t *testing.T, b, under driver.Bucket){
		"Store": storeCorruption, "Pieces": piecesCorruption, "CollectWithoutManifest": collectWithoutManifest, "CollectDamaged": collectDamaged,
	} {
		t.Run(name, func(t *testing.T) {
			b, under := newBuckets(t)
			test(t, b, under)
		})
	}
}

func put(t *testing.T, b driver.Bucket, key string, data []byte) {
	t.Helper()
	if err := tryPut(t.Context(), b, key, data); err != nil {
		t.Fatal(err)
	}
}

// tryPut writes in pieces.
func tryPut(ctx context.Context, b driver.Bucket, key string, data []byte) error {
	w, err := b.NewWriter(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	for piece := range slices.Chunk(data, 1000) {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return w.Commit(ctx, key)
}

func get(t *testing.T, b driver.Bucket, key string) []byte {
	t.Helper()
	data, err := tryGet(t.Context(), b, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// tryGet reads an object and holds its description to it.
func tryGet(ctx context.Context, b driver.Bucket, key string) ([]byte, error) {
	r, object, err := b.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if object.Key != key || object.Size != int64(len(data)) {
		return nil, fmt.Errorf("%s of %d bytes is described as %+v", key, len(data), object)
	}
	if age := time.Since(object.Modified); !object.Modified.IsZero() && (age < -time.Minute || age > time.Hour) {
		return nil, fmt.Errorf("%s was modified %v ago", key, age)
	}
	return data, nil
}

func keys(t *testing.T, b driver.Bucket, prefix, after string, limit int) []string {
	t.Helper()
	objects, err := b.List(t.Context(), prefix, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, o := range objects {
		found = append(found, o.Key)
	}
	return found
}

func wantAbsent(t *testing.T, b driver.Bucket, key string) {
	t.Helper()
	if _, _, err := b.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of absent %s: %v", key, err)
	}
}

func testCommitAndOpen(t *testing.T, b driver.Bucket) {
	large := bytes.Repeat([]byte("0123456789\x00\xff\n"), 100_000)
	for key, data := range map[string][]byte{"top": []byte("a"), "a/b": []byte("b"), "a/b-c/d.e_f": large} {
		put(t, b, key, data)
		if !bytes.Equal(get(t, b, key), data) {
			t.Errorf("%s differs", key)
		}
	}
}

func testEmpty(t *testing.T, b driver.Bucket) {
	put(t, b, "dir/empty", nil)
	if data := get(t, b, "dir/empty"); len(data) != 0 {
		t.Errorf("%q", data)
	}
}

func testReplace(t *testing.T, b driver.Bucket) {
	put(t, b, "dir/key", []byte("a longer first version"))
	put(t, b, "dir/key", []byte("second"))
	if got := get(t, b, "dir/key"); string(got) != "second" {
		t.Errorf("%q", got)
	}
	if got := keys(t, b, "dir/", "", 10); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func testNothingBeforeCommit(t *testing.T, b driver.Bucket) {
	w, err := b.NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, b, "dir/key")
	if err := w.Commit(t.Context(), "dir/key"); err != nil {
		t.Fatal(err)
	}
	w.Abort() // does nothing now
	if got := get(t, b, "dir/key"); string(got) != "data" {
		t.Errorf("%q", got)
	}
}

func testAbort(t *testing.T, b driver.Bucket) {
	w, err := b.NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	if got := keys(t, b, "dir/", "", 10); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func testAbsent(t *testing.T, b driver.Bucket) {
	put(t, b, "dir/key", nil)
	for _, key := range []string{"dir/other", "none/key", "dir/key.", "dir/ke"} {
		wantAbsent(t, b, key)
		if err := b.Delete(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Delete of absent %s: %v", key, err)
		}
	}
	if got := keys(t, b, "none/", "", 10); got != nil {
		t.Errorf("%v", got)
	}
}

func testList(t *testing.T, b driver.Bucket) {
	names := []string{"a", "a-", "a.", "a0", "aa", "b", "b_"} // in byte order
	for _, i := range []int{3, 0, 6, 5, 1, 4, 2} {
		put(t, b, "dir/"+names[i], []byte(names[i]))
	}
	for limit := 1; limit <= len(names)+1; limit++ {
		var got []string
		for after := ""; ; {
			page := keys(t, b, "dir/", after, limit)
			got = append(got, page...)
			if len(page) < limit {
				break
			}
			after = page[len(page)-1]
		}
		if want := "[dir/a dir/a- dir/a. dir/a0 dir/aa dir/b dir/b_]"; fmt.Sprint(got) != want {
			t.Errorf("by %d: %v, want %s", limit, got, want)
		}
	}
	if got := keys(t, b, "dir/", "dir/a1", 10); fmt.Sprint(got) != "[dir/aa dir/b dir/b_]" {
		t.Errorf("behind a key that is not there: %v", got)
	}
	objects, err := b.List(t.Context(), "dir/", "dir/a0", 1)
	if err != nil || len(objects) != 1 || objects[0].Size != 2 {
		t.Errorf("%+v, %v", objects, err)
	}
}

func testListIsOneLevel(t *testing.T, b driver.Bucket) {
	for _, key := range []string{"dir", "dir2/a", "dirs/a", "x/dir/a", "x/dir/sub/a", "x/dirt/a", "x/b"} {
		put(t, b, key, nil)
	}
	for prefix, want := range map[string]string{"x/dir/": "[x/dir/a]", "x/": "[x/b]", "x/dir/sub/": "[x/dir/sub/a]"} {
		if got := keys(t, b, prefix, "", 10); fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", prefix, got, want)
		}
	}
}

// testWalk walks over more than a page of a list, at several depths, and deletes on the way.
func testWalk(t *testing.T, b driver.Bucket) {
	want := map[string]int64{"x/dir/a": 1, "x/dir-a/b": 2, "x/dir/sub/er/c": 3, "x/d": 0}
	for key, size := range want {
		put(t, b, key, make([]byte, size))
	}
	for _, key := range []string{"w", "xx/a", "y/x/dir/a"} {
		put(t, b, key, nil)
	}
	got := map[string]int64{}
	for o, err := range b.Walk(t.Context(), "x/") {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[o.Key]; twice {
			t.Errorf("%s comes again", o.Key)
		}
		got[o.Key] = o.Size
		if err := b.Delete(t.Context(), o.Key); err != nil {
			t.Error(err)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, prefix := range []string{"x/", "none/"} {
		for o, err := range b.Walk(t.Context(), prefix) {
			t.Errorf("%s: %+v, %v", prefix, o, err)
		}
	}
	put(t, b, "x/a/b", nil)
	put(t, b, "x/a/c", nil)
	n := 0
	for _, err := range b.Walk(t.Context(), "x/") {
		if n++; err != nil {
			t.Error(err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for o, err := range b.Walk(ctx, "x/") {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("of an ended context: %+v, %v", o, err)
		}
	}
	if n != 2 {
		t.Errorf("%d were yielded", n)
	}
}

// testTimes expects to be told when an object was written, by Open and List, within what a
// coarse clock of the backend gives.
func testTimes(t *testing.T, b driver.Bucket) {
	put(t, b, "dir/key", []byte("x"))
	r, object, err := b.Open(t.Context(), "dir/key")
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	list, err := b.List(t.Context(), "dir/", "", 1)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	for _, modified := range []time.Time{object.Modified, list[0].Modified} {
		if age := time.Since(modified); age < -2*time.Second || age > time.Minute {
			t.Errorf("written %s ago", age)
		}
	}
}

func testDelete(t *testing.T, b driver.Bucket) {
	put(t, b, "dir/sub/a", nil)
	put(t, b, "dir/b", []byte("b"))
	if err := b.Delete(t.Context(), "dir/sub/a"); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, b, "dir/sub/a")
	if got := get(t, b, "dir/b"); string(got) != "b" {
		t.Errorf("%q", got)
	}
	put(t, b, "dir/sub/a", []byte("again"))
	if got := get(t, b, "dir/sub/a"); string(got) != "again" {
		t.Errorf("%q", got)
	}
}

func testOpenReaderStays(t *testing.T, b driver.Bucket) {
	old := bytes.Repeat([]byte("old"), 100_000)
	put(t, b, "dir/key", old)
	r, _, err := b.Open(t.Context(), "dir/key")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	put(t, b, "dir/key", []byte("new"))
	if err := b.Delete(t.Context(), "dir/key"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(append(head, rest...), old) {
		t.Error("a reader saw a mix of old and new")
	}
}

func testEndedContext(t *testing.T, b driver.Bucket) {
	put(t, b, "dir/key", []byte("data"))
	w, err := b.NewWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"Commit":    w.Commit(ctx, "dir/other"),
		"NewWriter": func() error { _, err := b.NewWriter(ctx); return err }(),
		"Open":      func() error { _, _, err := b.Open(ctx, "dir/key"); return err }(),
		"List":      func() error { _, err := b.List(ctx, "dir/", "", 1); return err }(),
		"Delete":    b.Delete(ctx, "dir/key"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := keys(t, b, "dir/", "", 10); fmt.Sprint(got) != "[dir/key]" {
		t.Errorf("%v", got)
	}
}

// testConcurrentSameKey has writers replace one object while readers read it:
// each sees one version whole.
func testConcurrentSameKey(t *testing.T, b driver.Bucket) {
	version := func(i int) []byte { return bytes.Repeat([]byte{'a' + byte(i)}, 20_000+i) }
	put(t, b, "dir/key", version(0))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				if err := tryPut(t.Context(), b, "dir/key", version(i)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				got, err := tryGet(t.Context(), b, "dir/key")
				if err != nil || len(got) == 0 || !bytes.Equal(got, version(int(got[0]-'a'))) {
					t.Errorf("a torn object of %d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

// testConcurrentPrefix fills and empties one prefix from several sides.
func testConcurrentPrefix(t *testing.T, b driver.Bucket) {
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			key := fmt.Sprintf("deep/er/dir/%d", i)
			for range 15 {
				if err := tryPut(t.Context(), b, key, []byte("data")); err != nil {
					t.Errorf("Commit: %v", err)
				}
				if got, err := tryGet(t.Context(), b, key); string(got) != "data" {
					t.Errorf("%q, %v", got, err)
				}
				if err := b.Delete(t.Context(), key); err != nil {
					t.Errorf("Delete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := keys(t, b, "deep/er/dir/", "", 10); got != nil {
		t.Errorf("left: %v", got)
	}
}
