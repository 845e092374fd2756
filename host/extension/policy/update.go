package policy

import (
	"context"
	"slices"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
)

// WithData returns the policy with other data, a JSON object. It shares what is
// compiled; the policy itself stays as it is, and both are closed.
//
// Errors: CodePolicy (the data cannot be used), CodeLimit and CodeTimeout.
func (p *Policy) WithData(ctx context.Context, data []byte) (*Policy, error) {
	return p.next(ctx, func(ctx context.Context) (*document, *instance, error) { return p.engine.read(ctx, data) })
}

// WithPatches returns the policy with its data changed in places, in order, all or none. It
// takes time by the size of the patches, and of what is materialized, but little by
// that of the data. The policy itself stays as it is, and both are closed.
//
// Errors: CodePolicy (a patch cannot be applied), CodeLimit and CodeTimeout.
func (p *Policy) WithPatches(ctx context.Context, patches []Patch) (*Policy, error) {
	if len(patches) == 1 && patches[0].replacesAll() {
		if text, err := kernel.EncodeJSON(patches[0].Value); err == nil {
			return p.WithData(ctx, text)
		}
	}
	d, changes, err := p.data.patched(p.opts.Name, patches)
	if err != nil {
		return nil, err
	}
	return p.next(ctx, func(ctx context.Context) (*document, *instance, error) {
		in, err := p.changed(ctx, d, changes)
		return d, in, err
	})
}

// Next is WithData for what a file holds now: another module is loaded with the
// options of this one.
func (p *Policy) Next(ctx context.Context, f *File) (*Policy, error) {
	if p.engine.compiledFrom(f.Wasm) {
		return p.WithData(ctx, f.Data)
	}
	opts := p.opts
	opts.Data = f.Data
	return Load(ctx, f.Wasm, opts)
}

// Data returns the base document as JSON, which is not to be changed.
func (p *Policy) Data() []byte { return p.data.text }

func (p *Policy) next(ctx context.Context, first func(context.Context) (*document, *instance, error)) (*Policy, error) {
	if !p.engine.retain() {
		return nil, unavailable(p.opts.Name, "the policy is closed")
	}
	d, in, err := first(ctx)
	if err == nil {
		var next *Policy
		if next, err = newPolicy(p.opts, p.engine, d, in); err == nil {
			return next, nil
		}
	}
	p.engine.release()
	return nil, err
}

// changed returns an instance with the changes made to the data that is parsed, or, where
// that cannot be, with the new document parsed.
func (p *Policy) changed(ctx context.Context, d *document, changes []change) (*instance, error) {
	if whole(changes) || p.worn() {
		return p.engine.loaded(ctx, d.text)
	}
	in, err := p.engine.copyOf(ctx, p.image)
	if err != nil {
		return nil, err
	}
	if in.paths == nil {
		in.close()
		return p.engine.loaded(ctx, d.text)
	}
	if in.materializes() { // what a rule gave of the old data is not there for the next
		changes = append(changes, change{path: []string{Materialized}, value: map[string]any{}})
	}
	ctx, cancel := context.WithTimeout(in.context(ctx), startTimeout)
	defer cancel()
	if err = in.update(ctx, changes); err == nil {
		err = in.materialize(ctx, d.text)
	}
	if err == nil {
		return in, nil
	}
	in.close()
	if ctx.Err() != nil {
		return nil, err
	}
	return p.engine.loaded(ctx, d.text) // the free memory may be in pieces, or what is materialized too much
}

// worn reports whether so much of the memory is what earlier changes have left there that parsing the data
// is cheaper than copying all of it again and again.
func (m *image) worn() bool { return m.heap > m.fresh+m.fresh/2 }

func whole(changes []change) bool {
	return slices.ContainsFunc(changes, func(c change) bool { return len(c.path) == 0 })
}

// read reads a document, and at the same time has an instance parse it. Of what is no document
// there is no instance.
func (e *engine) read(ctx context.Context, text []byte) (*document, *instance, error) {
	if err := checkSize(e.opts.Name, text); err != nil {
		return nil, nil, err
	}
	var d *document
	var invalid error
	var reading sync.WaitGroup
	reading.Go(func() { d, invalid = readDocument(e.opts.Name, text) })
	in, err := e.loaded(ctx, text)
	reading.Wait()
	if invalid != nil {
		if in != nil {
			in.close()
		}
		return nil, nil, invalid
	}
	return d, in, err
}

// loaded returns an instance with a document parsed and what follows from it
// materialized, or without that where it would take too much.
func (e *engine) loaded(ctx context.Context, text []byte) (*instance, error) {
	in, err := e.parsed(ctx, text)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(in.context(ctx), startTimeout)
	defer cancel()
	if err = in.materialize(bounded, text); err == nil {
		return in, nil
	}
	in.close()
	if code := kernel.CodeOf(err); code != kernel.CodeLimit && code != kernel.CodeTrap {
		return nil, err
	}
	if e.opts.Log != nil {
		e.opts.Log(ctx, "what follows from the data alone is not kept ready, decisions take longer: "+err.Error())
	}
	return e.parsed(ctx, text)
}

func (e *engine) parsed(ctx context.Context, text []byte) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in, err := e.instantiate(ctx, uint64(perByte*len(text))+spare)
	if err != nil {
		return nil, err
	}
	ctx = in.context(ctx)
	if err = in.start(ctx); err == nil {
		err = in.loadData(ctx, text)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}
