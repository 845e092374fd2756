package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
)

// suspended is what a run that waits goes on with, as a file keeps it: of a run without a journal, and of one whose journal may not have it.
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
	Spent       kernel.Spent                `json:"spent,omitzero"`
}

// suspendedVersion is that of the files that are written. Those before are read, too: version 1 has
// neither labels nor progress, version 2 labels of an agent's turns that nobody reads, version 3 no durable runs, version 4 none that
// others have started, version 5 neither traces nor what of what is kept is masked, version 6 not what was spent.
const suspendedVersion = 7

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

func (h *Host) suspendedDir() string { return filepath.Join(h.state, "suspended") }

func (h *Host) suspendedFile(run string) string {
	return filepath.Join(h.suspendedDir(), run+".json")
}

// keepFile writes what a run that waits goes on with.
func (p *Pipeline) keepFile(run *kernel.RunContext, input kernel.Value, c *continuation) error {
	file := p.host.suspendedFile(run.RunID)
	path, err := filepath.Abs(p.File)
	if err != nil {
		path = p.File
	}
	s := suspended{
		Version: suspendedVersion, RunID: run.RunID, ParentID: run.ParentRunID, File: path, Env: p.env, Pipeline: p.Name, Tenant: run.Tenant, Principal: run.Principal,
		Labels: run.Labels, Caps: run.Caps, Origin: run.Origin, Trace: run.Trace, Waits: c.Waits, Since: c.Since,
		InputLabels: run.InputLabels, NodeLabels: c.Labels, Progress: c.Progress, Reads: c.Reads,
		Durable: run.Durable, Kept: c.Kept, KeptLabels: c.KeptLabels, KeptHidden: run.Kept.Hidden(), Spent: c.Spent,
	}
	if s.Input, err = kernel.EncodeJSON(input); err == nil {
		s.Results, err = kernel.EncodeJSON(c.Results)
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(s)
	}
	if err == nil {
		err = replaceFile(file, text)
	}
	if err != nil {
		return unkeepable(kernel.Where{File: file, Run: run.RunID}, err)
	}
	return nil
}

// forgetFile removes the file of a run that has ended, or whose journal has what it goes on with.
func (h *Host) forgetFile(run string) error {
	file := h.suspendedFile(run)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &kernel.Error{Code: kernel.CodeFailed, What: "what the run waited with cannot be removed", Where: kernel.Where{File: file, Run: run}, Why: err.Error(), Fix: "remove the file, or the run could be resumed again", Err: err}
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

// waitingInFiles returns the runs of which files have what they go on with.
func (h *Host) waitingInFiles() ([]*paused, error) {
	entries, err := os.ReadDir(h.suspendedDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadableRun(kernel.Where{File: h.suspendedDir()}, err)
	}
	var all []*paused
	var problems []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		s, err := h.pausedInFile(name)
		if errors.Is(err, ErrNotWaiting) { // somebody has just gone on with it, or it is another tenant's
			continue
		}
		problems = append(problems, err)
		if err == nil {
			all = append(all, s)
		}
	}
	return all, errors.Join(problems...)
}

// pausedInFile returns what a run goes on with of which a file has that.
func (h *Host) pausedInFile(run string) (*paused, error) {
	file := h.suspendedFile(run)
	if run != filepath.Base(run) || strings.HasPrefix(run, ".") {
		return nil, noSuchRun(run, "")
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSuchRun(run, "")
	}
	var s suspended
	if err == nil {
		err = s.decode(text)
	}
	if err != nil {
		return nil, unreadableRun(kernel.Where{File: file, Run: run}, err)
	}
	if s.Version < 1 || s.Version > suspendedVersion {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the run was suspended by another version", Where: kernel.Where{File: file, Run: run}, Why: fmt.Sprintf("its file is of version %d, this one reads %d", s.Version, suspendedVersion), Fix: "resume it with the version that suspended it"}
	}
	if s.Tenant != h.tenant() {
		return nil, noSuchRun(run, "")
	}
	p, err := s.paused()
	if err != nil {
		return nil, unreadableRun(kernel.Where{File: file, Run: run}, err)
	}
	return p, nil
}

func (s *suspended) paused() (*paused, error) {
	p := &paused{
		head: &journal.Head{
			Run: s.RunID, Parent: s.ParentID, Tenant: s.Tenant, Principal: s.Principal, Pipeline: s.Pipeline, File: s.File, Environment: s.Env,
			Labels: s.Labels, InputLabels: s.InputLabels, Caps: s.Caps, Origin: s.Origin, Trace: s.Trace,
		},
		continuation: &continuation{
			Results: map[string]kernel.Value{}, Labels: s.NodeLabels, Progress: s.Progress, Waits: s.Waits, Kept: s.Kept, KeptLabels: s.KeptLabels, Reads: s.Reads, Since: s.Since, Spent: s.Spent,
		},
		hidden: s.KeptHidden, durable: s.Durable,
	}
	var err error
	if p.head.Input, err = kernel.DecodeJSON(s.Input); err != nil {
		return nil, err
	}
	results, err := kernel.DecodeJSON(s.Results)
	if err != nil {
		return nil, err
	}
	if done, ok := results.(map[string]any); ok {
		p.Results = done
	}
	return p, nil
}

// claim makes a run's file this process's alone: of two that resume a run, one does.
func (h *Host) claim(run string) (*paused, error) {
	s, err := h.pausedInFile(run)
	if err != nil {
		return nil, err
	}
	claimed := h.suspendedFile(run) + ".resuming"
	if err := os.Rename(h.suspendedFile(run), claimed); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, noSuchRun(run, "")
		}
		return nil, unreadableRun(kernel.Where{File: h.suspendedFile(run), Run: run}, err)
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
			return unreadableRun(kernel.Where{File: file}, err)
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
