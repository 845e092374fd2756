// Package vectorsearch is the port to vectors and their nearest neighbours: what a model's embeddings
// are looked up in. Backends are the packages below this one; they implement package driver.
// memvectors keeps vectors in this process, exactly or in a graph (HNSW), pgvectors in Postgres
// with pgvector.
//
// Every tenant has collections of its own. A collection's vectors have one length.
//
// A vector keeps the labels of the call that upserts it, and a search answers with those of all that it
// returns.
package vectorsearch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
)

// Options limits what tenants keep. A zero stands for the default. The JSON form is what an
// operator configures.
type Options struct {
	MaxVectors   int   `json:"max_vectors"`   // of one tenant; 100,000
	MaxBytes     int64 `json:"max_bytes"`     // of one tenant's vectors, ids and metadata together; 256 MiB
	MaxDimension int   `json:"max_dimension"` // 4096, at most 16,000
	MaxMetadata  int   `json:"max_metadata"`  // of one vector, as JSON; 16 KiB
}

// The limits that are not the operator's.
const (
	mostDimension = 16_000 // of pgvector's type
	maxBatch      = 1000   // vectors of one call
	maxIDs        = 10_000
	maxID         = 512
	maxLimit      = 1000
	defaultLimit  = 10
	maxConditions = 32
	answerBytes   = 2 << 20
)

// Check returns a CodeConfig error for limits that cannot be.
func (o Options) Check() error {
	if o.MaxVectors < 0 || o.MaxBytes < 0 || o.MaxMetadata < 0 || o.MaxDimension < 0 || o.MaxDimension > mostDimension {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the limits of vector_search cannot be used", Why: fmt.Sprintf("they are positive, and max_dimension is at most %d", mostDimension), Fix: "leave them out for the defaults"}
	}
	return nil
}

func (o Options) orDefault() Options {
	for _, limit := range []struct {
		value  *int
		orElse int
	}{{&o.MaxVectors, 100_000}, {&o.MaxDimension, 4096}, {&o.MaxMetadata, 16 << 10}} {
		if *limit.value == 0 {
			*limit.value = limit.orElse
		}
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	return o
}

type (
	// Metric says how near two vectors are.
	Metric = driver.Metric
	// Collection is what is known of a collection.
	Collection = driver.Collection
)

// CheckMetric returns a CodeConfig error for a metric that there is not, and the default for "".
func CheckMetric(m Metric) (Metric, error) {
	switch m {
	case "":
		return driver.Cosine, nil
	case driver.Cosine, driver.Dot, driver.Euclidean:
		return m, nil
	}
	return "", &kernel.Error{Code: kernel.CodeConfig, What: "there is no metric " + kernel.Quote(string(m)), Fix: "known are cosine, dot and euclidean"}
}

// Vectors keeps vectors in an index. It may be used by several goroutines. Errors are
// *kernel.Error: CodeArguments for what cannot be, CodeLimit for what is too large or one too many,
// and those of [driver.Index].
type Vectors struct {
	index  driver.Index
	metric Metric
	opts   Options
}

// New returns the vectors of an index, which has this metric. Closing them closes the index.
func New(index driver.Index, metric Metric, opts Options) *Vectors {
	return &Vectors{index: index, metric: metric, opts: opts.orDefault()}
}

// Close releases what the backend holds.
func (v *Vectors) Close() error { return v.index.Close() }

// Vector is one of a collection's.
type Vector struct {
	ID       string
	Values   []float32
	Metadata map[string]kernel.Value
	Labels   *kernel.Labels // of what it was made of; nil is trusted and public
}

// Upsert puts vectors in place of those that have their ids.
func (v *Vectors) Upsert(ctx context.Context, tenant, collection string, vectors []Vector) error {
	if err := checkCollection(collection); err != nil {
		return err
	}
	if len(vectors) == 0 || len(vectors) > maxBatch {
		return argument(fmt.Sprintf("there are %d vectors", len(vectors)), fmt.Sprintf("one call takes 1 to %d", maxBatch))
	}
	items := make([]driver.Item, len(vectors))
	seen := map[string]bool{}
	for i, vector := range vectors {
		if err := checkID(vector.ID); err != nil {
			return err
		}
		if seen[vector.ID] {
			return argument("the id "+kernel.Quote(vector.ID)+" is there twice", "each vector has its own")
		}
		seen[vector.ID] = true
		if err := v.checkVector(vector.Values, len(vectors[0].Values)); err != nil {
			return err
		}
		if vector.Metadata == nil {
			vector.Metadata = map[string]kernel.Value{}
		}
		text, err := kernel.EncodeJSON(vector.Metadata)
		if err != nil || strings.Contains(string(text), `\u0000`) {
			return argument("the metadata of "+kernel.Quote(vector.ID)+" cannot be kept", "it is a JSON object without NUL")
		}
		if len(text) > v.opts.MaxMetadata {
			return &kernel.Error{Code: kernel.CodeLimit, What: "vector_search: the metadata of " + kernel.Quote(vector.ID) + " is too large", Why: fmt.Sprintf("it has %d bytes as JSON, max_metadata is %d", len(text), v.opts.MaxMetadata), Fix: "keep it as an artifact, and its id here"}
		}
		items[i] = driver.Item{ID: vector.ID, Vector: vector.Values, Metadata: text, Labels: vector.Labels.OrNil()}
	}
	fences, err := kernel.FencesFrom(ctx)
	if err != nil {
		return err
	}
	return v.failed(ctx, v.index.Upsert(ctx, tenant, collection, items, driver.Room{Vectors: v.opts.MaxVectors, Bytes: v.opts.MaxBytes}, fences))
}

// Query asks for the nearest vectors.
type Query struct {
	Values []float32
	Limit  int                     // 10 if 0, at most 1,000
	Where  map[string]kernel.Value // field of the metadata: the scalar that it must equal; a.b is field b of the object in field a
}

// Match is a vector that was found. Its score is the larger the nearer it is.
type Match struct {
	Vector
	Score float64
}

// Search returns the nearest vectors of a collection, the nearest first.
func (v *Vectors) Search(ctx context.Context, tenant, collection string, q Query) ([]Match, error) {
	if err := checkCollection(collection); err != nil {
		return nil, err
	}
	if err := v.checkVector(q.Values, len(q.Values)); err != nil {
		return nil, err
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	if q.Limit < 0 || q.Limit > maxLimit {
		return nil, argument(fmt.Sprintf("top_k is %d", q.Limit), fmt.Sprintf("it is from 1 to %d", maxLimit))
	}
	where, err := conditions(q.Where)
	if err != nil {
		return nil, err
	}
	found, err := v.index.Search(ctx, tenant, collection, &driver.Query{Vector: q.Values, Limit: q.Limit, Where: where})
	if err != nil {
		return nil, v.failed(ctx, err)
	}
	matches := make([]Match, len(found))
	for i, m := range found {
		metadata, err := kernel.DecodeJSON(m.Metadata)
		fields, isObject := metadata.(map[string]any)
		if err != nil || !isObject {
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the metadata of " + kernel.Quote(m.ID) + " is not what was stored", Fix: "delete the vector"}
		}
		matches[i] = Match{Vector{m.ID, m.Vector, fields, m.Labels}, m.Score}
	}
	return matches, nil
}

// Delete removes the vectors with these ids, or, if ids is nil, those whose metadata has the
// fields of where, of which there is at least one. It returns how many.
func (v *Vectors) Delete(ctx context.Context, tenant, collection string, ids []string, where map[string]kernel.Value) (int, error) {
	if err := checkCollection(collection); err != nil {
		return 0, err
	}
	if (ids == nil) == (len(where) == 0) {
		return 0, argument("it takes ids or filters", "one of them, and filters that are not empty")
	}
	if len(ids) > maxIDs {
		return 0, argument(fmt.Sprintf("there are %d ids", len(ids)), fmt.Sprintf("one call takes at most %d", maxIDs))
	}
	for _, id := range ids {
		if err := checkID(id); err != nil {
			return 0, err
		}
	}
	list, err := conditions(where)
	if err != nil {
		return 0, err
	}
	fences, err := kernel.FencesFrom(ctx)
	if err != nil {
		return 0, err
	}
	n, err := v.index.Delete(ctx, tenant, collection, ids, list, fences)
	return n, v.failed(ctx, err)
}

// Stat returns how many vectors a collection has, and their length.
func (v *Vectors) Stat(ctx context.Context, tenant, collection string) (Collection, error) {
	if err := checkCollection(collection); err != nil {
		return Collection{}, err
	}
	c, err := v.index.Stat(ctx, tenant, collection)
	return c, v.failed(ctx, err)
}

// name is how collections are called.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}$`)

func checkCollection(collection string) error {
	if !name.MatchString(collection) {
		return argument(kernel.Quote(collection)+" is no name of a collection", "it has 1 to 128 of letters, digits and _ . : / -")
	}
	return nil
}

func checkID(id string) error {
	if id == "" || len(id) > maxID || !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return argument(kernel.Quote(id)+" is no id", fmt.Sprintf("it has 1 to %d bytes of printable characters", maxID))
	}
	return nil
}

func (v *Vectors) checkVector(values []float32, dimension int) error {
	if len(values) == 0 {
		return argument("the vector is empty", "it has at least one number")
	}
	if len(values) > v.opts.MaxDimension {
		return &kernel.Error{Code: kernel.CodeLimit, What: "vector_search: the vector is too long", Why: fmt.Sprintf("it has %d numbers, max_dimension is %d", len(values), v.opts.MaxDimension), Fix: "use a smaller embedding, or raise the limit"}
	}
	if len(values) != dimension {
		return argument("the vectors have different lengths", fmt.Sprintf("one has %d numbers, another %d", dimension, len(values)))
	}
	norm := 0.0
	for _, x := range values {
		norm += float64(x) * float64(x)
	}
	// Squares are added as float32 by backends.
	if norm > math.MaxFloat32/4 || math.IsNaN(norm) { // a distance may be twice a length, and is squared
		return argument("the vector is too large", "its length is not finite")
	}
	if v.metric == driver.Cosine && float32(norm) == 0 {
		return argument("the vector has no direction", "all its numbers are zero, or too near to it")
	}
	return nil
}

// conditions makes filters those of the driver, sorted.
func conditions(where map[string]kernel.Value) ([]driver.Condition, error) {
	if len(where) > maxConditions {
		return nil, argument(fmt.Sprintf("filters has %d fields", len(where)), fmt.Sprintf("it has at most %d", maxConditions))
	}
	var list []driver.Condition
	for field, value := range where {
		switch value.(type) {
		case map[string]any, []any:
			return nil, argument("filters: "+kernel.Quote(field)+" is no scalar", "it is null, a boolean, a number or a text")
		}
		text, err := kernel.EncodeJSON(value)
		if err != nil || len(text) > maxFilter || len(field) > maxID || strings.Contains(string(text), `\u0000`) || strings.ContainsRune(field, 0) || !utf8.ValidString(field) {
			return nil, argument("filters: "+kernel.Quote(field)+" cannot be compared", "a field's name and value are short texts without NUL")
		}
		list = append(list, driver.Condition{Path: strings.Split(field, "."), Value: text})
	}
	return list, nil
}

// maxFilter is how long a filter's value is, as JSON.
const maxFilter = 4 << 10

func argument(what, why string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "vector_search: " + what, Why: why}
}

// failed gives an index's error a code. The context's end wins over what the index made of it.
func (v *Vectors) failed(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, driver.ErrFull):
		return &kernel.Error{Code: kernel.CodeLimit, What: "vector_search: there is no room for the vectors", Why: fmt.Sprintf("a tenant has at most %d vectors (max_vectors) and %d bytes (max_bytes)", v.opts.MaxVectors, v.opts.MaxBytes), Fix: "delete vectors", Err: err}
	case errors.Is(err, driver.ErrDimension):
		return &kernel.Error{Code: kernel.CodeArguments, What: "vector_search: " + driver.ErrDimension.Error(), Fix: "embed with the model that the collection was made with, or use another collection", Err: err}
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &known):
		return err
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the vector search failed", Why: kernel.Quote(err.Error()), Err: err}
}
