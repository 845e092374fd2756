package pgvectors_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/pgvectors"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/vectorsearchtest"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, url string, metric driver.Metric) driver.Index {
	t.Helper()
	x, err := pgvectors.Open(t.Context(), pgvectors.Config{URL: url}, metric)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestConformance(t *testing.T) {
	server := testserver.VectorDatabases(t)
	vectorsearchtest.Run(t, func(t testing.TB, metric driver.Metric) driver.Index { return open(t, server.NewDatabase(), metric) })
}

// TestTwoHosts begin at once in one database, and share what it has and what room there is.
func TestTwoHosts(t *testing.T) {
	server := testserver.VectorDatabases(t)
	url := server.NewDatabase()
	var indexes [2]driver.Index
	var begin sync.WaitGroup
	for i := range indexes {
		begin.Go(func() { indexes[i] = open(t, url, driver.Cosine) })
	}
	begin.Wait()
	var wg sync.WaitGroup
	var mu sync.Mutex
	full := 0
	for i, x := range indexes {
		defer x.Close()
		v := vectorsearch.New(x, driver.Cosine, vectorsearch.Options{MaxVectors: 15})
		wg.Go(func() {
			for n := range 10 {
				err := v.Upsert(t.Context(), "acme", "c", []vectorsearch.Vector{{ID: fmt.Sprintf("%d-%d", i, n), Values: []float32{1, 2}}})
				if kernel.CodeOf(err) == kernel.CodeLimit {
					mu.Lock()
					full++
					mu.Unlock()
				} else if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, err := indexes[0].Stat(t.Context(), "acme", "c")
	if err != nil || c.Count != 15 || full != 5 {
		t.Errorf("%+v, %d were refused, %v", c, full, err)
	}
}

// TestOlderTable: a table of before there were labels is given room for them, and keeps what it has.
func TestOlderTable(t *testing.T) {
	server := testserver.VectorDatabases(t)
	url := server.NewDatabase()
	fill := func() *vectorsearch.Vectors {
		t.Helper()
		v := vectorsearch.New(open(t, url, driver.Cosine), driver.Cosine, vectorsearch.Options{})
		t.Cleanup(func() { _ = v.Close() })
		return v
	}
	if err := fill().Upsert(t.Context(), "acme", "c", []vectorsearch.Vector{{ID: "old", Values: []float32{1, 0}}}); err != nil {
		t.Fatal(err)
	}
	server.SQL(url, "ALTER TABLE hexdag_vectors DROP COLUMN labels")
	labels, err := kernel.NewLabels(kernel.Untrusted, "", "http:a")
	if err != nil {
		t.Fatal(err)
	}
	v := fill()
	if err := v.Upsert(t.Context(), "acme", "c", []vectorsearch.Vector{{ID: "new", Values: []float32{0, 1}, Labels: labels}}); err != nil {
		t.Fatal(err)
	}
	found, err := v.Search(t.Context(), "acme", "c", vectorsearch.Query{Values: []float32{1, 0}})
	if err != nil || len(found) != 2 || found[0].ID != "old" || found[0].Labels != nil || found[1].Labels.String() != labels.String() {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestCrash: what was acknowledged is there after the server was killed.
func TestCrash(t *testing.T) {
	server := testserver.VectorDatabases(t)
	v := vectorsearch.New(open(t, server.NewDatabase(), driver.Cosine), driver.Cosine, vectorsearch.Options{})
	defer v.Close()
	for n := range 20 {
		if err := v.Upsert(t.Context(), "acme", "c", []vectorsearch.Vector{{ID: fmt.Sprint(n), Values: []float32{1, float32(n)}}}); err != nil {
			t.Fatal(err)
		}
	}
	server.Kill()
	if _, err := v.Stat(t.Context(), "acme", "c"); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("without a server: %v", err)
	}
	server.Restart()
	var c vectorsearch.Collection
	var err error
	for range 5 { // a connection that was open is found dead once
		if c, err = v.Stat(t.Context(), "acme", "c"); err == nil {
			break
		}
	}
	if err != nil || c.Count != 20 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestConfiguration(t *testing.T) {
	plain := testserver.Databases(t)
	for url, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		"": {kernel.CodeConfig, "url is missing"}, "postgres://a:hunter2@127.0.0.1:1/x": {kernel.CodeUnavailable, "cannot be reached"}, plain.NewDatabase(): {kernel.CodeConfig, "no pgvector"},
	} {
		x, err := pgvectors.Open(t.Context(), pgvectors.Config{URL: url}, driver.Cosine)
		if x != nil || kernel.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
