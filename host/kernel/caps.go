package kernel

import (
	"slices"
	"strings"
)

// Capability is one of hexDAG's names for what a run may do at all, whatever the
// modules in it were granted.
type Capability string

// The capabilities.
const (
	CapReadArtifacts  Capability = "vas.read"
	CapWriteArtifacts Capability = "vas.write"
	CapExecArtifacts  Capability = "vas.exec"
	CapListArtifacts  Capability = "vas.list"
	CapStatArtifacts  Capability = "vas.stat"
	CapLLM            Capability = "port.llm"
	CapTools          Capability = "port.tool_router"
	CapDataStore      Capability = "port.data_store"
	CapSpawn          Capability = "proc.spawn"
	CapTransition     Capability = "entity.transition"
	CapReadMemory     Capability = "mem.read"
	CapWriteMemory    Capability = "mem.write"
)

// Capabilities returns all of them.
func Capabilities() []Capability {
	return []Capability{
		CapReadArtifacts, CapWriteArtifacts, CapExecArtifacts, CapListArtifacts, CapStatArtifacts, CapLLM, CapTools, CapDataStore,
		CapSpawn, CapTransition, CapReadMemory, CapWriteMemory,
	}
}

// CapSet is a set of capabilities. What is denied wins over what is allowed. The
// zero value allows everything.
type CapSet struct {
	Allowed []Capability // nil allows all
	Denied  []Capability
}

// Allows reports whether the set has c.
func (s CapSet) Allows(c Capability) bool {
	return (s.Allowed == nil || slices.Contains(s.Allowed, c)) && !slices.Contains(s.Denied, c)
}

// Intersect returns what both allow: a set that a run hands on only narrows.
func (s CapSet) Intersect(other CapSet) CapSet {
	both := CapSet{Allowed: []Capability{}}
	for _, c := range Capabilities() {
		if s.Allows(c) && other.Allows(c) {
			both.Allowed = append(both.Allowed, c)
		} else {
			both.Denied = append(both.Denied, c)
		}
	}
	return both
}

// CapabilityOf returns the capability that an operation of a port takes; "" if it
// takes none.
func CapabilityOf(op string) Capability {
	port, method, _ := strings.Cut(op, ".")
	switch port {
	case "llm":
		return CapLLM
	case "mcp":
		return CapTools
	case "database", "database_tools", "vector_search":
		return CapDataStore
	case "pipeline_spawner", "scheduler":
		return CapSpawn
	case "central_agent":
		if method == "start" || method == "submit" || method == "cancel" {
			return CapSpawn
		}
	case "entity_state":
		if method == "transition" || method == "register" {
			return CapTransition
		}
	case "memory", "pipeline_memory":
		switch method {
		case "get", "exists", "list_keys", "query", "snapshot":
			return CapReadMemory
		}
		return CapWriteMemory
	case "file_storage":
		switch method {
		case "write", "delete":
			return CapWriteArtifacts
		case "list":
			return CapListArtifacts
		case "stat":
			return CapStatArtifacts
		}
		return CapReadArtifacts
	case "artifacts":
		switch method {
		case "store", "delete", "create", "write":
			return CapWriteArtifacts
		case "list":
			return CapListArtifacts
		}
		return CapReadArtifacts // close, too: what it makes was written
	}
	return ""
}
