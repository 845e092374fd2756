package resultcache

import (
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
)

// How old an answer is does not depend on a store that can tell: MLflow cannot.
func TestAge(t *testing.T) {
	e := &entry{Question: &engine.Question{Node: "n", TTL: time.Hour}, run: &kernel.RunContext{RunID: "r", PipelineName: "p"}}
	a := &artifacts.Artifact{RunID: runPrefix + "k", Metadata: e.metadata()}
	if !e.good(keptAt(a)) || Gone(a) {
		t.Errorf("%v is too old", a.Metadata)
	}
	a.Metadata[memberAt] = time.Now().Add(-2 * time.Hour).Format(time.RFC3339Nano)
	a.Metadata[memberEnd] = time.Now().Add(-time.Hour).Format(time.RFC3339Nano)
	if e.good(keptAt(a)) || !Gone(a) {
		t.Errorf("%v is good", a.Metadata)
	}
	if a.RunID = "a run"; Gone(a) {
		t.Error("an artifact of a run is taken for an answer")
	}
}
