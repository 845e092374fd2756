package vectorsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the port's methods for the door. All are about the collections of the tenant of the
// run that calls.
//
//	vector_search.upsert {collection, vectors: [{id, vector: [number], metadata?: {field: value}}]} -> {upserted}
//	vector_search.search {collection, vector: [number], top_k?, filters?: {field: scalar}, include_metadata?, include_vectors?}
//	  -> {matches: [{id, score, metadata?, vector?}], truncated}
//	vector_search.delete {collection, ids?: [id] or filters?: {field: scalar}} -> {deleted}
//	vector_search.describe {collection} -> {collection, count, dimension}
//
// search returns the nearest first: top_k of them, 10 if it is left out and 1,000 at most, or fewer
// if their metadata and vectors are more than 2 MiB, and then truncated. Metadata is included unless
// include_metadata is false, vectors if include_vectors is true.
//
// A capability can restrict collection.
func (v *Vectors) Ops() []ports.Op {
	collection := []string{"collection"}
	return []ports.Op{
		{Name: "vector_search.upsert", Guards: collection, Func: v.opUpsert},
		{Name: "vector_search.search", Guards: collection, Func: v.opSearch},
		{Name: "vector_search.delete", Guards: collection, Func: v.opDelete},
		{Name: "vector_search.describe", Guards: collection, Func: v.opDescribe},
	}
}

func (v *Vectors) opUpsert(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	collection, list := a.collection(), a.list("vectors", true)
	if len(list) > maxBatch {
		a.fail("vectors has %d, one call takes at most %d", len(list), maxBatch)
		list = nil
	}
	vectors := make([]Vector, len(list))
	for i, item := range list {
		vectors[i] = a.vector(item, i)
		vectors[i].Labels = call.Labels
	}
	if err := a.end(); err != nil {
		return nil, err
	}
	if err := v.Upsert(ctx, a.tenant, collection, vectors); err != nil {
		return nil, err
	}
	return reply(map[string]any{"upserted": kernel.Number(int64(len(vectors)))})
}

func (v *Vectors) opSearch(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	collection := a.collection()
	q := Query{Values: a.numbers("vector", a.list("vector", true)), Limit: a.count("top_k"), Where: a.object("filters")}
	metadata, vectors := a.flag("include_metadata", true), a.flag("include_vectors", false)
	if err := a.end(); err != nil {
		return nil, err
	}
	found, err := v.Search(ctx, a.tenant, collection, q)
	if err != nil {
		return nil, err
	}
	matches, size := []any{}, 0
	var labels *kernel.Labels
	for _, m := range found {
		match := map[string]any{"id": m.ID, "score": number(m.Score)}
		if metadata {
			match["metadata"] = m.Metadata
		}
		if vectors {
			values := make([]any, len(m.Values))
			for i, x := range m.Values {
				values[i] = json.Number(strconv.FormatFloat(float64(x), 'g', -1, 32))
			}
			match["vector"] = values
		}
		text, err := kernel.EncodeJSON(match)
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodeInternal, What: call.Op + ": a match is no JSON", Err: err}
		}
		if size += len(text); size > answerBytes && len(matches) > 0 {
			break
		}
		matches = append(matches, match)
		labels = labels.Join(m.Labels)
	}
	return &kernel.PortReply{Value: map[string]any{"matches": matches, "truncated": len(matches) < len(found)}, Labels: labels}, nil
}

func (v *Vectors) opDelete(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	collection, list, where := a.collection(), a.list("ids", false), a.object("filters")
	var ids []string
	if list != nil {
		ids = []string{}
	}
	for _, item := range list {
		id, ok := item.(string)
		if !ok {
			a.fail("ids must be a list of texts")
		}
		ids = append(ids, id)
	}
	if err := a.end(); err != nil {
		return nil, err
	}
	n, err := v.Delete(ctx, a.tenant, collection, ids, where)
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"deleted": kernel.Number(int64(n))})
}

func (v *Vectors) opDescribe(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	collection := a.collection()
	if err := a.end(); err != nil {
		return nil, err
	}
	c, err := v.Stat(ctx, a.tenant, collection)
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"collection": collection, "count": kernel.Number(int64(c.Count)), "dimension": kernel.Number(int64(c.Dimension))})
}

func number(f float64) json.Number { return json.Number(strconv.FormatFloat(f, 'g', -1, 64)) }

func reply(value map[string]any) (*kernel.PortReply, error) {
	return &kernel.PortReply{Value: value}, nil
}

// arguments reads a call's arguments one by one and keeps the first error.
type arguments struct {
	call   *kernel.PortCall
	tenant string
	known  []string
	err    error
}

func begin(ctx context.Context, call *kernel.PortCall) *arguments {
	a := &arguments{call: call}
	run := kernel.RunFrom(ctx)
	if run == nil {
		a.err = &kernel.Error{Code: kernel.CodeInternal, What: call.Op + " was called outside a run"}
		return a
	}
	a.tenant = run.Tenant
	return a
}

// take returns an argument that is there and not null.
func (a *arguments) take(name string) (any, bool) {
	a.known = append(a.known, name)
	v := a.call.Args[name]
	return v, v != nil
}

func (a *arguments) fail(format string, args ...any) {
	if a.err == nil {
		a.err = &kernel.Error{Code: kernel.CodeArguments, What: a.call.Op + ": " + fmt.Sprintf(format, args...)}
	}
}

func (a *arguments) collection() string {
	v, _ := a.take("collection")
	text, ok := v.(string)
	if !ok {
		a.fail("collection must be a text")
	}
	return text
}

func (a *arguments) list(name string, required bool) []any {
	v, given := a.take(name)
	list, ok := v.([]any)
	if (given || required) && !ok {
		a.fail("%s must be a list", name)
	}
	return list
}

func (a *arguments) object(name string) map[string]any {
	v, given := a.take(name)
	object, ok := v.(map[string]any)
	if given && !ok {
		a.fail("%s must be an object of fields and values", name)
	}
	return object
}

func (a *arguments) flag(name string, orElse bool) bool {
	v, given := a.take(name)
	if !given {
		return orElse
	}
	flag, ok := v.(bool)
	if !ok {
		a.fail("%s must be true or false", name)
	}
	return flag
}

func (a *arguments) count(name string) int {
	v, given := a.take(name)
	if !given {
		return 0
	}
	text, _ := v.(json.Number)
	n, err := strconv.Atoi(text.String())
	if err != nil || n < 1 {
		a.fail("%s must be an integer from 1", name)
	}
	return n
}

func (a *arguments) numbers(name string, list []any) []float32 {
	if len(list) > mostDimension {
		a.fail("%s has %d numbers", name, len(list))
		return nil
	}
	values := make([]float32, len(list))
	for i, item := range list {
		text, _ := item.(json.Number)
		f, err := text.Float64()
		values[i] = float32(f)
		if err != nil || math.IsInf(float64(values[i]), 0) {
			a.fail("%s must be a list of numbers that fit 32 bits", name)
			return nil
		}
	}
	return values
}

// vector reads one of vectors.
func (a *arguments) vector(item any, i int) Vector {
	object, _ := item.(map[string]any)
	var v Vector
	for name, value := range object {
		ok := true
		switch name {
		case "id":
			v.ID, ok = value.(string)
		case "vector":
			var list []any
			if list, ok = value.([]any); ok {
				v.Values = a.numbers(fmt.Sprintf("vectors[%d].vector", i), list)
			}
		case "metadata":
			v.Metadata, ok = value.(map[string]any)
			ok = ok || value == nil
		default:
			a.fail("vectors[%d]: unknown field %s; it has id, vector, metadata", i, kernel.Quote(name))
		}
		if !ok {
			a.fail("vectors[%d]: id is a text, vector a list of numbers, metadata an object", i)
		}
	}
	if object["id"] == nil || object["vector"] == nil {
		a.fail("vectors[%d] must be an object with id and vector", i)
	}
	return v
}

// end returns the first error, or one for what was not taken.
func (a *arguments) end() error {
	for name := range a.call.Args {
		if !slices.Contains(a.known, name) {
			a.fail("unknown argument %s; it takes %s", kernel.Quote(name), strings.Join(a.known, ", "))
		}
	}
	if len(a.call.Body) > 0 {
		a.fail("it takes no body")
	}
	return a.err
}
