package extension

import (
	"context"
	"errors"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
)

// maxPinned is how many versions that runs of elsewhere began with are kept when no run has them.
const maxPinned = 4

// Pin has a run keep to the version of a digest, with which it began in another process. fetch returns the bytes, where
// this process has them not; they are held to all that the configuration says of the module. A digest that the
// configuration does not admit is refused.
func (m *Module) Pin(ctx context.Context, run *kernel.RunContext, digest string, fetch func(context.Context) ([]byte, error)) error {
	if m.spec.Digest != "" && m.spec.Digest != digest {
		return &kernel.Error{Code: kernel.CodeModuleGrant, What: "the run's module is not the one that is pinned here", Where: kernel.Where{Module: kernel.Quote(m.spec.Name) + "@" + digest, Run: run.RunID},
			Why: "this worker's configuration pins " + m.spec.Digest, Fix: "review the run's module, and pin it; or remove digest of module " + kernel.Quote(m.spec.Name) + " from the worker's configuration"}
	}
	if m.begin(run, digest) {
		return nil
	}
	m.reloading.Lock()
	defer m.reloading.Unlock()
	if m.begin(run, digest) { // another has loaded it meanwhile
		return nil
	}
	wasm, err := fetch(ctx)
	if err != nil {
		return err
	}
	v, err := m.compile(ctx, wasm)
	if err != nil {
		return err
	}
	if v.Digest() != digest {
		return errors.Join(&kernel.Error{Code: kernel.CodeModuleInvalid, What: "what was fetched is not the run's module", Where: kernel.Where{Module: kernel.Quote(m.spec.Name) + "@" + digest, Run: run.RunID}, Why: "its digest is " + v.Digest(), Fix: "see who writes to the artifact store"}, v.Close(ctx))
	}
	m.mu.Lock()
	v.users++
	m.live, m.pinned = append(m.live, v), append(m.pinned, v)
	var dropped *version
	if len(m.pinned) > maxPinned {
		dropped, m.pinned = m.pinned[0], slices.Clone(m.pinned[1:])
	}
	m.mu.Unlock()
	if dropped != nil {
		m.release(ctx, dropped)
	}
	m.begin(run, digest)
	return nil
}

// begin fixes a run to the version of a digest; false, where it is not loaded.
func (m *Module) begin(run *kernel.RunContext, digest string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.runs[run.RunID]; ok {
		return v.Digest() == digest
	}
	for _, v := range m.live {
		if v.Digest() == digest && !v.closed {
			v.users++
			m.runs[run.RunID] = v
			return true
		}
	}
	return false
}
