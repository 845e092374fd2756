package host

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/lib/pipelinememory"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
	"github.com/hexdag/hexdag/host/ports/filestorage"
	"github.com/hexdag/hexdag/host/ports/filestorage/blobfiles"
	"github.com/hexdag/hexdag/host/ports/httpport"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
	"github.com/hexdag/hexdag/host/ports/memory/redisstore"
	"github.com/hexdag/hexdag/host/ports/memory/sqlitestore"
	"github.com/hexdag/hexdag/host/ports/secret"
	"github.com/hexdag/hexdag/host/ports/secret/envsecret"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	vectors "github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/memvectors"
)

// memoryConfig is the configuration of the memory port's adapters.
type memoryConfig struct {
	memory.Options
	Path string `json:"path"` // of sqlite; memory.db in the host's state if empty
}

func readMemoryConfig(config map[string]any) (*memoryConfig, error) {
	var c memoryConfig
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of memory cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes max_key_bytes, max_value_bytes, max_keys, max_bytes and, for sqlite, path", Err: err}
	}
	return &c, c.Check()
}

func openProcessMemory(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	c, err := readMemoryConfig(config)
	if err != nil {
		return nil, err
	}
	if c.Path != "" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the adapter memory keeps nothing in a file", Why: "path is set", Fix: "use the adapter sqlite, or remove path"}
	}
	return o.keepMemory(memstore.New(), c), nil
}

func openSQLiteMemory(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	if err := o.path(config, "path", dir); err != nil {
		return nil, err
	}
	c, err := readMemoryConfig(config)
	if err != nil {
		return nil, err
	}
	if c.Path == "" && o.own {
		return nil, noPath("path")
	}
	if c.Path == "" {
		c.Path = filepath.Join(stateOf(o.host.config), "memory.db")
	}
	store, err := sqlitestore.Open(o.ctx, c.Path)
	if err != nil {
		return nil, err
	}
	o.host.storesIn("memory", c.Path)
	return o.keepMemory(store, c), nil
}

func openRedisMemory(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	var c struct {
		memory.Options
		redisstore.Config
	}
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of memory cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes url, prefix, allow_eviction, max_key_bytes, max_value_bytes, max_keys and max_bytes", Err: err}
	}
	if err := errors.Join(c.Check(), o.reach("Redis", c.URL)); err != nil {
		return nil, err
	}
	store, err := redisstore.Open(o.ctx, c.Config)
	if err != nil {
		return nil, err
	}
	return o.keepMemory(store, &memoryConfig{Options: c.Options}), nil
}

// keepMemory has a store closed in the end. The operator's is where the states of
// entities are kept.
func (o opening) keepMemory(store driver.Store, c *memoryConfig) []ports.Op {
	m := memory.New(store, c.Options)
	o.closers.add(func(context.Context) error { return m.Close() })
	if !o.own && !o.within && o.host.memory == nil {
		o.host.memory = m
	}
	return m.Ops()
}

func openHTTP(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	p, err := httpport.FromConfig(config)
	if err != nil {
		return nil, err
	}
	p.TraceWith(o.host.tracer)
	o.closers.add(func(context.Context) error { return p.Close() })
	return p.Ops(), nil
}

// checkEgress: what may leave the host is the operator's to say, and said once.
func checkEgress(specs map[string]pipeline.PortSpec, operator bool) error {
	web, isWeb := specs["http"]
	api, isAPI := specs["api_call"]
	secrets, isSecret := specs["secret"]
	servers, isMCP := specs["mcp"]
	switch {
	case !operator && isMCP:
		return place(&kernel.Error{Code: kernel.CodeConfig, What: "a pipeline cannot bring its own mcp port", Why: "which servers are started, and what is sent to them, is the operator's to say", Fix: "have the operator configure it in hexdag.yaml"}, servers.Where)
	case isWeb && isAPI:
		return place(&kernel.Error{Code: kernel.CodeConfig, What: "http and api_call are one port under two names", Fix: "configure one of them; it serves both"}, api.Where)
	case !operator && isSecret:
		return place(&kernel.Error{Code: kernel.CodeConfig, What: "a pipeline cannot bring its own secret port", Why: "which secret may leave the host, and where to, is the operator's to say", Fix: "have the operator configure it in hexdag.yaml, with the hosts of each secret"}, secrets.Where)
	case !operator && (isWeb || isAPI):
		if isAPI {
			web = api
		}
		return place(&kernel.Error{Code: kernel.CodeConfig, What: "a pipeline cannot bring its own http port", Why: "what may leave the host is the operator's to say", Fix: "have the operator configure it in hexdag.yaml, and list the hosts there"}, web.Where)
	}
	return nil
}

// emptyOps are the operations of ports that start empty: nothing is remembered,
// and nothing reachable.
func emptyOps() []ports.Op {
	m := memory.New(memstore.New(), memory.Options{})
	ops := append(m.Ops(), pipelinememory.Ops()...)
	if entities, err := entitystate.New(m, nil, entitystate.Options{}); err == nil {
		ops = append(ops, entityOps(entities)...)
	}
	if storage, err := blobfiles.Open(context.Background(), blobfiles.Config{URL: "mem://"}); err == nil {
		ops = append(ops, filestorage.New(storage, filestorage.Options{}).Ops()...)
	}
	ops = append(ops, vectorsearch.New(memvectors.New(vectors.Cosine), vectors.Cosine, vectorsearch.Options{}).Ops()...)
	if none, err := secret.New(envsecret.New(), nil); err == nil {
		ops = append(ops, none.Ops()...)
	}
	ops = append(ops, lock.New(memlock.New(), lock.Options{}).Ops()...)
	ops = append(ops, eventbus.New(membus.New(membus.Config{}), eventbus.Options{}).Ops(nil)...)
	if web, err := httpport.New(httpport.Config{}); err == nil {
		ops = append(ops, web.Ops()...)
	}
	return ops
}
