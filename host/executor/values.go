package executor

import (
	"bytes"
	"context"
	"encoding/json"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
)

// The sizes of what travels inline, in bytes of JSON.
const (
	InlineHead  = 2 << 10  // which every task carries
	InlineValue = 32 << 10 // one value
	// InlineRun is what all values of a run have together: how it ends has to fit into one message of 2 MB.
	InlineRun = 768 << 10
)

// maxValue is how large a value is at most that is read.
const maxValue = 256 << 20

// Values keeps what is too large to travel inline as artifacts, which all processes share.
type Values struct {
	store  *artifacts.Store
	recent *lru.Cache[string, []byte] // of what every task of a run reads
}

// NewValues returns the values in a store.
func NewValues(store *artifacts.Store) *Values {
	recent, err := lru.New[string, []byte](64)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &Values{store: store, recent: recent}
}

// Put returns where v is: inline, where its JSON has at most bound bytes and nothing in it is secret.
func (s *Values) Put(ctx context.Context, h *Head, name string, v any, labels *kernel.Labels, bound int) (Ref, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return Ref{}, &kernel.Error{Code: kernel.CodeFailed, What: name + " cannot be written as JSON", Where: kernel.Where{Run: h.RunID}, Why: err.Error(), Err: err}
	}
	if len(text) <= bound && labels.Confidentiality() != kernel.Secret {
		return Ref{Inline: text, Size: len(text)}, nil
	}
	a, err := s.store.Store(ctx, h.RunID, "executor/"+name, bytes.NewReader(text), artifacts.StoreOptions{
		ContentType: "application/json", Labels: labels, Origin: artifacts.Origin{Tenant: h.Tenant, Pipeline: h.Pipeline, PipelineVersion: h.Version},
	})
	if err != nil {
		return Ref{}, err
	}
	return Ref{Artifact: a.ID, Size: len(text)}, nil
}

// Get reads the value at r into what v points to.
func (s *Values) Get(ctx context.Context, r Ref, v any) error {
	text := []byte(r.Inline)
	if r.Artifact != "" {
		var err error
		if text, err = s.bytes(ctx, r.Artifact); err != nil {
			return err
		}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return &kernel.Error{Code: kernel.CodeFailed, What: "a value of the run cannot be read", Why: kernel.Quote(err.Error()), Fix: "have all processes of the executor be of one version", Err: err}
	}
	return nil
}

func (s *Values) bytes(ctx context.Context, id string) ([]byte, error) {
	if text, ok := s.recent.Get(id); ok {
		return text, nil
	}
	text, _, err := s.store.RetrieveBytes(ctx, id, maxValue)
	if kernel.CodeOf(err) == kernel.CodeNotFound {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "a value of the run is not in this process's artifact store", Why: "there is no artifact " + kernel.Quote(id),
			Fix: "configure the same port artifacts for whoever starts runs and for every worker, and keep artifacts for as long as runs last", Err: err}
	}
	if err == nil && len(text) <= 1<<20 {
		s.recent.Add(id, text)
	}
	return text, err
}
