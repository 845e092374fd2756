package resultcache

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/artifacts"
)

// Store is the artifact store, as far as answers need it.
type Store interface {
	Store(ctx context.Context, runID, name string, data io.Reader, opts artifacts.StoreOptions) (*artifacts.Artifact, error)
	ListPage(ctx context.Context, runID, after string, limit int) ([]*artifacts.Artifact, error)
	RetrieveBytes(ctx context.Context, id string, limit int64) ([]byte, *artifacts.Artifact, error)
	Delete(ctx context.Context, id string) error
}

// An answer's artifact.
const (
	runPrefix  = "cache-" // and the key: the run that it is one of
	answerName = "answer.json"
	memberRun  = "run_id" // of the metadata: the run that worked for it
	memberAt   = "kept"   // and when
	memberEnd  = "ends"   // and until when it is good; absent where it has no end
	maxKept    = 16       // of one key that are looked at: there is one, unless hosts raced
)

// recall returns the newest answer that is good; nil without one.
func (c *Cache) recall(ctx context.Context, e *entry) (*engine.Answer, *kernel.Cached, error) {
	if r, ok := c.recent.Get(e.key); ok && time.Since(r.since) < recentTime && e.good(r.cached.Stored) {
		return r.answer, r.cached, nil
	}
	list, err := c.opts.Store.ListPage(ctx, runPrefix+e.key, "", maxKept)
	if err != nil {
		return nil, nil, err
	}
	var newest *artifacts.Artifact
	for _, a := range list {
		if a.Name == answerName && e.good(keptAt(a)) && (newest == nil || keptAt(a).After(keptAt(newest))) {
			newest = a
		}
	}
	if newest == nil {
		return nil, nil, nil
	}
	text, _, err := c.opts.Store.RetrieveBytes(ctx, newest.ID, maxAnswer)
	if err != nil {
		if kernel.CodeOf(err) == kernel.CodeNotFound { // deleted meanwhile
			err = nil
		}
		return nil, nil, err
	}
	r, err := c.remember(e, newest, text)
	if err != nil {
		return nil, nil, err
	}
	return r.answer, r.cached, nil
}

// keptAt is when an answer was kept, which not every store can tell.
func keptAt(a *artifacts.Artifact) time.Time {
	text, _ := a.Metadata[memberAt].(string)
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at
	}
	return a.Stored
}

// good reports whether an answer is not too old.
func (e *entry) good(stored time.Time) bool { return e.TTL == 0 || time.Since(stored) < e.TTL }

// remember has an answer at hand.
func (c *Cache) remember(e *entry, a *artifacts.Artifact, text []byte) (*recent, error) {
	v, err := kernel.DecodeJSON(text)
	if err != nil {
		return nil, err
	}
	by, _ := a.Metadata[memberRun].(string)
	r := &recent{answer: &engine.Answer{Value: v, Labels: a.Labels}, cached: &kernel.Cached{RunID: by, Artifact: a.ID, Stored: keptAt(a)}, since: time.Now()}
	if len(text) <= maxRecentBytes {
		c.recent.Add(e.key, r)
	} else {
		c.recent.Remove(e.key)
	}
	return r, nil
}

// keep stores an answer in place of those that there were. What goes wrong costs work later.
func (c *Cache) keep(ctx context.Context, e *entry, a *engine.Answer) {
	text, err := kernel.AppendJSON(nil, a.Value)
	if err == nil && len(text) > maxAnswer {
		err = &kernel.Error{Code: kernel.CodeLimit, What: "it is too large", Why: "an answer that is kept has at most 16 MiB"}
	}
	if err == nil {
		err = c.replace(ctx, e, a, text)
	}
	if err != nil {
		warn(ctx, e.Question, "what it answered is not kept: "+kernel.Quote(err.Error()))
	}
}

// Gone reports whether an artifact is an answer that is good no more.
func Gone(a *artifacts.Artifact) bool {
	text, _ := a.Metadata[memberEnd].(string)
	end, err := time.Parse(time.RFC3339Nano, text)
	return strings.HasPrefix(a.RunID, runPrefix) && err == nil && time.Now().After(end)
}

// metadata says where an answer is from.
func (e *entry) metadata() map[string]any {
	now := time.Now().UTC()
	m := map[string]any{memberRun: e.run.RunID, memberAt: now.Format(time.RFC3339Nano), "pipeline": e.run.PipelineName, "node": e.Node}
	if e.TTL > 0 {
		m[memberEnd] = now.Add(e.TTL).Format(time.RFC3339Nano)
	}
	return m
}

func (c *Cache) replace(ctx context.Context, e *entry, a *engine.Answer, text []byte) error {
	run := runPrefix + e.key
	kept, err := c.opts.Store.Store(ctx, run, answerName, bytes.NewReader(text), artifacts.StoreOptions{
		ContentType: "application/json", Labels: a.Labels, Origin: artifacts.Origin{Tenant: e.run.Tenant}, // it is none of the pipeline's own artifacts
		Metadata: e.metadata(),
	})
	if err != nil {
		return err
	}
	if _, err := c.remember(e, kept, text); err != nil {
		return err
	}
	if e.Scope == pipeline.CacheForRun {
		e.run.AtEnd(func(ctx context.Context) { _ = c.opts.Store.Delete(ctx, kept.ID) }) // what is left is collected
	}
	list, err := c.opts.Store.ListPage(ctx, run, "", maxKept)
	if err != nil {
		return err
	}
	for _, old := range list {
		if old.ID == kept.ID {
			continue
		}
		if err := c.opts.Store.Delete(ctx, old.ID); err != nil && kernel.CodeOf(err) != kernel.CodeNotFound {
			return err
		}
	}
	return nil
}

// request asks whether the run may have the answer.
func request(ctx context.Context, e *entry) *kernel.AccessRequest {
	return &kernel.AccessRequest{
		Subject:  ports.SubjectOf(ctx, kernel.Caller{Principal: e.run.Principal}),
		Action:   kernel.Act{Name: ActionHit},
		Resource: kernel.Resource{Type: "node", ID: e.run.PipelineName + "/" + e.Node},
		Context:  ports.ScopeOf(ctx, e.Node),
	}
}
