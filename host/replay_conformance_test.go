package host_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
)

// TestConformanceAgain: each of the reference's pipelines is recorded, is the same when it is done again, and, where its
// host dies, ends as it would have.
func TestConformanceAgain(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "conformance", "pipelines.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []golden `json:"cases"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Cases {
		t.Run(g.ID, func(t *testing.T) { g.again(t) })
	}
}

func (g *golden) again(t *testing.T) {
	journals := memjournal.NewServer()
	h := bare(t, host.Options{Journal: journals.Open("first")})
	file := filepath.Join(t.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(file, []byte(g.withModel()), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := h.Load(t.Context(), file, host.LoadOptions{})
	if err != nil {
		return // TestConformance says whether it is to be refused
	}
	defer p.Close(t.Context())
	input, err := kernel.DecodeJSON(g.Input)
	if err != nil {
		t.Fatal(err)
	}
	was := p.Run(t.Context(), input, host.RunOptions{Durable: true})
	reader := journals.Open("reader")
	defer reader.Close()
	r, err := host.OpenReplayer(t.Context(), bareConfig(t), host.Options{Journal: reader}, host.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	again, err := r.Run(t.Context(), was.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Same {
		t.Errorf("%+v", again)
	}
	j, err := journal.Read(t.Context(), reader, "default", was.RunID)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	if testing.Short() {
		step = len(entries)/3 + 1
	}
	for at := 1; at < len(entries); at += step {
		g.goesOn(t, p, was, entries[:at])
	}
}

func (g *golden) goesOn(t *testing.T, p *host.Pipeline, was *host.Result, known []*journal.Entry) {
	t.Helper()
	of := &driver.Run{ID: was.RunID, Tenant: "default", Pipeline: p.Name, Version: p.Version, Begun: known[0].Time}
	h := bare(t, host.Options{Journal: died(t, of, known).Open("second")})
	r, err := h.RecoverRun(t.Context(), was.RunID, host.RunOptions{})
	if err != nil {
		t.Fatalf("after %d: %v", len(known), err)
	}
	if r.Result.Status != was.Status {
		t.Errorf("after %d: %s: %v; it was %s", len(known), r.Result.Status, r.Result.Err, was.Status)
		return
	}
	if was.Status == engine.Completed && !g.oneAnswerEach() {
		return
	}
	if !journal.Equal(object(r.Result.NodeResults), object(was.NodeResults)) || !journal.Equal(object(r.Result.Output), object(was.Output)) {
		t.Errorf("after %d: %v\nis not %v", len(known), r.Result.NodeResults, was.NodeResults)
	}
}

// oneAnswerEach reports whether a model that is asked for the first time again answers as it did: the mock counts its answers
// in its process.
func (g *golden) oneAnswerEach() bool { return len(g.Responses) < 2 }

func object(fields map[string]kernel.Value) kernel.Value { return fields }

func bareConfig(t *testing.T) *host.Config {
	return &host.Config{File: filepath.Join(t.TempDir(), "hexdag.yaml"), Env: []string{"*"}, Endpoints: []string{"**"}}
}
