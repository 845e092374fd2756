package consullock_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// consul is a server that does what Consul's documentation says of sessions, keys and transactions
// (developer.hashicorp.com/consul/api-docs: session, kv, txn). It stands in for an agent, which none of
// the registries has: what it does not say of Consul, nobody here has tested.
type consul struct {
	mu       sync.Mutex
	index    uint64
	sessions map[string]*session
	pairs    map[string]*pair
	delayed  map[string]time.Time // keys whose session has ended, until when nobody gets them
}

type session struct {
	ttl, delay time.Duration
	ends       time.Time
}

type pair struct {
	Key         string
	Value       []byte
	Session     string `json:",omitempty"`
	LockIndex   uint64
	CreateIndex uint64
	ModifyIndex uint64
	Flags       uint64
}

func newConsul(t *testing.T) *httptest.Server {
	t.Helper()
	c := &consul{sessions: map[string]*session{}, pairs: map[string]*pair{}, delayed: map[string]time.Time{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return server
}

// ServeHTTP ends the sessions whose time is up, and answers.
func (c *consul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.sessions {
		if time.Now().After(s.ends) {
			c.end(id)
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path, call := r.URL.Path, r.Method
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch {
	case call == "PUT" && path == "/v1/session/create":
		c.create(w, body)
	case call == "PUT" && strings.HasPrefix(path, "/v1/session/renew/"):
		id := strings.TrimPrefix(path, "/v1/session/renew/")
		s := c.sessions[id]
		if s == nil {
			http.Error(w, fmt.Sprintf("Session id '%s' not found", id), http.StatusNotFound)
			return
		}
		s.ends = time.Now().Add(s.ttl)
		answer([]any{map[string]any{"ID": id, "TTL": s.ttl.String()}})
	case call == "PUT" && strings.HasPrefix(path, "/v1/session/destroy/"):
		c.end(strings.TrimPrefix(path, "/v1/session/destroy/"))
		answer(true)
	case call == "PUT" && strings.HasPrefix(path, "/v1/kv/") && r.URL.Query().Has("acquire"):
		answer(c.acquire(strings.TrimPrefix(path, "/v1/kv/"), r.URL.Query().Get("acquire"), body))
	case call == "GET" && strings.HasPrefix(path, "/v1/kv/"):
		c.get(w, strings.TrimPrefix(path, "/v1/kv/"), r.URL.Query().Has("recurse"), r.URL.Query().Has("keys"))
	case call == "PUT" && path == "/v1/txn":
		c.transact(w, body)
	default:
		http.Error(w, "not written: "+call+" "+path, http.StatusNotImplemented)
	}
}

func (c *consul) create(w http.ResponseWriter, body []byte) {
	var ask struct{ TTL, LockDelay, Behavior string }
	if err := json.Unmarshal(body, &ask); err != nil || ask.Behavior != "delete" {
		http.Error(w, "a session that deletes its keys was expected", http.StatusBadRequest)
		return
	}
	ttl, err := time.ParseDuration(ask.TTL)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	delay, err := time.ParseDuration(ask.LockDelay)
	if err != nil {
		delay = 15 * time.Second
	}
	c.index++
	id := fmt.Sprintf("session-%d", c.index)
	c.sessions[id] = &session{ttl: ttl, delay: delay, ends: time.Now().Add(ttl)}
	_ = json.NewEncoder(w).Encode(map[string]string{"ID": id})
}

// end invalidates a session: its keys are deleted, and nobody gets them during its lock-delay.
func (c *consul) end(id string) {
	s := c.sessions[id]
	if s == nil {
		return
	}
	delete(c.sessions, id)
	for key, p := range c.pairs {
		if p.Session == id {
			c.index++
			delete(c.pairs, key)
			c.delayed[key] = time.Now().Add(s.delay)
		}
	}
}

func (c *consul) acquire(key, id string, value []byte) bool {
	p := c.pairs[key]
	if c.sessions[id] == nil || time.Now().Before(c.delayed[key]) || p != nil && p.Session != "" && p.Session != id {
		return false
	}
	c.index++
	if p == nil {
		p = &pair{Key: key, CreateIndex: c.index}
		c.pairs[key] = p
	}
	if p.Session != id {
		p.LockIndex++
	}
	p.Session, p.Value, p.ModifyIndex = id, value, c.index
	return true
}

func (c *consul) get(w http.ResponseWriter, key string, recurse, keys bool) {
	var list []*pair
	for k, p := range c.pairs {
		if k == key || (recurse || keys) && strings.HasPrefix(k, key) {
			list = append(list, p)
		}
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(c.index+1, 10))
	if len(list) == 0 {
		http.Error(w, "", http.StatusNotFound)
		return
	}
	if keys {
		names := make([]string, len(list))
		for i, p := range list {
			names[i] = p.Key
		}
		_ = json.NewEncoder(w).Encode(names)
		return
	}
	_ = json.NewEncoder(w).Encode(list)
}

// transact takes check-session and delete, all or nothing.
func (c *consul) transact(w http.ResponseWriter, body []byte) {
	var ops []struct {
		KV struct{ Verb, Key, Session string }
	}
	if err := json.Unmarshal(body, &ops); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for i, op := range ops {
		p := c.pairs[op.KV.Key]
		if op.KV.Verb == "check-session" && (p == nil || p.Session != op.KV.Session) {
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(map[string]any{"Results": nil, "Errors": []any{map[string]any{"OpIndex": i, "What": "session does not match"}}})
			return
		}
	}
	for _, op := range ops {
		if op.KV.Verb == "delete" {
			c.index++
			delete(c.pairs, op.KV.Key)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Results": []any{}, "Errors": nil})
}
