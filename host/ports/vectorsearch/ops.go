package vectorsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
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
	collection, list := a.Text("collection"), a.list("vectors")
	if len(list) > maxBatch {
		a.Fail("vectors has %d, one call takes at most %d", len(list), maxBatch)
		list = nil
	}
	vectors := make([]Vector, len(list))
	for i, item := range list {
		vectors[i] = a.vector(item, i)
		vectors[i].Labels = call.Labels
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := v.Upsert(ctx, a.tenant, collection, vectors); err != nil {
		return nil, err
	}
	return reply(map[string]any{"upserted": kernel.Number(int64(len(vectors)))})
}

func (v *Vectors) opSearch(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := begin(ctx, call)
	collection := a.Text("collection")
	q := Query{Values: a.numbers("vector", a.list("vector")), Limit: int(a.Whole("top_k", 1, maxLimit, 0)), Where: a.Object("filters", " of fields and values")}
	metadata, vectors := a.Flag("include_metadata", true), a.Flag("include_vectors", false)
	if err := a.End(); err != nil {
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
	collection, ids, where := a.Text("collection"), a.Texts("ids", " of texts"), a.Object("filters", " of fields and values")
	if err := a.End(); err != nil {
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
	collection := a.Text("collection")
	if err := a.End(); err != nil {
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

// asked is what a call asks for, of its tenant.
type asked struct {
	*arguments.Reader
	tenant string
}

func begin(ctx context.Context, call *kernel.PortCall) *asked {
	a := &asked{Reader: arguments.Of(call)}
	if run := a.Run(ctx); run != nil {
		a.tenant = run.Tenant
	}
	return a
}

// list is a list that has to be there.
func (a *asked) list(name string) []any {
	list := a.List(name, "")
	if list == nil {
		a.Fail("%s must be a list", name)
	}
	return list
}

func (a *asked) numbers(name string, list []any) []float32 {
	if len(list) > mostDimension {
		a.Fail("%s has %d numbers", name, len(list))
		return nil
	}
	values := make([]float32, len(list))
	for i, item := range list {
		text, _ := item.(json.Number)
		f, err := text.Float64()
		values[i] = float32(f)
		if err != nil || math.IsInf(float64(values[i]), 0) {
			a.Fail("%s must be a list of numbers that fit 32 bits", name)
			return nil
		}
	}
	return values
}

// vector reads one of vectors.
func (a *asked) vector(item any, i int) Vector {
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
			a.Fail("vectors[%d]: unknown field %s; it has id, vector, metadata", i, kernel.Quote(name))
		}
		if !ok {
			a.Fail("vectors[%d]: id is a text, vector a list of numbers, metadata an object", i)
		}
	}
	if object["id"] == nil || object["vector"] == nil {
		a.Fail("vectors[%d] must be an object with id and vector", i)
	}
	return v
}
