package governance

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	// maxCached is how many decisions each of two generations holds.
	maxCached = 4096
	// maxKey is how large a request can be for its decision to be kept.
	maxKey = 4 << 10
)

// cache keeps decisions for their time to live, by the whole request and the
// revision of the policy. The zero value is empty.
//
// When the young generation is full it becomes the old one, and what was old goes:
// what is asked for again moves back, so that the decisions in use stay.
type cache struct {
	mu         sync.RWMutex
	young, old map[string]kept
	keys       sync.Pool // of *[]byte
}

type kept struct {
	decision kernel.Decision
	until    time.Time
}

// key returns what identifies a request, in a buffer of the pool; false, if its
// decision is not to be kept.
func (c *cache) key(req *kernel.AccessRequest, revision string, usage bool) (*[]byte, bool) {
	b, ok := c.keys.Get().(*[]byte)
	if !ok {
		b = new([]byte)
		*b = make([]byte, 0, 512)
	}
	key, err := appendKey((*b)[:0], req, revision, usage)
	*b = key
	if err != nil || len(key) > maxKey {
		c.keys.Put(b)
		return nil, false
	}
	return b, true
}

// appendKey writes each text behind its length, so that no two requests have the
// same key.
func appendKey(key []byte, req *kernel.AccessRequest, revision string, usage bool) ([]byte, error) {
	for _, text := range [...]string{
		revision, req.Subject.Type, req.Subject.ID, req.Subject.Tenant, req.Action.Name, req.Resource.Type, req.Resource.ID,
		req.Context.RunID, req.Context.Pipeline, req.Context.Node,
	} {
		key = appendText(key, text)
	}
	key = binary.AppendUvarint(key, uint64(len(req.Subject.Chain)))
	for _, name := range req.Subject.Chain {
		key = appendText(key, name)
	}
	key = appendLabels(key, req.Context.Labels)
	key = binary.AppendUvarint(key, uint64(len(req.Context.Sources)))
	for _, source := range req.Context.Sources {
		key = appendText(key, source)
	}
	if usage {
		u := &req.Context.Usage
		for _, n := range [...]int64{u.LLMCalls, u.InputTokens, u.OutputTokens, u.ToolCalls, u.PortCalls} {
			key = binary.AppendVarint(key, n)
		}
	}
	if req.Action.Args == nil {
		return key, nil
	}
	return kernel.AppendJSON(key, req.Action.Args)
}

func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}

func appendLabels(key []byte, labels map[string]string) []byte {
	key = binary.AppendUvarint(key, uint64(len(labels)))
	if len(labels) == 0 {
		return key
	}
	names := make([]string, 0, len(labels))
	for name := range labels {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		key = appendText(appendText(key, name), labels[name])
	}
	return key
}

func (c *cache) get(key []byte, now time.Time) (kernel.Decision, bool) {
	c.mu.RLock()
	k, young := c.young[string(key)]
	found := young
	if !young {
		k, found = c.old[string(key)]
	}
	c.mu.RUnlock()
	if !found || !now.Before(k.until) {
		return kernel.Decision{}, false
	}
	if !young {
		c.keep(key, k)
	}
	return k.decision, true
}

func (c *cache) keep(key []byte, k kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= maxCached {
		c.young, c.old = make(map[string]kept), c.young
	}
	c.young[string(key)] = k
}
