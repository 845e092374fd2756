package governance

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
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
	until    time.Duration // since the port was made: the clock that only runs on is read in half the time
}

// key returns what identifies a request, in a buffer of the pool; false, if its
// decision is not to be kept.
func (c *cache) key(req *kernel.AccessRequest, revision string, reads driver.Reads) (*[]byte, bool) {
	b, ok := c.keys.Get().(*[]byte)
	if !ok {
		b = new([]byte)
		*b = make([]byte, 0, 512)
	}
	key, err := appendKey((*b)[:0], req, revision, reads)
	*b = key
	if err != nil || len(key) > maxKey {
		c.keys.Put(b)
		return nil, false
	}
	return b, true
}

// appendKey writes each text behind its length, so that no two requests have the
// same key.
func appendKey(key []byte, req *kernel.AccessRequest, revision string, reads driver.Reads) ([]byte, error) {
	run := ""
	if reads.Run {
		run = req.Context.RunID
	}
	for _, text := range [...]string{
		revision, req.Subject.Type, req.Subject.ID, req.Subject.Tenant, req.Action.Name, req.Resource.Type, req.Resource.ID,
		run, req.Context.Pipeline, req.Context.Node,
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
	if reads.Usage {
		u := &req.Context.Usage
		for _, n := range [...]int64{u.LLMCalls, u.InputTokens, u.OutputTokens, u.ToolCalls, u.PortCalls} {
			key = binary.AppendVarint(key, n)
		}
	}
	return appendArgs(key, &req.Action)
}

func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}

// appendLabels begins with their number, so that what follows is none of them.
func appendLabels(key []byte, labels map[string]string) []byte {
	key = binary.AppendUvarint(key, uint64(len(labels)))
	var room [few]member[string]
	for _, label := range sorted(labels, room[:0]) {
		key = appendText(appendText(key, label.name), label.value)
	}
	return key
}

// The forms of arguments in a key.
const (
	noArgs byte = iota // which null is not
	argsInText
	argsByName
)

// appendArgs takes the text where somebody has it, which takes no longer than that is.
func appendArgs(key []byte, act *kernel.Act) ([]byte, error) {
	if act.Args == nil {
		return append(key, noArgs), nil
	}
	if act.Text != nil {
		text, err := act.Text.For(act.Args).JSON()
		if err != nil || len(text) > maxKey {
			return key, errUnkept
		}
		return append(append(key, argsInText), text...), nil
	}
	key = binary.AppendUvarint(append(key, argsByName), uint64(len(act.Args)))
	var room [few]member[any]
	var err error
	for _, arg := range sorted(act.Args, room[:0]) {
		at := len(key)
		if key, err = kernel.AppendJSON(appendText(key, arg.name), arg.value); err != nil {
			return key[:at], err
		}
		key = append(key, 0) // where a number ends
	}
	return key, nil
}

// errUnkept says that a request is too large for its decision to be kept, or no JSON.
var errUnkept = errors.New("the decision is not kept")

// few is how many labels or arguments take no memory to sort.
const few = 8

type member[V any] struct {
	name  string
	value V
}

// sorted appends the members of a map by their names.
func sorted[V any](m map[string]V, to []member[V]) []member[V] {
	for name, v := range m {
		to = append(to, member[V]{name, v})
		for i := len(to) - 1; i > 0 && to[i-1].name > to[i].name && len(to) <= few; i-- {
			to[i-1], to[i] = to[i], to[i-1]
		}
	}
	if len(to) > few {
		slices.SortFunc(to, func(a, b member[V]) int { return strings.Compare(a.name, b.name) })
	}
	return to
}

func (c *cache) get(key []byte, now time.Duration) (kernel.Decision, bool) {
	c.mu.RLock()
	k, young := c.young[string(key)]
	found := young
	if !young {
		k, found = c.old[string(key)]
	}
	c.mu.RUnlock()
	if !found || now >= k.until {
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
