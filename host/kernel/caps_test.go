package kernel

import (
	"slices"
	"testing"
)

func TestCapSets(t *testing.T) {
	all := CapSet{}
	for _, c := range Capabilities() {
		if !all.Allows(c) {
			t.Errorf("the zero set denies %s", c)
		}
	}
	if len(Capabilities()) != 12 {
		t.Errorf("%d capabilities", len(Capabilities()))
	}
	a := CapSet{Allowed: []Capability{CapLLM, CapReadMemory}, Denied: []Capability{CapReadMemory}}
	if !a.Allows(CapLLM) || a.Allows(CapReadMemory) || a.Allows(CapSpawn) {
		t.Error("what is denied does not win, or what is not allowed is")
	}
	// Intersecting only narrows, from either side.
	b := CapSet{Denied: []Capability{CapLLM}}
	for _, both := range []CapSet{a.Intersect(b), b.Intersect(a)} {
		for _, c := range Capabilities() {
			if both.Allows(c) != (a.Allows(c) && b.Allows(c)) {
				t.Errorf("%s: %v", c, both)
			}
		}
	}
	if none := (CapSet{Allowed: []Capability{}}); slices.ContainsFunc(Capabilities(), none.Allows) {
		t.Error("the empty set allows something")
	}
}

// Every operation of a port that hexDAG has a capability for takes it.
func TestCapabilityOf(t *testing.T) {
	for op, want := range map[string]Capability{
		"llm.complete": CapLLM, "llm.embed": CapLLM, "llm.batch": CapLLM, "database.query": CapDataStore, "entity_state.transition": CapTransition, "entity_state.get_state": "",
		"memory.get": CapReadMemory, "memory.query": CapReadMemory, "vector_search.search": CapDataStore, "file_storage.read": CapReadArtifacts, "file_storage.write": CapWriteArtifacts, "file_storage.delete": CapWriteArtifacts, "file_storage.list": CapListArtifacts, "file_storage.stat": CapStatArtifacts, "memory.set": CapWriteMemory, "memory.compare_and_swap": CapWriteMemory, "pipeline_memory.snapshot": CapReadMemory,
		"artifacts.store": CapWriteArtifacts, "artifacts.retrieve": CapReadArtifacts, "artifacts.list": CapListArtifacts, "artifacts.delete": CapWriteArtifacts, "metrics.count": "",
	} {
		if got := CapabilityOf(op); got != want {
			t.Errorf("%s takes %q, want %q", op, got, want)
		}
	}
}
