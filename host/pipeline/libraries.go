package pipeline

import (
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// LibrariesSpec is what the operator says of the libraries that the host has. Zero fields mean the defaults.
type LibrariesSpec struct {
	Store     PortSpec // sqlite, postgres or memory; sqlite if there is no adapter
	Pipelines string   // the folder of those that runs and schedules may start; "" is none

	Keep    time.Duration // for how long runs that have ended are known
	MaxRuns int           // that have ended, of one tenant

	MaxDepth   int // of runs that start each other
	MaxSpawned int // that a run and those that come of it start
	MaxRunning int // of those, at once

	CentralAgent  CentralAgentSpec
	Tasks         int // that are scheduled, of one tenant
	Concurrency   int // of the runs of schedules, at once
	Entities      int // whose states are kept, of one tenant
	DatabaseTools *PortSpec
}

func (r *reader) readLibraries(c *Config, s *source.Section) LibrariesSpec {
	var l LibrariesSpec
	if store := s.Member("store"); store != nil {
		l.Store = r.readBackend(store, "sqlite", "postgres", "memory")
	}
	if folder := s.Text("pipelines"); folder != "" {
		l.Pipelines = c.resolve(folder)
	}
	if p := s.Member("process_registry"); p != nil {
		l.Keep, l.MaxRuns = p.Seconds("keep"), p.Amount("max_runs")
		p.Rest()
	}
	if p := s.Member("pipeline_spawner"); p != nil {
		l.MaxDepth, l.MaxSpawned, l.MaxRunning = p.Amount("max_depth"), p.Amount("max_runs"), p.Amount("max_running")
		p.Rest()
	}
	if p := s.Member("scheduler"); p != nil {
		l.Tasks, l.Concurrency = p.Amount("max_tasks"), p.Amount("concurrency")
		p.Rest()
	}
	if p := s.Member("entity_state"); p != nil {
		l.Entities = p.Amount("max_entities")
		p.Rest()
	}
	if p := s.Member("central_agent"); p != nil {
		l.CentralAgent = r.readCentralAgents(p)
	}
	if p := s.Member("database_tools"); p != nil {
		spec := r.readBackend(p, "sqlite", "postgres")
		l.DatabaseTools = &spec
	}
	s.Rest()
	return l
}

// readBackend reads adapter: NAME, config: {...}.
func (r *reader) readBackend(s *source.Section, known ...string) PortSpec {
	spec := PortSpec{Where: s.At.Where(), Adapter: r.oneOf(s, "adapter", known...)}
	if v := s.Get("config"); v != nil {
		var ok bool
		if spec.Config, ok = v.Plain().(map[string]any); !ok {
			r.Add(v.Errorf(kernel.CodeConfig, "write config: {name: value}", "config must be a mapping"))
		}
	}
	s.Rest()
	return spec
}
