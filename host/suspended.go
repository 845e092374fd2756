package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// suspended is what a run that waits goes on with, as a file keeps it.
type suspended struct {
	Version   int               `json:"version"`
	RunID     string            `json:"run_id"`
	ParentID  string            `json:"parent_run_id,omitempty"`
	File      string            `json:"file"`
	Env       string            `json:"environment,omitempty"`
	Pipeline  string            `json:"pipeline"`
	Tenant    string            `json:"tenant"`
	Principal string            `json:"principal"`
	Labels    map[string]string `json:"labels,omitempty"`
	Caps      kernel.CapSet     `json:"caps"`
	Origin    kernel.Origin     `json:"origin,omitzero"`
	Trace     string            `json:"trace,omitempty"` // of the run's first span
	Input     json.RawMessage   `json:"input"`
	Results   json.RawMessage   `json:"results"`
	Waits     []engine.Wait     `json:"waits"`
	Since     time.Time         `json:"since"`

	InputLabels *kernel.Labels              `json:"input_labels,omitempty"`
	NodeLabels  map[string]*kernel.Labels   `json:"node_labels,omitempty"`
	Progress    map[string]*engine.Progress `json:"progress,omitempty"` // of the nodes that wait for something inside
	Kept        map[string]kernel.Value     `json:"kept,omitempty"`     // pipeline_memory
	KeptLabels  map[string]*kernel.Labels   `json:"kept_labels,omitempty"`
	KeptHidden  []string                    `json:"kept_hidden,omitempty"` // what of it no journal is to have
	Reads       map[string][]string         `json:"reads,omitempty"`       // artifacts that nodes have read
	Durable     bool                        `json:"durable,omitempty"`
}

// suspendedVersion is that of the files that are written. Those before are read, too: version 1 has
// neither labels nor progress, version 2 labels of an agent's turns that nobody reads, version 3 no durable runs, version 4 none that
// others have started, version 5 neither traces nor what of what is kept is masked.
const suspendedVersion = 6

func (s *suspended) decode(text []byte) error {
	var of struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(text, &of) != nil || of.Version >= suspendedVersion {
		return kernel.UnmarshalStrict(text, s)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec.Decode(s)
}

// WaitingRun is a run that waits for events.
type WaitingRun struct {
	RunID    string        `json:"run_id"`
	Pipeline string        `json:"pipeline"`
	File     string        `json:"file"`
	Waits    []engine.Wait `json:"waits"`
}

func (h *Host) suspendedDir() string { return filepath.Join(h.state, "suspended") }

func (h *Host) suspendedFile(run string) string {
	return filepath.Join(h.suspendedDir(), run+".json")
}

// keep writes what a suspended run goes on with, and forgets that of one that has ended.
func (p *Pipeline) keep(run *kernel.RunContext, input kernel.Value, result *Result) error {
	if p.host.executor != nil {
		return nil // it is kept there
	}
	file := p.host.suspendedFile(run.RunID)
	if result.Status != engine.Suspended {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &kernel.Error{Code: kernel.CodeFailed, What: "what the run waited with cannot be removed", Where: kernel.Where{File: file, Run: run.RunID}, Why: err.Error(), Fix: "remove the file, or the run could be resumed again", Err: err}
		}
		return nil
	}
	path, err := filepath.Abs(p.File)
	if err != nil {
		path = p.File
	}
	s := suspended{
		Version: suspendedVersion, RunID: run.RunID, ParentID: run.ParentRunID, File: path, Env: p.env, Pipeline: p.Name, Tenant: run.Tenant, Principal: run.Principal,
		Labels: run.Labels, Caps: run.Caps, Origin: run.Origin, Trace: run.Trace, Waits: result.Waits, Since: time.Now().UTC(),
		InputLabels: run.InputLabels, NodeLabels: result.Labels, Progress: result.Progress, Reads: run.Reads(),
		Durable: run.Durable,
	}
	s.Kept, s.KeptLabels = run.Kept.Snapshot()
	s.KeptHidden = run.Kept.Hidden()
	done := map[string]kernel.Value{}
	for name, v := range result.NodeResults {
		if !slices.ContainsFunc(result.Waits, func(w engine.Wait) bool { return w.Node == name }) {
			done[name] = v
		}
	}
	if s.Input, err = kernel.EncodeJSON(input); err == nil {
		s.Results, err = kernel.EncodeJSON(done)
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(s)
	}
	if err == nil {
		err = replaceFile(file, text)
	}
	if err != nil {
		return &kernel.Error{Code: kernel.CodeFailed, What: "the run waits, and what it would go on with cannot be kept", Where: kernel.Where{File: file, Run: run.RunID}, Why: err.Error(), Fix: "make room in the host's state folder, and run it again", Err: err}
	}
	return nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Waiting returns the runs that wait for events, the oldest first.
func (h *Host) Waiting() ([]WaitingRun, error) {
	if h.executor != nil {
		return h.waitingElsewhere(context.Background())
	}
	all, err := h.suspended()
	runs := make([]WaitingRun, len(all))
	for i, s := range all {
		runs[i] = WaitingRun{RunID: s.RunID, Pipeline: s.Pipeline, File: s.File, Waits: s.Waits}
	}
	return runs, err
}

func (h *Host) suspended() ([]*suspended, error) {
	entries, err := os.ReadDir(h.suspendedDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadableRun(h.suspendedDir(), err)
	}
	var all []*suspended
	var problems []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		s, err := h.readSuspended(name)
		problems = append(problems, err)
		if err == nil {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b *suspended) int { return a.Since.Compare(b.Since) })
	return all, errors.Join(problems...)
}

func unreadableRun(file string, err error) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: "what a run waits with cannot be read", Where: kernel.Where{File: file}, Why: err.Error(), Fix: "restore it from a copy, or remove it and run the pipeline again", Err: err}
}

func (h *Host) readSuspended(run string) (*suspended, error) {
	file := h.suspendedFile(run)
	if run != filepath.Base(run) || strings.HasPrefix(run, ".") {
		return nil, noSuchRun(run)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSuchRun(run)
	}
	var s suspended
	if err == nil {
		err = s.decode(text)
	}
	if err != nil {
		return nil, unreadableRun(file, err)
	}
	if s.Version < 1 || s.Version > suspendedVersion {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the run was suspended by another version", Where: kernel.Where{File: file, Run: run}, Why: fmt.Sprintf("its file is of version %d, this one reads %d", s.Version, suspendedVersion), Fix: "resume it with the version that suspended it"}
	}
	if s.Tenant != h.tenant() {
		return nil, noSuchRun(run)
	}
	return &s, nil
}

func noSuchRun(run string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "no run " + kernel.Quote(run) + " waits", Fix: "list those that do: hexdag resume --list"}
}

// Resume goes on with a run for which an event came: data becomes the result of
// the nodes that wait for key, or, where key is "", of every node that waits. The options'
// labels integrity and confidentiality are those of the data; the run keeps its own.
func (h *Host) Resume(ctx context.Context, run, key string, data any, opts RunOptions) (*Result, error) {
	v, err := kernel.ToValue(data)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the event's data is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err}
	}
	if h.executor != nil {
		return h.deliver(ctx, run, key, v, opts)
	}
	return h.goOn(ctx, run, opts, func(w engine.Wait) (kernel.Value, bool, bool) { return v, key == "" || w.EventKey == key, false })
}

// Signal resumes every run that waits for an event, and returns how they went on.
func (h *Host) Signal(ctx context.Context, key string, data any, opts RunOptions) ([]*Result, error) {
	all, err := h.Waiting()
	var results []*Result
	problems := []error{err}
	for _, s := range all {
		if !slices.ContainsFunc(s.Waits, func(w engine.Wait) bool { return w.EventKey == key }) {
			continue
		}
		r, err := h.Resume(ctx, s.RunID, key, data, opts)
		problems = append(problems, err)
		if r != nil {
			results = append(results, r)
		}
	}
	return results, errors.Join(problems...)
}

// Expire goes on with every run whose time to wait is over at now.
func (h *Host) Expire(ctx context.Context, now time.Time, opts RunOptions) ([]*Result, error) {
	if h.executor != nil {
		return nil, nil // which goes on by itself
	}
	all, err := h.suspended()
	var results []*Result
	problems := []error{err}
	for _, s := range all {
		late := func(w engine.Wait) bool { return w.Timeout > 0 && !now.Before(w.Since.Add(w.Timeout)) }
		if !slices.ContainsFunc(s.Waits, late) {
			continue
		}
		r, err := h.goOn(ctx, s.RunID, opts, func(w engine.Wait) (kernel.Value, bool, bool) { return nil, false, late(w) })
		problems = append(problems, err)
		if r != nil {
			results = append(results, r)
		}
	}
	return results, errors.Join(problems...)
}

// WatchWaits calls Expire whenever a time to wait is over, until ctx ends. New
// waits are seen within interval.
func (h *Host) WatchWaits(ctx context.Context, interval time.Duration, opts RunOptions, each func(*Result, error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			results, err := h.Expire(ctx, now, opts)
			if err != nil {
				each(nil, err)
			}
			for _, r := range results {
				each(r, nil)
			}
		}
	}
}

// goOn resumes a run; decide says of each of its waits whether its event came,
// with what, or whether it came too late.
func (h *Host) goOn(ctx context.Context, run string, opts RunOptions, decide func(engine.Wait) (data kernel.Value, came, late bool)) (*Result, error) {
	s, err := h.claim(run)
	if err != nil {
		return nil, err
	}
	labels, err := h.inputLabels(ctx, &opts)
	if err != nil {
		return nil, errors.Join(err, h.unclaim(run))
	}
	p, from, input, err := h.resumption(ctx, s, labels, decide)
	if err != nil {
		return nil, errors.Join(err, h.unclaim(run))
	}
	defer p.Close(ctx)
	rc := h.newRun(s.Pipeline, RunOptions{Principal: s.Principal, Labels: s.Labels, Durable: s.Durable, Client: opts.Client})
	rc.InputLabels = s.InputLabels
	if err := rc.Kept.Set(s.Kept, s.KeptLabels); err != nil {
		return nil, errors.Join(err, h.unclaim(run))
	}
	rc.Kept.Hide(s.KeptHidden...)
	rc.Recall(s.Reads) // a node that is told again what it has read does not read it again
	rc.RunID, rc.ParentRunID, rc.Caps, rc.Origin, rc.Trace = s.RunID, s.ParentID, s.Caps, s.Origin, s.Trace
	result := p.run(ctx, rc, input, from, opts)
	return result, h.release(run)
}

// claim makes a run's file this process's alone: of two that resume a run, one does.
func (h *Host) claim(run string) (*suspended, error) {
	s, err := h.readSuspended(run)
	if err != nil {
		return nil, err
	}
	claimed := h.suspendedFile(run) + ".resuming"
	if err := os.Rename(h.suspendedFile(run), claimed); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, noSuchRun(run)
		}
		return nil, unreadableRun(h.suspendedFile(run), err)
	}
	return s, nil
}

// recoverSuspended gives up the claims of a process that died: what it was
// resuming waits again, unless it had been kept anew.
func (h *Host) recoverSuspended() error {
	claimed, _ := filepath.Glob(filepath.Join(h.suspendedDir(), "*.json.resuming")) // the pattern is right
	for _, file := range claimed {
		waits := strings.TrimSuffix(file, ".resuming")
		giveUp := os.Rename
		if _, err := os.Stat(waits); err == nil {
			giveUp = func(file, _ string) error { return os.Remove(file) }
		}
		if err := giveUp(file, waits); err != nil {
			return unreadableRun(file, err)
		}
	}
	return nil
}

func (h *Host) unclaim(run string) error {
	return os.Rename(h.suspendedFile(run)+".resuming", h.suspendedFile(run))
}

// release forgets the claim once the run has ended, or has been kept anew.
func (h *Host) release(run string) error {
	return os.Remove(h.suspendedFile(run) + ".resuming")
}

// resumption is what a run goes on with. labels are those of the data of its events.
func (h *Host) resumption(ctx context.Context, s *suspended, labels *kernel.Labels, decide func(engine.Wait) (kernel.Value, bool, bool)) (*Pipeline, *engine.Resumption, kernel.Value, error) {
	input, err := kernel.DecodeJSON(s.Input)
	if err != nil {
		return nil, nil, nil, unreadableRun(h.suspendedFile(s.RunID), err)
	}
	results, err := kernel.DecodeJSON(s.Results)
	if err != nil {
		return nil, nil, nil, unreadableRun(h.suspendedFile(s.RunID), err)
	}
	done, _ := results.(map[string]any)
	from := &engine.Resumption{Results: map[string]kernel.Value{}, Labels: s.NodeLabels, Progress: s.Progress}
	for name, v := range done {
		from.Results[name] = v
	}
	moved := false
	again := map[string]bool{} // nodes that go on
	for _, w := range s.Waits {
		switch data, came, late := decide(w); {
		case came && strings.HasPrefix(w.EventKey, kernel.ApprovalKey):
			again[w.Node], moved = true, true // governance says whether it may
		case came && strings.HasPrefix(w.EventKey, kernel.InputKey) && s.Progress[w.Node].Answer(w.EventKey, data, labels.Join(answers)):
			again[w.Node], moved = true, true
		case came && len(w.Path) > 0:
			if err := s.Progress[w.Node].Deliver(w.Path, data, labels); err != nil {
				return nil, nil, nil, unreadableRun(h.suspendedFile(s.RunID), err)
			}
			again[w.Node], moved = true, true
		case came:
			from.Results[w.Node], moved = data, true
			if labels != nil {
				if from.Labels == nil {
					from.Labels = map[string]*kernel.Labels{}
				}
				from.Labels[w.Node] = labels.Join(from.Labels[w.Node])
			}
		case late:
			from.Expired, moved = append(from.Expired, w), true
		default:
			from.Waits = append(from.Waits, w)
		}
	}
	going := func(w engine.Wait) bool { return again[w.Node] } // what else it waits for it will say again
	from.Waits, from.Expired = slices.DeleteFunc(from.Waits, going), slices.DeleteFunc(from.Expired, going)
	if !moved {
		return nil, nil, nil, &kernel.Error{Code: kernel.CodeNotFound, What: "run " + kernel.Quote(s.RunID) + " does not wait for that event", Why: "it waits for " + keys(s.Waits), Fix: "name one of them"}
	}
	p, err := h.Load(ctx, s.File, LoadOptions{Environment: s.Env})
	return p, from, input, err
}

// answers are the labels of what clients answer, whatever else is said of it.
var answers, _ = kernel.NewLabels(kernel.Untrusted, "", "client:answer") // both are known

func keys(waits []engine.Wait) string {
	names := make([]string, len(waits))
	for i, w := range waits {
		names[i] = kernel.Quote(w.EventKey)
	}
	return strings.Join(names, ", ")
}
