package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	// Materialize begins the names of entrypoints that are evaluated, without an input,
	// when data is loaded.
	Materialize = "materialize/"
	// Materialized is the member of data that has what they gave, by the rest of the name:
	// what data.materialize.p.index gave is data.materialized["p/index"]. Sets become
	// arrays. A policy that looks there must do without, too: where a rule takes too
	// much there is nothing, and elsewhere, as in OPA, never.
	Materialized = "materialized"
)

// image is the memory of an instance that is ready to evaluate. Instances of the same
// module are made of it without parsing the data again.
type image struct {
	contract
	memory     []byte // up to heap
	size       uint32 // of all memory
	data, heap uint32
	fresh      uint32 // heap, when the data was parsed as a whole
}

func (in *instance) capture() (*image, error) {
	view, ok := in.memory.Read(0, in.heap)
	if !ok {
		return nil, protocol(in.opts.Name, "the policy's heap is outside its memory", "")
	}
	m := &image{contract: in.contract, memory: slices.Clone(view), size: in.memory.Size(), data: in.data, heap: in.heap, fresh: in.fresh}
	if m.fresh == 0 {
		m.fresh = m.heap
	}
	return m, nil
}

// restore makes the instance what the image was taken of. Between evaluations OPA's
// modules have all of their state in their memory.
func (in *instance) restore(m *image) error {
	if size := in.memory.Size(); m.size > size {
		if _, ok := in.memory.Grow((m.size - size) / pageSize); !ok {
			return limit(in.opts.Name, "the policy's data does not fit into its memory", fmt.Sprintf("the limit is %d bytes", in.opts.Memory))
		}
	}
	if !in.memory.Write(0, m.memory) {
		return protocol(in.opts.Name, "the policy's heap is outside its memory", "")
	}
	in.data, in.heap, in.fresh = m.data, m.heap, m.fresh
	return nil
}

// loadData parses the base document below the memory of evaluations.
func (in *instance) loadData(ctx context.Context, text []byte) (err error) {
	in.setFuel(startFuel)
	if in.data, err = in.store(ctx, text); err != nil {
		return err
	}
	if in.data == 0 {
		return invalid(in.opts.Name, "the policy cannot parse its data", "opa_value_parse refused it", "")
	}
	return in.seal(ctx)
}

// seal ends a change of the data: evaluations begin behind it.
func (in *instance) seal(ctx context.Context) (err error) {
	if in.paths != nil {
		if _, err = in.call(ctx, in.paths.stash); err != nil {
			return err
		}
	}
	in.heap, err = in.call(ctx, in.heapGet)
	return err
}

// update makes changes to the data, each at a path of objects.
func (in *instance) update(ctx context.Context, changes []change) error {
	in.setFuel(startFuel)
	if _, err := in.call(ctx, in.paths.heapSet, uint64(in.heap)); err != nil { // what an evaluation left is gone
		return err
	}
	if _, err := in.call(ctx, in.paths.restore); err != nil {
		return err
	}
	for _, c := range changes {
		if err := in.change(ctx, c); err != nil {
			return err
		}
	}
	return in.seal(ctx)
}

func (in *instance) change(ctx context.Context, c change) error {
	path, err := in.storeValue(ctx, kernel.Value(anys(c.path)))
	if err != nil {
		return err
	}
	var status uint32
	if c.remove {
		status, err = in.call(ctx, in.paths.remove, uint64(in.data), uint64(path))
	} else {
		var value uint32
		if value, err = in.storeValue(ctx, c.value); err != nil {
			return err
		}
		status, err = in.call(ctx, in.paths.add, uint64(in.data), uint64(path), uint64(value)) // value is the document's now
	}
	if err != nil {
		return err
	}
	if status != 0 {
		return protocol(in.opts.Name, "the policy's module refused a change of its data", fmt.Sprintf("it gave the code %d for the path %s", status, kernel.Quote(strings.Join(c.path, "/"))))
	}
	_, err = in.call(ctx, in.paths.free, uint64(path))
	return err
}

func anys(path []string) []any {
	items := make([]any, len(path))
	for i, name := range path {
		items[i] = name
	}
	return items
}

func (in *instance) storeValue(ctx context.Context, v kernel.Value) (uint32, error) {
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return 0, err
	}
	address, err := in.store(ctx, text)
	if err == nil && address == 0 {
		err = protocol(in.opts.Name, "the policy's module cannot parse a change of its data", "")
	}
	return address, err
}

// materialize evaluates the rules that depend on data alone, and adds to the data what
// they give.
func (in *instance) materialize(ctx context.Context, data []byte) error {
	if !in.materializes() {
		return nil
	}
	found := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(in.entrypoints)) {
		if !strings.HasPrefix(name, Materialize) {
			continue
		}
		in.now, in.input, in.evaluation, in.timeless = time.Time{}, nil, nil, true
		answer, err := in.run(ctx, in.entrypoints[name], in.opts.Fuel, maxData)
		in.timeless = false
		if err != nil {
			return err
		}
		value, defined, err := resultOf(in.opts.Name, answer)
		if err != nil {
			return err
		}
		if defined {
			found[strings.TrimPrefix(name, Materialize)] = value
		}
	}
	if in.paths != nil {
		return in.update(ctx, []change{{path: []string{Materialized}, value: found}})
	}
	d, err := readDocument(in.opts.Name, data)
	if err != nil {
		return err
	}
	whole := maps.Clone(d.value)
	whole[Materialized] = found
	text, err := kernel.EncodeJSON(whole)
	if err != nil {
		return err
	}
	return in.loadData(ctx, text)
}

func (in *instance) materializes() bool {
	for name := range in.entrypoints {
		if strings.HasPrefix(name, Materialize) {
			return true
		}
	}
	return false
}
