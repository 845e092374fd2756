// Package vectorsearchtest is the suite that every backend of the vector search port passes.
package vectorsearchtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
)

// Harness makes an empty index of a metric. The suite closes it.
type Harness func(t testing.TB, metric driver.Metric) driver.Index

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Search", h.testSearch)
	t.Run("Metrics", h.testMetrics)
	t.Run("Filters", h.testFilters)
	t.Run("Upsert", h.testUpsert)
	t.Run("Labels", h.testLabels)
	t.Run("Delete", h.testDelete)
	t.Run("Names", h.testNames)
	t.Run("Tenants", h.testTenants)
	t.Run("Room", h.testRoom)
	t.Run("Arguments", h.testArguments)
	t.Run("LargeAnswers", h.testLargeAnswers)
	t.Run("Concurrent", h.testConcurrent)
	t.Run("Same", h.testSame)
	t.Run("Fences", h.testFences)
	t.Run("FencesRace", h.testFencesRace)
	t.Run("Churn", h.testChurn)
	t.Run("Recall", h.testRecall)
	t.Run("Ended", h.testEnded)
	t.Run("Closed", h.testClosed)
}

func (h Harness) open(t *testing.T, metric driver.Metric, opts vectorsearch.Options) *vectorsearch.Vectors {
	t.Helper()
	v := vectorsearch.New(h(t, metric), metric, opts)
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return v
}

// call calls an operation as the door does, with the arguments and the reply as JSON.
func call(ctx context.Context, t *testing.T, v *vectorsearch.Vectors, tenant, op, args string) (string, error) {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	ops := v.Ops()
	i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == "vector_search."+op })
	if i < 0 {
		t.Fatalf("there is no operation %s", op)
	}
	ctx = kernel.WithRun(ctx, &kernel.RunContext{RunID: "run", Tenant: tenant})
	reply, err := ops[i].Func(ctx, &kernel.PortCall{Op: "vector_search." + op, Args: value.(map[string]any)})
	if err != nil {
		return "", err
	}
	text, err := kernel.EncodeJSON(reply.Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), nil
}

func expect(t *testing.T, v *vectorsearch.Vectors, tenant, op, args, want string) {
	t.Helper()
	if got, err := call(t.Context(), t, v, tenant, op, args); err != nil || got != want {
		t.Errorf("%s: %s %s:\n got %s, %v\nwant %s", tenant, op, args, got, err, want)
	}
}

func refuse(t *testing.T, v *vectorsearch.Vectors, op, args string, code kernel.Code, says string) {
	t.Helper()
	if got, err := call(t.Context(), t, v, "acme", op, args); kernel.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s %.200s: %s, %v, want %s and %q", op, args, got, err, code, says)
	}
}

func upsert(t *testing.T, v *vectorsearch.Vectors, tenant, collection string, vectors ...vectorsearch.Vector) {
	t.Helper()
	if err := v.Upsert(t.Context(), tenant, collection, vectors); err != nil {
		t.Fatal(err)
	}
}

// ids returns what a search of acme finds, as one text.
func ids(t *testing.T, v *vectorsearch.Vectors, collection string, q vectorsearch.Query) string {
	t.Helper()
	found, err := v.Search(t.Context(), "acme", collection, q)
	if err != nil {
		t.Errorf("%+v: %v", q, err)
	}
	var list []string
	for _, m := range found {
		list = append(list, m.ID)
	}
	return strings.Join(list, " ")
}

func (h Harness) testSearch(t *testing.T) {
	v := h.open(t, driver.Euclidean, vectorsearch.Options{})
	expect(t, v, "acme", "describe", `{"collection": "docs"}`, `{"collection":"docs","count":0,"dimension":0}`)
	expect(t, v, "acme", "search", `{"collection": "docs", "vector": [1, 2]}`, `{"matches":[],"truncated":false}`)
	expect(t, v, "acme", "upsert", `{"collection": "docs", "vectors": [{"id": "a", "vector": [0, 0], "metadata": {"lang": "en", "n": 1.50}}, {"id": "b", "vector": [3, 4]}, {"id": "c", "vector": [0.5, -0.25], "metadata": null}]}`, `{"upserted":3}`)
	expect(t, v, "acme", "describe", `{"collection": "docs"}`, `{"collection":"docs","count":3,"dimension":2}`)
	expect(t, v, "acme", "search", `{"collection": "docs", "vector": [3, 4], "top_k": 2, "include_metadata": false, "include_vectors": true}`, `{"matches":[{"id":"b","score":0,"vector":[3,4]},{"id":"c","score":-4.930770730829005,"vector":[0.5,-0.25]}],"truncated":false}`)
	expect(t, v, "acme", "search", `{"collection": "docs", "vector": [0, 0], "top_k": 1}`, `{"matches":[{"id":"a","metadata":{"lang":"en","n":1.50},"score":0}],"truncated":false}`)
	if got := ids(t, v, "docs", vectorsearch.Query{Values: []float32{1, 1}}); got != "c a b" {
		t.Errorf("found %s", got)
	}
	if got := ids(t, v, "other", vectorsearch.Query{Values: []float32{1, 1}}); got != "" {
		t.Errorf("in another collection: %s", got)
	}
}

func (h Harness) testMetrics(t *testing.T) {
	for metric, want := range map[driver.Metric]map[string]float64{
		driver.Cosine:    {"long": 1, "short": 1, "across": 0, "away": -1, "near": 1 / math.Sqrt2},
		driver.Dot:       {"long": 20, "short": 1, "across": 0, "away": -2, "near": 2},
		driver.Euclidean: {"long": -8, "short": -1.5, "across": -math.Sqrt(5), "away": -3, "near": -math.Sqrt2},
	} {
		v := h.open(t, metric, vectorsearch.Options{})
		upsert(t, v, "acme", "m", vectorsearch.Vector{ID: "long", Values: []float32{10, 0}}, vectorsearch.Vector{ID: "short", Values: []float32{0.5, 0}}, vectorsearch.Vector{ID: "across", Values: []float32{0, 1}},
			vectorsearch.Vector{ID: "away", Values: []float32{-1, 0}}, vectorsearch.Vector{ID: "near", Values: []float32{1, 1}})
		found, err := v.Search(t.Context(), "acme", "m", vectorsearch.Query{Values: []float32{2, 0}})
		if err != nil || len(found) != len(want) {
			t.Fatal(metric, found, err)
		}
		for i, m := range found {
			if math.Abs(m.Score-want[m.ID]) > 1e-6 {
				t.Errorf("%s: %s has the score %v, want %v", metric, m.ID, m.Score, want[m.ID])
			}
			if i > 0 && m.Score > found[i-1].Score {
				t.Errorf("%s: %s is behind %s", metric, m.ID, found[i-1].ID)
			}
		}
		if metric == driver.Cosine && (found[0].ID != "long" || found[1].ID != "short") {
			t.Errorf("equal ones come in the order of their ids: %v", found)
		}
	}
}

func (h Harness) testFilters(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	for i, metadata := range []string{`{"lang": "en", "n": 1}`, `{"lang": "de", "n": 1.0}`, `{"lang": "en", "n": "1", "to": {"city": "Bonn", "zip": null}}`, `{"lang": ["en"], "n": 12345678901234567890}`, `{"lang": null, "n": 1e2, "b": true}`, `{}`} {
		value, err := kernel.DecodeJSON([]byte(metadata))
		if err != nil {
			t.Fatal(err)
		}
		upsert(t, v, "acme", "f", vectorsearch.Vector{ID: fmt.Sprint(i), Values: []float32{1, float32(i)}, Metadata: value.(map[string]any)})
	}
	for filters, want := range map[string]string{
		`{}`: "0 1 2 3 4 5", `{"lang": "en"}`: "0 2", `{"lang": "en", "n": 1}`: "0", `{"n": 1}`: "0 1", `{"n": 1.000}`: "0 1", `{"n": "1"}`: "2", `{"n": 100}`: "4", `{"n": 12345678901234567890}`: "3", `{"n": 12345678901234567891}`: "",
		`{"lang": null}`: "4", `{"to.city": "Bonn"}`: "2", `{"to.zip": null}`: "2", `{"to": "Bonn"}`: "", `{"b": true}`: "4", `{"b": "true"}`: "", `{"b": 1}`: "", `{"lang": "' OR 1=1 --"}`: "", `{"'; DROP TABLE x; --": 1}`: "", `{"lang.0": "en"}`: "", `{"": 1}`: "", `{"a.": 1}`: "", `{"{a,b}": 1}`: "",
	} {
		got, err := call(t.Context(), t, v, "acme", "search", `{"collection": "f", "vector": [1, 0], "filters": `+filters+`, "include_metadata": false}`)
		var reply struct{ Matches []struct{ ID string } }
		if err == nil {
			err = json.Unmarshal([]byte(got), &reply)
		}
		var list []string
		for _, m := range reply.Matches {
			list = append(list, m.ID)
		}
		if err != nil || strings.Join(list, " ") != want {
			t.Errorf("%s: %q, %v, want %s", filters, list, err, want)
		}
	}
	if got := ids(t, v, "f", vectorsearch.Query{Values: []float32{0, 1}, Limit: 1, Where: map[string]kernel.Value{"lang": "en"}}); got != "2" {
		t.Errorf("the nearest of those that match is %s", got)
	}
}

func (h Harness) testUpsert(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	values := []float32{1, 0}
	upsert(t, v, "acme", "u", vectorsearch.Vector{ID: "a", Values: values, Metadata: map[string]kernel.Value{"v": 1}}, vectorsearch.Vector{ID: "b", Values: []float32{0, 1}})
	values[0] = -1 // it is the caller's
	upsert(t, v, "acme", "u", vectorsearch.Vector{ID: "b", Values: []float32{1, 0.1}})
	if got := ids(t, v, "u", vectorsearch.Query{Values: []float32{1, 0}}); got != "a b" {
		t.Errorf("found %s", got)
	}
	found, err := v.Search(t.Context(), "acme", "u", vectorsearch.Query{Values: []float32{1, 0.1}, Limit: 1})
	if err != nil || found[0].ID != "b" || len(found[0].Metadata) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	found[0].Values[0] = 99
	if got := ids(t, v, "u", vectorsearch.Query{Values: []float32{1, 0.1}, Limit: 1}); got != "b" {
		t.Errorf("found %s", got)
	}
	expect(t, v, "acme", "describe", `{"collection": "u"}`, `{"collection":"u","count":2,"dimension":2}`)
	// All or nothing.
	err = v.Upsert(t.Context(), "acme", "u", []vectorsearch.Vector{{ID: "c", Values: []float32{1, 2, 3}}})
	if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "another length") {
		t.Errorf("%v", err)
	}
	if _, err := v.Search(t.Context(), "acme", "u", vectorsearch.Query{Values: []float32{1, 2, 3}}); kernel.CodeOf(err) != kernel.CodeArguments {
		t.Errorf("%v", err)
	}
	expect(t, v, "acme", "describe", `{"collection": "u"}`, `{"collection":"u","count":2,"dimension":2}`)
}

func (h Harness) testDelete(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	for i := range 6 {
		upsert(t, v, "acme", "d", vectorsearch.Vector{ID: fmt.Sprint(i), Values: []float32{1, float32(i)}, Metadata: map[string]kernel.Value{"odd": i%2 == 1}})
	}
	expect(t, v, "acme", "delete", `{"collection": "d", "ids": ["0", "0", "9"]}`, `{"deleted":1}`)
	expect(t, v, "acme", "delete", `{"collection": "d", "ids": []}`, `{"deleted":0}`)
	expect(t, v, "acme", "delete", `{"collection": "other", "ids": ["1"]}`, `{"deleted":0}`)
	expect(t, v, "acme", "delete", `{"collection": "d", "filters": {"odd": true}}`, `{"deleted":3}`)
	if got := ids(t, v, "d", vectorsearch.Query{Values: []float32{1, 0}}); got != "2 4" {
		t.Errorf("left are %s", got)
	}
	expect(t, v, "acme", "delete", `{"collection": "d", "ids": ["2", "4"]}`, `{"deleted":2}`)
	expect(t, v, "acme", "describe", `{"collection": "d"}`, `{"collection":"d","count":0,"dimension":0}`)
	upsert(t, v, "acme", "d", vectorsearch.Vector{ID: "a", Values: []float32{1, 2, 3}}) // of another length
	expect(t, v, "acme", "describe", `{"collection": "d"}`, `{"collection":"d","count":1,"dimension":3}`)
	refuse(t, v, "delete", `{"collection": "d"}`, kernel.CodeArguments, "it takes ids or filters")
	refuse(t, v, "delete", `{"collection": "d", "filters": {}}`, kernel.CodeArguments, "it takes ids or filters")
	refuse(t, v, "delete", `{"collection": "d", "ids": ["a"], "filters": {"a": 1}}`, kernel.CodeArguments, "it takes ids or filters")
}

func (h Harness) testNames(t *testing.T) {
	v := h.open(t, driver.Euclidean, vectorsearch.Options{})
	odd := []string{"a", "A", "a ", " a", "é", "e\u0301", "日本", "'", `"`, `\`, "'; DROP TABLE x; --", "%", "NULL", "null", "{}", "a,b", "{a,b}", strings.Repeat("k", 512)}
	for i, id := range odd {
		upsert(t, v, "acme", "n", vectorsearch.Vector{ID: id, Values: []float32{float32(i)}, Metadata: map[string]kernel.Value{id: id}})
	}
	for i, id := range odd {
		if got := ids(t, v, "n", vectorsearch.Query{Values: []float32{float32(i)}, Limit: 1}); got != id {
			t.Errorf("%q is %q", id, got)
		}
		if n, err := v.Delete(t.Context(), "acme", "n", []string{id}, nil); n != 1 || err != nil {
			t.Errorf("%q: %d, %v", id, n, err)
		}
	}
	for _, collection := range []string{"A", "a", "a/b", "a.b", "a:b-c_d"} {
		upsert(t, v, "acme", collection, vectorsearch.Vector{ID: collection, Values: []float32{1}})
	}
	if got := ids(t, v, "A", vectorsearch.Query{Values: []float32{1}}); got != "A" {
		t.Errorf("A has %s", got)
	}
}

func (h Harness) testTenants(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	tenants := []string{"", "a", "A", "a/b", "b", "a\x00b", "a\xff", "'", "%"}
	for i, tenant := range tenants {
		expect(t, v, tenant, "describe", `{"collection": "c"}`, `{"collection":"c","count":0,"dimension":0}`)
		upsert(t, v, tenant, "c", vectorsearch.Vector{ID: "x", Values: ones(i + 1)})
	}
	for i, tenant := range tenants {
		found, err := v.Search(t.Context(), tenant, "c", vectorsearch.Query{Values: ones(i + 1)})
		if err != nil || len(found) != 1 || len(found[0].Values) != i+1 {
			t.Errorf("%q: %v, %v", tenant, found, err)
		}
		expect(t, v, tenant, "delete", `{"collection": "c", "ids": ["x"]}`, `{"deleted":1}`)
	}
	refuse(t, v, "describe", `{"collection": "c", "tenant": "b"}`, kernel.CodeArguments, "unknown argument tenant")
}

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

func (h Harness) testRoom(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{MaxVectors: 3, MaxBytes: 100, MaxMetadata: 60})
	one := func(id string) vectorsearch.Vector { return vectorsearch.Vector{ID: id, Values: []float32{1}} }
	upsert(t, v, "acme", "a", one("1"), one("2"))
	upsert(t, v, "acme", "b", one("1"))
	upsert(t, v, "acme", "b", one("1"))
	for _, collection := range []string{"a", "b", "c"} {
		if err := v.Upsert(t.Context(), "acme", collection, []vectorsearch.Vector{one("3")}); kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "3 vectors (max_vectors)") {
			t.Errorf("%s: %v", collection, err)
		}
	}
	upsert(t, v, "bob", "a", one("1"), one("2"), one("3"))
	if _, err := v.Delete(t.Context(), "acme", "a", []string{"1"}, nil); err != nil {
		t.Fatal(err)
	}
	large := vectorsearch.Vector{ID: "4", Values: ones(1), Metadata: map[string]kernel.Value{"k": strings.Repeat("x", 50)}}
	upsert(t, v, "acme", "b", large) // 2 small ones of 7 bytes, and 63
	large.ID = "1"
	if err := v.Upsert(t.Context(), "acme", "b", []vectorsearch.Vector{large}); kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "100 bytes (max_bytes)") {
		t.Errorf("%v", err)
	}
	large.Metadata["k"] = strings.Repeat("x", 60)
	if err := v.Upsert(t.Context(), "acme", "b", []vectorsearch.Vector{large}); kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "max_metadata is 60") {
		t.Errorf("%v", err)
	}
	expect(t, v, "acme", "describe", `{"collection": "b"}`, `{"collection":"b","count":2,"dimension":1}`)
}

func (h Harness) testArguments(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{MaxDimension: 4})
	for _, collection := range []string{`""`, `" a"`, `"a b"`, `"a\u0000"`, `"é"`, `"` + strings.Repeat("a", 129) + `"`, `"-a"`} {
		refuse(t, v, "search", `{"collection": `+collection+`, "vector": [1]}`, kernel.CodeArguments, "is no name of a collection")
		refuse(t, v, "delete", `{"collection": `+collection+`, "ids": ["a"]}`, kernel.CodeArguments, "is no name of a collection")
	}
	for args, says := range map[string]string{
		`"vector": []`: "empty", `"vector": "x"`: "must be a list", `"vector": [1, "2"]`: "numbers that fit 32 bits", `"vector": [1e39]`: "numbers that fit 32 bits", `"vector": [null]`: "numbers that fit 32 bits", `"vector": [0, 0]`: "no direction", `"vector": [1e-38]`: "no direction", `"vector": [3e38]`: "too large",
		`"vector": [1], "top_k": 0`: "top_k", `"vector": [1], "top_k": 1001`: "from 1 to 1000", `"vector": [1], "top_k": 1.5`: "top_k", `"vector": [1], "filters": "x"`: "filters must be an object", `"vector": [1], "filters": {"a": [1]}`: "is no scalar", `"vector": [1], "filters": {"a": {}}`: "is no scalar", `"vector": [1], "filters": {"a": "\u0000"}`: "NUL",
		`"vector": [1], "include_vectors": 1`: "true or false", `"vector": [1], "query": 1`: "unknown argument query", `"top_k": 1`: "vector must be a list",
	} {
		refuse(t, v, "search", `{"collection": "c", `+args+`}`, kernel.CodeArguments, says)
	}
	refuse(t, v, "search", `{"collection": "c", "vector": [1, 1, 1, 1, 1]}`, kernel.CodeLimit, "max_dimension is 4")
	for vectors, says := range map[string]string{
		`[]`: "there are 0 vectors", `{}`: "vectors must be a list", `[1]`: "must be an object", `[{"id": "a"}]`: "with id and vector", `[{"vector": [1]}]`: "with id and vector", `[{"id": 1, "vector": [1]}]`: "id is a text", `[{"id": "", "vector": [1]}]`: "is no id", `[{"id": "a\nb", "vector": [1]}]`: "is no id",
		`[{"id": "a", "vector": [1]}, {"id": "a", "vector": [1]}]`: "is there twice", `[{"id": "a", "vector": [1]}, {"id": "b", "vector": [1, 2]}]`: "different lengths", `[{"id": "a", "vector": [1], "metadata": [1]}]`: "metadata an object", `[{"id": "a", "vector": [1], "text": "x"}]`: "unknown field text", `[{"id": "a", "vector": [1], "metadata": {"a": "\u0000"}}]`: "without NUL",
	} {
		refuse(t, v, "upsert", `{"collection": "c", "vectors": `+vectors+`}`, kernel.CodeArguments, says)
	}
	refuse(t, v, "delete", `{"collection": "c", "ids": [1]}`, kernel.CodeArguments, "list of texts")
	if _, err := v.Ops()[0].Func(t.Context(), &kernel.PortCall{}); kernel.CodeOf(err) != kernel.CodeInternal {
		t.Errorf("outside a run: %v", err)
	}
}

func (h Harness) testLargeAnswers(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	for i := range 5 {
		var batch []vectorsearch.Vector
		for j := range 50 {
			batch = append(batch, vectorsearch.Vector{ID: fmt.Sprintf("%d-%02d", i, j), Values: ones(4), Metadata: map[string]kernel.Value{"text": strings.Repeat("x", 15_000)}})
		}
		upsert(t, v, "acme", "large", batch...)
	}
	got, err := call(t.Context(), t, v, "acme", "search", `{"collection": "large", "vector": [1, 1, 1, 1], "top_k": 250}`)
	if err != nil || len(got) > 2<<20+1000 || !strings.HasSuffix(got, `"truncated":true}`) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func (h Harness) testEnded(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	upsert(t, v, "acme", "c", vectorsearch.Vector{ID: "a", Values: []float32{1}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, args := range map[string]string{"upsert": `{"collection": "c", "vectors": [{"id": "b", "vector": [1]}]}`, "search": `{"collection": "c", "vector": [1]}`, "delete": `{"collection": "c", "ids": ["a"]}`, "describe": `{"collection": "c"}`} {
		if got, err := call(ctx, t, v, "acme", op, args); kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Errorf("%s: %s, %v", op, got, err)
		}
	}
	expect(t, v, "acme", "describe", `{"collection": "c"}`, `{"collection":"c","count":1,"dimension":1}`)
}

func (h Harness) testClosed(t *testing.T) {
	x := h(t, driver.Cosine)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := x.Stat(t.Context(), "acme", "c")
	if upsertErr := x.Upsert(t.Context(), "acme", "c", []driver.Item{{ID: "a", Vector: []float32{1}, Metadata: []byte("{}")}}, driver.Room{Vectors: 1, Bytes: 100}, nil); err == nil || upsertErr == nil {
		t.Error(err, upsertErr, "a closed index answers")
	}
}

func (h Harness) testConcurrent(t *testing.T) {
	v := h.open(t, driver.Euclidean, vectorsearch.Options{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 15 {
				id := fmt.Sprintf("%d-%d", w, i)
				if err := v.Upsert(t.Context(), "acme", "c", []vectorsearch.Vector{{ID: id, Values: []float32{float32(w), float32(i)}}}); err != nil {
					t.Error(err)
				}
				found, err := v.Search(t.Context(), "acme", "c", vectorsearch.Query{Values: []float32{float32(w), float32(i)}, Limit: 1})
				if err != nil || len(found) != 1 || found[0].ID != id {
					t.Errorf("%s: %v, %v", id, found, err)
				}
				if i%3 == 0 {
					if n, err := v.Delete(t.Context(), "acme", "c", []string{id}, nil); n != 1 || err != nil {
						t.Errorf("%s: %d, %v", id, n, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if c, err := v.Stat(t.Context(), "acme", "c"); err != nil || c.Count != 40 {
		t.Errorf("%+v, %v", c, err)
	}
}
