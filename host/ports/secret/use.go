package secret

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
)

// slot is where an operation puts a secret, past every reply, hook and record.
type slot struct {
	mu             sync.Mutex
	name, host     string
	secure, wanted bool
	value          string
}

type slotKey struct{}

// fill puts a secret where it is waited for, once. It reports whether it is.
func fill(ctx context.Context, name, host string, get func(secure bool) (string, error)) (bool, error) {
	s, _ := ctx.Value(slotKey{}).(*slot)
	if s == nil {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wanted || s.name != name || s.host != host {
		return false, nil // a hook's own call, inside the one that waits
	}
	value, err := get(s.secure)
	if err != nil {
		return false, err
	}
	s.value, s.wanted = value, false
	return true, nil
}

// Use returns the secrets of those names for a request that a call makes to a host, by https if
// secure. Each is asked for with secret.use through the run's door, on behalf of everybody on
// whose behalf the call is.
func Use(ctx context.Context, call *kernel.PortCall, names []string, host string, secure bool) (Values, error) {
	run := kernel.RunFrom(ctx)
	if run == nil || run.Door == nil {
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "the run has no secrets", Fix: "call it from inside a run"}
	}
	values := Values{}
	for _, name := range names {
		s := &slot{name: name, host: host, secure: secure, wanted: true}
		_, err := run.Door(context.WithValue(ctx, slotKey{}, s), &kernel.PortCall{Op: "secret.use", Args: map[string]any{"name": name, "host": host}, Caller: call.Caller, Node: call.Node})
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		value, wanted := s.value, s.wanted
		s.mu.Unlock()
		if wanted {
			return nil, &kernel.Error{Code: kernel.CodeDenied, What: "secret " + kernel.Quote(name) + " was not given", Why: "a hook answered in the port's place", Fix: "do not skip secret.use"}
		}
		values[name] = value
	}
	return values, nil
}

// Values are secrets by name. They are never printed.
type Values map[string]string

// String hides them.
func (v Values) String() string { return "[secrets]" }

// GoString hides them.
func (v Values) GoString() string { return v.String() }

// MarshalJSON hides them.
func (v Values) MarshalJSON() ([]byte, error) { return json.Marshal(v.String()) }

// Put returns a text with the secrets in place of their handles.
func (v Values) Put(text string) string {
	if len(v) == 0 || !strings.Contains(text, "<secret:") {
		return text
	}
	return handle.ReplaceAllStringFunc(text, func(found string) string {
		if value, known := v[handle.FindStringSubmatch(found)[1]]; known {
			return value
		}
		return found
	})
}

// PutAll is Put for every text in a JSON value, members' names left alone.
func (v Values) PutAll(value kernel.Value) kernel.Value {
	switch t := value.(type) {
	case string:
		return v.Put(t)
	case []any:
		list := make([]any, len(t))
		for i, item := range t {
			list[i] = v.PutAll(item)
		}
		return list
	case map[string]any:
		fields := make(map[string]any, len(t))
		for name, item := range t {
			fields[name] = v.PutAll(item)
		}
		return fields
	}
	return value
}

// minScrubbed is how long a secret is whose occurrences in an answer are no accident.
const minScrubbed = 6

// Scrub returns an answer with the handles in place of the secrets, for a server that sends
// back what it got: as it is, or as JSON, a URL, HTML or base64 writes it.
func (v Values) Scrub(data []byte) []byte {
	type form struct{ text, handle string }
	var forms []form
	for name, value := range v {
		if len(value) < minScrubbed {
			continue
		}
		for _, text := range written(value) {
			forms = append(forms, form{text, Handle(name)})
		}
	}
	slices.SortFunc(forms, func(a, b form) int { return cmp.Compare(len(b.text), len(a.text)) }) // one may hold another
	for _, f := range forms {
		data = bytes.ReplaceAll(data, []byte(f.text), []byte(f.handle))
	}
	return data
}

// ScrubAll is Scrub for every text and name in a JSON value: a server may send back a text that holds
// JSON itself.
func (v Values) ScrubAll(value kernel.Value) kernel.Value {
	switch t := value.(type) {
	case string:
		return string(v.Scrub([]byte(t)))
	case []any:
		for i, item := range t {
			t[i] = v.ScrubAll(item)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(t)) {
			item := v.ScrubAll(t[name])
			delete(t, name)
			t[string(v.Scrub([]byte(name)))] = item
		}
	}
	return value
}

// written returns how a value may be written.
func written(value string) []string {
	forms := []string{value, url.QueryEscape(value), url.PathEscape(value), html.EscapeString(value),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value))}
	if text, err := json.Marshal(value); err == nil {
		forms = append(forms, string(text[1:len(text)-1]))
	}
	if text, err := kernel.EncodeJSON(value); err == nil {
		forms = append(forms, string(text[1:len(text)-1]))
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}
