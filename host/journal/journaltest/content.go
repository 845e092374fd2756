package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
)

func truncate(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	put(t, s, chunk(r, 1, 2, "one"))
	put(t, s, chunk(r, 3, 4, "two"))
	put(t, s, chunk(r, 5, 5, "three"))
	if err := s.Truncate(t.Context(), "acme", "r", 1, 3); err != nil {
		t.Fatal(err)
	}
	if head := get(t, s, r); head.Entries != 2 || head.Bytes != 3 {
		t.Errorf("%+v", head)
	}
	put(t, s, chunk(r, 3, 3, "anew"))
	holds(t, s, r, "one", "anew")
	if err := s.Truncate(t.Context(), "acme", "r", 1, 1); err != nil {
		t.Fatal(err)
	}
	holds(t, s, r)
	if err := s.Truncate(t.Context(), "acme", "none", 1, 1); !errors.Is(err, driver.ErrNotFound) {
		t.Error(err)
	}
	end(t, s, r, 0, "failed")
	if err := s.Truncate(t.Context(), "acme", "r", 1, 1); !errors.Is(err, driver.ErrFenced) {
		t.Error("a run that has ended:", err)
	}
}

func rewrite(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	put(t, s, chunk(r, 1, 2, "one"))
	put(t, s, chunk(r, 3, 4, "two"))
	anew := []driver.Chunk{chunk(r, 1, 3, "ONE"), chunk(r, 4, 4, "FOUR")}
	var taken *driver.Taken
	if err := s.Rewrite(t.Context(), "acme", "r", anew); !errors.As(err, &taken) {
		t.Error("somebody works on it:", err)
	}
	end(t, s, r, 4, "completed")
	// It is done as a whole or not at all.
	for _, wrong := range [][]driver.Chunk{{chunk(r, 1, 1, "x"), chunk(r, 1, 1, "y")}, {chunk(r, 2, 2, "x")}, {chunk(r, 1, 1, "x"), chunk(r, 3, 3, "y")}} {
		if err := s.Rewrite(t.Context(), "acme", "r", wrong); !errors.Is(err, driver.ErrGap) {
			t.Error("chunks that do not follow each other:", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Rewrite(ctx, "acme", "r", anew); err == nil {
		t.Error("rewritten by who has given up")
	}
	holds(t, s, r, "one", "two")
	if err := s.Rewrite(t.Context(), "acme", "r", anew); err != nil {
		t.Fatal(err)
	}
	holds(t, s, r, "ONE", "FOUR")
	if head := get(t, s, r); head.Entries != 4 || head.Bytes != 7 || head.Status != "completed" || head.Epoch != 1 {
		t.Errorf("%+v", head)
	}
	if err := s.Rewrite(t.Context(), "acme", "none", anew); !errors.Is(err, driver.ErrNotFound) {
		t.Error(err)
	}
}

func remove(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	put(t, s, chunk(r, 1, 1, "one"))
	var taken *driver.Taken
	if err := s.Delete(t.Context(), "acme", "r"); !errors.As(err, &taken) || taken.Owner == "" {
		t.Error("somebody works on it:", err)
	}
	end(t, s, r, 1, driver.Suspended)
	for _, want := range []error{nil, driver.ErrNotFound} {
		if err := s.Delete(t.Context(), "acme", "r"); !errors.Is(err, want) {
			t.Error(err)
		}
	}
	if _, err := s.Get(t.Context(), "acme", "r"); !errors.Is(err, driver.ErrNotFound) {
		t.Error(err)
	}
	n := 0
	for _, err := range s.Chunks(t.Context(), "acme", "r") {
		if n++; !errors.Is(err, driver.ErrNotFound) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d pairs", n)
	}
	// Its name is free, and nothing of the old one is left.
	anew := create(t, s, "acme", "r")
	holds(t, s, anew)
	put(t, s, chunk(anew, 1, 1, "anew"))
	holds(t, s, anew, "anew")
	if err := s.Compact(t.Context()); err != nil {
		t.Error(err)
	}
	holds(t, s, anew, "anew")
}

func blobs(t *testing.T, open Harness) {
	s := opened(t, open)
	const digest = "sha256:ab"
	body := bytes.Repeat([]byte{0, 1, 255, '\n'}, 1<<18)
	if _, err := s.Blob(t.Context(), "acme", digest); !errors.Is(err, driver.ErrNotFound) {
		t.Error(err)
	}
	for range 2 {
		if err := s.PutBlob(t.Context(), "acme", digest, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutBlob(t.Context(), "acme", "sha256:empty", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Blob(t.Context(), "acme", digest); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if got, err := s.Blob(t.Context(), "acme", "sha256:empty"); err != nil || len(got) != 0 {
		t.Errorf("%q: %v", got, err)
	}
	if _, err := s.Blob(t.Context(), "globex", digest); !errors.Is(err, driver.ErrNotFound) {
		t.Error("another tenant's:", err)
	}
	hour := time.Hour
	if n, err := s.Sweep(t.Context(), "acme", time.Now().Add(-hour), nil); n != 0 || err != nil {
		t.Error("those put later than it:", n, err)
	}
	if n, err := s.Sweep(t.Context(), "globex", time.Now().Add(hour), nil); n != 0 || err != nil {
		t.Error("another tenant's:", n, err)
	}
	if n, err := s.Sweep(t.Context(), "acme", time.Now().Add(hour), map[string]bool{digest: true}); n != 1 || err != nil {
		t.Error(n, err)
	}
	if got, err := s.Blob(t.Context(), "acme", digest); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if n, err := s.Sweep(t.Context(), "acme", time.Now().Add(hour), nil); n != 1 || err != nil {
		t.Error(n, err)
	}
}

func tenantsApart(t *testing.T, open Harness) {
	s := opened(t, open)
	runs := map[string]*driver.Run{}
	for i, tenant := range tenants {
		r := run(tenant, "same")
		r.Pipeline, r.Parent, r.Version = tenant, tenant, tenant
		if err := s.Create(t.Context(), r); err != nil {
			t.Fatalf("%q: %v", tenant, err)
		}
		put(t, s, chunk(r, 1, 1, fmt.Sprint(i)))
		if err := s.PutBlob(t.Context(), tenant, "sha256:1", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		runs[tenant] = r
	}
	for i, tenant := range tenants {
		list, err := s.Runs(t.Context(), tenant, driver.Query{Pipeline: tenant})
		if err != nil || len(list) != 1 || list[0].Tenant != tenant || list[0].ID != "same" || list[0].Pipeline != tenant || list[0].Parent != tenant || list[0].Version != tenant {
			t.Errorf("%q: %+v %v", tenant, list, err)
		}
		holds(t, s, runs[tenant], fmt.Sprint(i))
		if got, err := s.Blob(t.Context(), tenant, "sha256:1"); err != nil || string(got) != fmt.Sprint(i) {
			t.Errorf("%q: %q %v", tenant, got, err)
		}
	}
	for _, id := range tenants[1:] { // as ids, too
		put(t, s, chunk(create(t, s, "ids", id), 1, 1, id))
	}
	for _, id := range tenants[1:] {
		holds(t, s, run("ids", id), id)
	}
	end(t, s, runs["acme"], 1, "completed")
	if err := s.Delete(t.Context(), "acme", "same"); err != nil {
		t.Fatal(err)
	}
	holds(t, s, runs["Acme"], "1")
}

func queries(t *testing.T, open Harness) {
	s := opened(t, open)
	at := time.Unix(1_700_000_000, 0)
	for i, r := range []*driver.Run{{ID: "a", Pipeline: "p", Begun: at}, {ID: "b", Pipeline: "q", Begun: at.Add(time.Hour)}, {ID: "c", Pipeline: "p", Begun: at.Add(-time.Hour)}, {ID: "d", Pipeline: "p", Begun: at}} {
		r.Tenant = "acme"
		if err := s.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			end(t, s, r, 0, "completed")
		}
	}
	for name, c := range map[string]struct {
		q    driver.Query
		want string
	}{
		"all": {driver.Query{}, "bdac"}, "pipeline": {driver.Query{Pipeline: "p"}, "dac"}, "status": {driver.Query{Status: "completed"}, "ac"},
		"both": {driver.Query{Pipeline: "p", Status: driver.Running}, "d"}, "limit": {driver.Query{Limit: 2}, "bd"}, "limit of some": {driver.Query{Pipeline: "p", Limit: 2}, "da"},
		"free": {driver.Query{Free: true}, ""}, "before": {driver.Query{Before: time.Now().Add(-time.Hour)}, ""}, "after": {driver.Query{Before: time.Now().Add(time.Hour)}, "bdac"},
	} {
		list, err := s.Runs(t.Context(), "acme", c.q)
		got := ""
		for _, r := range list {
			got += r.ID
		}
		if err != nil || got != c.want {
			t.Errorf("%s: %s, not %s: %v", name, got, c.want, err)
		}
	}
	if list, err := s.Runs(t.Context(), "globex", driver.Query{}); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

func large(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	body := string(bytes.Repeat([]byte("0123456789abcde\x00"), 1<<20))
	for n := range uint64(3) {
		put(t, s, chunk(r, n+1, n+1, body))
	}
	holds(t, s, r, body, body, body)
}
