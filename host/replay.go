package host

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// ReplayOptions say what takes the place of what a run had. Without any of it the run is reproduced.
type ReplayOptions struct {
	Modules  map[string]string // by name, the files of other modules
	Policies []string          // folders of Rego that decides in place of what was decided
	// From is the node at which to begin: what it does not depend on it is as recorded, and not done again.
	From string
	// Observer is told of the events of the run that is done again.
	Observer func(*Event)
}

// faithful reports whether nothing is to be other than it was.
func (o *ReplayOptions) faithful() bool {
	return len(o.Modules) == 0 && len(o.Policies) == 0 && o.From == ""
}

// Replayed is what came of doing a recorded run again.
type Replayed struct {
	RunID       string               `json:"run_id"`
	Pipeline    string               `json:"pipeline"`
	Was         engine.Status        `json:"was"`
	Is          engine.Status        `json:"is"`
	Same        bool                 `json:"same"` // to the bit: what it did, in which order, and what came of it
	Nodes       []NodeDifference     `json:"nodes,omitempty"`
	Differences []journal.Difference `json:"differences,omitempty"`
	Entries     int                  `json:"entries"`
	FuelWas     int64                `json:"fuel_was"`
	FuelIs      int64                `json:"fuel_is"`
	Took        time.Duration        `json:"took_ns"` // now
	TookThen    time.Duration        `json:"took_then_ns"`
	Notes       []string             `json:"notes,omitempty"`
	Result      *Result              `json:"-"`
}

// NodeDifference is a node that is other than it was.
type NodeDifference struct {
	Node    string `json:"node"`
	Was     string `json:"was"`
	Is      string `json:"is"`
	FuelWas int64  `json:"fuel_was"`
	FuelIs  int64  `json:"fuel_is"`
}

// Replayer does recorded runs again, offline: no port is opened, and nothing is called. It is for one goroutine.
type Replayer struct {
	config  *Config
	opts    Options
	replay  ReplayOptions
	store   driver.Store
	dir     string
	hosts   map[string]*Host // by the modules that they have
	closers closers
}

// OpenReplayer opens the journals that a configuration names; modules, hooks and labels are the configuration's, but the modules' bytes those of the run.
func OpenReplayer(ctx context.Context, cfg *Config, opts Options, replay ReplayOptions) (*Replayer, error) {
	r := &Replayer{config: cfg, opts: opts, replay: replay, store: opts.Journal, hosts: map[string]*Host{}}
	if r.store == nil {
		j, err := OpenJournal(ctx, cfg)
		if err != nil {
			return nil, err
		}
		r.store = j.Store
		r.closers.add(func(context.Context) error { return j.Close() })
	}
	dir, err := os.MkdirTemp("", "hexdag-replay-")
	if err != nil {
		return nil, errors.Join(&kernel.Error{Code: kernel.CodeFailed, What: "there is no folder to replay in", Why: err.Error(), Err: err}, r.closers.close(ctx))
	}
	r.dir = dir
	r.closers.add(func(context.Context) error { return os.RemoveAll(dir) })
	return r, nil
}

// Close closes what was opened.
func (r *Replayer) Close(ctx context.Context) error {
	return errors.Join(r.closeHosts(ctx), r.closers.close(ctx))
}

// maxHosts is how many sets of modules are kept open at once.
const maxHosts = 8

func (r *Replayer) closeHosts(ctx context.Context) error {
	var problems []error
	for _, h := range r.hosts {
		problems = append(problems, h.Close(ctx), os.RemoveAll(h.state))
	}
	clear(r.hosts)
	return errors.Join(problems...)
}

// Runs returns the runs that can be done again, the latest first.
func (r *Replayer) Runs(ctx context.Context, q driver.Query) ([]*driver.Run, error) {
	return r.store.Runs(ctx, orElse(r.config.Tenant, "default"), q)
}

// Run does a run again. An error says why it could not; that it is other than it was is no error.
func (r *Replayer) Run(ctx context.Context, run string) (*Replayed, error) {
	read, err := journal.Read(ctx, r.store, orElse(r.config.Tenant, "default"), run)
	if err != nil {
		return nil, err
	}
	entries, err := read.All(ctx)
	if err != nil {
		return nil, err
	}
	if ofNode(run) {
		return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: "one node cannot be done again", Where: kernel.Where{Run: run}, Why: "the journal is of a node that a worker did for a run on an executor", Fix: "see what it did: hexdag journal show " + run}
	}
	parts := journal.Parts(entries)
	if len(parts) == 0 {
		return nil, &kernel.Error{Code: kernel.CodeJournal, What: "the run cannot be done again", Where: kernel.Where{Run: run}, Why: "its journal holds no whole entry", Fix: "'hexdag journal verify' says what is wrong with it"}
	}
	if parts[len(parts)-1].End == nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the run has not ended", Where: kernel.Where{Run: run}, Why: "it is under way, or its host has died", Fix: "wait for it; if its host has died: hexdag resume --crashed " + run}
	}
	replayed := &Replayed{RunID: run, Pipeline: read.Head.Pipeline, Same: r.replay.faithful(), Entries: len(entries)}
	if read.Torn != nil {
		replayed.Notes = append(replayed.Notes, "the journal is "+read.Torn.String())
	}
	redacted := 0
	for _, e := range entries {
		if e.Redacted {
			redacted++
		}
	}
	if redacted > 0 {
		replayed.Notes = append(replayed.Notes, fmt.Sprintf("%d entries were redacted: what is made of their values is not what it was", redacted))
	}
	for _, part := range parts {
		if err := isOf(part.Head, read.Head); err != nil {
			return nil, err
		}
		if err := r.part(ctx, part, replayed); err != nil {
			return nil, kernel.At(err, kernel.Where{Run: run})
		}
		if replayed.Is != replayed.Was { // what came after had another beginning
			break
		}
	}
	return replayed, nil
}

// part does again what a run did until it ended, or was suspended.
func (r *Replayer) part(ctx context.Context, part *journal.Part, into *Replayed) error {
	head := part.Head
	h, err := r.host(ctx, head, into)
	if err != nil {
		return err
	}
	p, err := h.loadSource(ctx, r.store, head)
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	from, err := continuationOf(head)
	if err != nil {
		return err
	}
	rc := h.newRun(head.Pipeline, RunOptions{Principal: head.Principal, Labels: head.Labels, Fresh: head.Fresh})
	rc.RunID, rc.ParentRunID, rc.Caps, rc.Origin, rc.InputLabels, rc.Started, rc.PipelineVersion = head.Run, head.Parent, head.Caps, head.Origin, head.InputLabels, part.Began, head.Version
	rc.Tenant = head.Tenant
	rc.Clock = func() time.Time { return part.Last } // what was not read then is no later than that
	rc.Entropy = rand.NewChaCha8(journal.Seed(head.Run))
	if from != nil {
		if from.Masked {
			into.Notes = append(into.Notes, "what the policy masks of pipeline_memory is not in the journal: what is made of it is not what it was")
		}
		if err := rc.Kept.Set(from.Kept, from.KeptLabels); err != nil {
			return err
		}
		rc.Charge(from.Spent)
		rc.Recall(from.Reads)
	}
	if observer := r.replay.Observer; observer != nil {
		rc.Observer = observer
	}
	tape, taken, err := r.tape(ctx, rc, p, part)
	if err != nil {
		return err
	}
	rc.Journal = tape
	begun := time.Now()
	result := r.admitted(ctx, h, rc, from != nil, into)
	if result == nil {
		result = p.plan.Run(ctx, rc, head.Input, from.resumption())
	}
	into.Took += time.Since(begun)
	into.TookThen += part.Last.Sub(part.Began)
	r.compare(part, tape, taken, result, into)
	return nil
}

// admitted returns nil where the rules that decide in place of those of the run let it begin, or go on, as those did.
func (r *Replayer) admitted(ctx context.Context, h *Host, rc *kernel.RunContext, again bool, into *Replayed) *Result {
	if len(r.replay.Policies) == 0 {
		return nil
	}
	action := actionRun
	if again {
		action = actionResume
	}
	err := h.admit(ctx, rc, action)
	if err == nil {
		return nil
	}
	into.Differences = append(into.Differences, journal.Difference{What: "governance decides otherwise about " + action, Was: string(kernel.Allow), Is: string(kernel.Forbid)})
	return refused(ctx, rc, err)
}

// tape is what a part is done again on, and what takes down how it is now.
func (r *Replayer) tape(ctx context.Context, rc *kernel.RunContext, p *Pipeline, part *journal.Part) (*journal.Tape, *journal.Taken, error) {
	taken := &journal.Taken{}
	if r.replay.faithful() {
		return journal.Again(rc, journal.Replaying, taken, part.Comparable(), journal.Options{Silent: part.Recovered, Stopped: part.Stopped()}), taken, nil
	}
	opts := journal.Options{Judge: len(r.replay.Policies) > 0}
	if from := r.replay.From; from != "" {
		if p.Node(from) == nil {
			return nil, nil, &kernel.Error{Code: kernel.CodeInput, What: "there is no node " + kernel.Quote(from), Where: kernel.Where{File: p.File}, Fix: "name a node of the pipeline at its top; 'hexdag journal show' tells them"}
		}
		after := p.After(from)
		opts.Keep = func(node string) bool { return !after[node] }
		if err := p.recall(ctx, rc, keptOf(part.Entries, opts.Keep)); err != nil {
			return nil, nil, err
		}
	}
	return journal.Again(rc, journal.Rehearsing, taken, part.Entries, opts), taken, nil
}

// keptOf returns the entries of the nodes at the top that are done and that keep says, and of what is inside of these.
func keptOf(entries []*journal.Entry, keep func(node string) bool) iter.Seq[*journal.Entry] {
	return func(yield func(*journal.Entry) bool) {
		for e := range journal.Over(entries) {
			node, _, _ := strings.Cut(e.Lane, "/")
			if node != "" && keep(node) && !yield(e) {
				return
			}
		}
	}
}

// compare notes what is other than it was.
func (r *Replayer) compare(part *journal.Part, tape *journal.Tape, taken *journal.Taken, result *Result, into *Replayed) {
	into.Result = result
	was, is := journal.Ends(part.Entries), journal.Ends(taken.Entries())
	for _, node := range slices.Sorted(maps.Keys(merged(was.Nodes, is.Nodes))) {
		if tape.Kept(node) {
			is.Fuel[node] = was.Fuel[node]
			continue
		}
		a, b := was.Nodes[node], is.Nodes[node]
		if a == nil || b == nil || !a.Same(b) || was.Fuel[node] != is.Fuel[node] {
			into.Nodes = append(into.Nodes, NodeDifference{Node: node, Was: brief(a), Is: brief(b), FuelWas: was.Fuel[node], FuelIs: is.Fuel[node]})
		}
	}
	for _, n := range was.Fuel {
		into.FuelWas += n
	}
	for _, n := range is.Fuel {
		into.FuelIs += n
	}
	into.Differences = append(into.Differences, tape.Differences()...)
	into.Is = result.Status
	into.Was = into.Is
	switch end := part.End; {
	case part.Stopped() && r.replay.faithful():
		into.Notes = append(into.Notes, "the run was stopped from outside; it is compared up to there")
		into.Was, into.Is = engine.Cancelled, engine.Cancelled
	default:
		into.Was = engine.Status(end.Status)
		into.Differences = append(into.Differences, r.ending(end, result, into)...)
	}
	into.Same = into.Same && len(into.Nodes)+len(into.Differences) == 0 && into.Was == into.Is
}

// ending is what is other about the end of a run than its status, where no node says so.
func (r *Replayer) ending(end *journal.Entry, result *Result, into *Replayed) []journal.Difference {
	is := &journal.Entry{Kind: journal.End, Status: string(result.Status), Value: objectOf(result.Output), Failed: result.Error}
	if len(into.Nodes) > 0 || is.Status != end.Status || is.Ended(end) {
		return nil
	}
	return []journal.Difference{{Seq: end.Seq, What: "the run comes to something else", Was: end.Brief(), Is: is.Brief()}}
}

func brief(e *journal.Entry) string {
	if e == nil {
		return "not run"
	}
	return e.Brief()
}

func merged[V any](a, b map[string]V) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

// host returns a host with the modules that a run had, or that take their place.
func (r *Replayer) host(ctx context.Context, head *journal.Head, into *Replayed) (*Host, error) {
	if head.Config != r.config.Digest {
		note := "the configuration is not what it was; grants, hooks and labels are those of now"
		if !slices.Contains(into.Notes, note) {
			into.Notes = append(into.Notes, note)
		}
	}
	key := ""
	for _, name := range slices.Sorted(maps.Keys(head.Modules)) {
		key += name + "=" + head.Modules[name] + "\n"
	}
	if h := r.hosts[key]; h != nil {
		return h, nil
	}
	if len(r.hosts) >= maxHosts {
		if err := r.closeHosts(ctx); err != nil {
			return nil, err
		}
	}
	cfg := *r.config
	cfg.State = filepath.Join(r.dir, journal.Short(key))
	cfg.Modules, cfg.Triggers, cfg.Subscriptions, cfg.Executor, cfg.TenantLimits = nil, nil, nil, pipeline.ExecutorSpec{}, pipeline.TenantLimits{}
	cfg.Ports = maps.Clone(cfg.Ports)
	delete(cfg.Ports, "governance")
	if len(r.replay.Policies) > 0 {
		rules, err := r.rules()
		if err != nil {
			return nil, err
		}
		if cfg.Ports == nil {
			cfg.Ports = map[string]pipeline.PortSpec{}
		}
		cfg.Ports["governance"] = rules
	}
	for _, spec := range r.config.Modules {
		digest, had := head.Modules[spec.Name]
		if !had {
			continue
		}
		file, err := r.module(ctx, head, spec, digest)
		if err != nil {
			return nil, err
		}
		spec.Path, spec.Digest = file, ""
		cfg.Modules = append(cfg.Modules, spec)
	}
	for name := range r.replay.Modules {
		if !slices.ContainsFunc(cfg.Modules, func(s pipeline.ModuleSpec) bool { return s.Name == name }) {
			return nil, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "the run had no module " + kernel.Quote(name), Fix: "it had " + strings.Join(slices.Sorted(maps.Keys(head.Modules)), ", ")}
		}
	}
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return nil, err
	}
	opts := r.opts
	opts.recorded, opts.Journal, opts.Memory, opts.Ports, opts.State, opts.RecordCases = true, nil, nil, nil, "", ""
	opts.KeyFile = filepath.Join(cfg.State, "audit.key") // nothing of this is the host's own log
	h, err := New(ctx, &cfg, opts)
	if err != nil {
		return nil, err
	}
	r.hosts[key] = h
	return h, nil
}

// rules is the configuration of the rules that decide in place of those of the run.
func (r *Replayer) rules() (pipeline.PortSpec, error) {
	dirs := make([]any, len(r.replay.Policies))
	for i, dir := range r.replay.Policies {
		path, err := filepath.Abs(dir)
		if err != nil {
			return pipeline.PortSpec{}, err
		}
		dirs[i] = path
	}
	return pipeline.PortSpec{Adapter: "rego", Config: map[string]any{"dirs": dirs}}, nil
}

// module returns the file of a run's module: the one that takes its place, the configuration's where that is still the
// same, or what the journal keeps.
func (r *Replayer) module(ctx context.Context, head *journal.Head, spec pipeline.ModuleSpec, digest string) (string, error) {
	if file, other := r.replay.Modules[spec.Name]; other {
		return filepath.Abs(file)
	}
	if wasm, err := extension.ReadFile(spec.Path, spec.Static.MaxModuleBytes); err == nil && sha256Of(wasm) == digest {
		return spec.Path, nil
	}
	wasm, err := r.store.Blob(ctx, head.Tenant, digest)
	if err == nil && sha256Of(wasm) != digest {
		err = fmt.Errorf("what it keeps as %s has another digest", kernel.Quote(digest))
	}
	if err != nil {
		return "", &kernel.Error{Code: kernel.CodeModuleNotFound, What: "module " + kernel.Quote(spec.Name) + " is not there as the run had it", Where: kernel.Where{Module: spec.Name + "@" + digest}, Why: "the file has changed since, and the journal does not hold " + digest, Fix: "restore that file, or name another: --module " + spec.Name + "=FILE", Err: err}
	}
	file := filepath.Join(r.dir, strings.TrimPrefix(digest, "sha256:")+".wasm")
	if err := replaceFile(file, wasm); err != nil {
		return "", err
	}
	return file, nil
}
