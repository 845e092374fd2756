package artifactstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// Markers returns what says that something is there: the keys below runs/, refs/ and usage/, and the
// bytes that the last say.
func Markers(t testing.TB, b driver.Bucket) (keys []string, bytes int64) {
	t.Helper()
	for _, prefix := range []string{"runs/", "refs/", "usage/"} {
		for o, err := range b.Walk(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, o.Key)
			n, _ := strconv.ParseInt(strings.TrimPrefix(path.Ext(o.Key), "."), 10, 64)
			bytes += n
		}
	}
	slices.Sort(keys)
	return keys, bytes
}

// WantMarkers expects those of the artifacts that are there, each with a run, a reference and what it weighs.
func WantMarkers(t testing.TB, b driver.Bucket) {
	t.Helper()
	n, weight := 0, int64(0)
	for a, err := range artifacts.New(b, artifacts.Options{}).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		r, object, err := b.Open(t.Context(), "manifests/"+strings.TrimPrefix(a.ID, "sha256:"))
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		n, weight = n+1, weight+a.Size+object.Size
	}
	if keys, got := Markers(t, b); len(keys) != 3*n || got != weight {
		t.Errorf("of %d artifacts that weigh %d, there are %d markers of %d bytes: %s", n, weight, len(keys), got, strings.Join(keys, "\n"))
	}
}

const mib = 1 << 20

// testQuotaWaste counts what a delete and a failed store leave to Collect, and no longer.
func testQuotaWaste(t *testing.T, b driver.Bucket) {
	wide, narrow := artifacts.Options{TenantBytes: 90 * mib}, artifacts.Options{TenantBytes: 25 * mib}
	try := func(s *artifacts.Store, size int, seed byte, then io.Reader) (*artifacts.Artifact, error) {
		return s.Store(t.Context(), "run", "x", io.MultiReader(bytes.NewReader(noise(size, seed)), then), artifacts.StoreOptions{Origin: artifacts.Origin{Tenant: "acme"}})
	}
	nothing := strings.NewReader("")
	s := artifacts.New(b, wide)
	a, err := try(s, 9*mib, 10, nothing)
	wantCode(t, err, "")
	wantCode(t, s.Delete(t.Context(), a.ID), "")
	a, err = try(s, 9*mib, 10, nothing) // what was waste is so no more
	wantCode(t, err, "")
	failing := readerFunc(func([]byte) (int, error) { return 0, errors.New("the source breaks off") })
	for range 3 { // its pieces are there once
		_, err = try(s, 26*mib, 11, failing)
		wantCode(t, err, kernel.CodeFailed)
	}
	wantCode(t, s.Delete(t.Context(), a.ID), "")
	if _, left := Markers(t, b); left < 16*mib || left > 35*mib { // some of the last pieces were not put any more
		t.Errorf("%d bytes are marked as left", left)
	}
	_, err = try(artifacts.New(b, narrow), 10*mib, 12, nothing)
	wantCode(t, err, kernel.CodeLimit)
	if err != nil && !strings.Contains(err.Error(), "of deleted or failed ones") {
		t.Error(err)
	}
	s = artifacts.New(old(b), narrow)
	if done, err := s.Collect(t.Context(), artifacts.CollectOptions{}); err != nil || done.Bytes < 16*mib {
		t.Errorf("%+v, %v", done, err)
	}
	WantMarkers(t, b)
	for seed := range byte(2) {
		_, err = try(s, 9*mib, 20+seed, nothing)
		wantCode(t, err, "")
	}
	WantMarkers(t, b)
}

// testReconcile has stores and deletes end after each of what they do, as in a crash: Collect leaves
// no marker of what is not there, and counts what is there.
func testReconcile(t *testing.T, b driver.Bucket) {
	counted := artifacts.Options{TenantBytes: 1 << 30}
	s := artifacts.New(b, counted)
	for i := range 3 {
		store(t, s, fmt.Sprint("run-", i), "stays", fmt.Sprint("content ", i))
	}
	store(t, artifacts.New(b, artifacts.Options{}), "run-0", "uncounted", "from when there was no quota")
	for steps := range 5 {
		a := store(t, s, fmt.Sprint("gone-", steps), "a", fmt.Sprint("deleted ", steps))
		err := artifacts.New(&stopping{Bucket: b, commits: 100, deletes: steps}, counted).Delete(t.Context(), a.ID)
		wantCode(t, err, kernel.CodeFailed)
		_, err = artifacts.New(&stopping{Bucket: b, commits: steps}, counted).Store(t.Context(), fmt.Sprint("never-", steps), "a", strings.NewReader(fmt.Sprint("stored ", steps)), artifacts.StoreOptions{})
		wantCode(t, err, kernel.CodeFailed)
	}
	before, _ := Markers(t, b)
	s = artifacts.New(old(b), counted)
	if done, err := s.Collect(t.Context(), artifacts.CollectOptions{Try: true}); err != nil || done.Markers < 10 {
		t.Errorf("tried: %+v, %v", done, err)
	}
	if after, _ := Markers(t, b); !slices.Equal(before, after) {
		t.Error("a trial has changed something")
	}
	collected := make(chan error, 1)
	during := artifacts.New(&hooked{Bucket: b, prefix: "manifests/", hook: func() {
		go func() { // waits, where it comes so far, for the store to end
			done, err := s.Collect(context.WithoutCancel(t.Context()), artifacts.CollectOptions{})
			if err == nil && done.Markers < 10 {
				err = fmt.Errorf("%+v", done)
			}
			collected <- err
		}()
		time.Sleep(50 * time.Millisecond)
	}}, counted)
	fresh := store(t, during, "run-0", "fresh", "fresh")
	if err := <-collected; err != nil {
		t.Error(err)
	}
	WantMarkers(t, b)
	if content(t, s, fresh.ID) != "fresh" {
		t.Error("other content")
	}
	if done, err := s.Collect(t.Context(), artifacts.CollectOptions{}); err != nil || done.Markers+done.Objects != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
}
