// Package toolpins keeps, in a file that processes can share, which definitions of tools were seen first, or approved since.
// A tool whose definition has changed is for nobody until a person approves the new one: who is shown one tool and
// approves of it is not to be given another under its name.
package toolpins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/flock"
	"github.com/hexdag/hexdag/host/kernel"
)

// Definition is what a tool tells of itself: what a model, or a person, goes by.
type Definition struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	InputSchema  json.RawMessage `json:"input_schema,omitempty"`
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
	Annotations  json.RawMessage `json:"annotations,omitempty"`
}

// Hash returns "sha256:" and the digest of the definition, whatever the order and spacing of its JSON.
func (d *Definition) Hash() (string, error) {
	parts := []any{d.Name, d.Description}
	for _, text := range []json.RawMessage{d.InputSchema, d.OutputSchema, d.Annotations} {
		var v kernel.Value
		if len(text) > 0 {
			var err error
			if v, err = kernel.DecodeJSON(text); err != nil {
				return "", err
			}
		}
		parts = append(parts, v)
	}
	text, err := kernel.EncodeJSON(parts)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Pin is a definition that was seen at some time, or approved then.
type Pin struct {
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"` // who approved it; "" where it was the first
	Definition
}

// Tool is what is known of a tool.
type Tool struct {
	ID      string `json:"id"` // module.tool, pipeline:name or, of a server, mcp:server.tool
	Pinned  Pin    `json:"pinned"`
	Changed *Pin   `json:"changed,omitempty"` // what it tells of itself now, and nobody has approved
}

// The most that is kept, as servers of others are among those who define tools: in all, and of one server, so that what it tells, however
// often that is something else, takes no room of the others'.
const (
	maxFile       = 64 << 20
	maxTools      = 10_000
	maxOfServer   = 2_000
	bytesOfServer = 8 << 20
)

// serverIDs is what the ids of tools of servers begin with: mcp:server.tool.
const serverIDs = "mcp:"

// serverOf returns the beginning of the ids of the tools of a tool's server; "" where it is the operator's own.
func serverOf(id string) string {
	if !strings.HasPrefix(id, serverIDs) {
		return ""
	}
	server, _, _ := strings.Cut(id, ".")
	return server + "."
}

func (p *Pin) size() int {
	if p == nil {
		return 0
	}
	return len(p.Name) + len(p.Description) + len(p.InputSchema) + len(p.OutputSchema) + len(p.Annotations)
}

// room is what is kept of servers, by the beginning of their tools' ids.
type room map[string]*struct{ tools, bytes int }

func (s *Store) room() room {
	r := room{}
	for id, t := range s.tools {
		r.add(id, 1, t.Pinned.size()+t.Changed.size())
	}
	return r
}

// add notes what is kept of a tool's server more, and reports whether that is within the limits.
func (r room) add(id string, tools, bytes int) bool {
	server := serverOf(id)
	if server == "" {
		return true
	}
	of := r[server]
	if of == nil {
		of = &struct{ tools, bytes int }{}
		r[server] = of
	}
	of.tools, of.bytes = of.tools+tools, of.bytes+bytes
	return of.tools <= maxOfServer && of.bytes <= bytesOfServer
}

// crowded is the error of a server of which no more is kept.
func (s *Store) crowded(id string) error {
	name := strings.Trim(strings.TrimPrefix(serverOf(id), serverIDs), ".")
	return &kernel.Error{Code: kernel.CodeLimit, What: "MCP server " + kernel.Quote(name) + " has told of too many tools", Where: kernel.Where{File: s.path},
		Why: fmt.Sprintf("of one server %d tools are pinned, and %d bytes of what they told of themselves, since it was first asked", maxOfServer, bytesOfServer), Fix: "see why it tells of others each time; if you agree with those of now, remove those of before from the file"}
}

// Store keeps pins in a file. It is safe for concurrent use.
type Store struct {
	path string

	mu    sync.Mutex
	stamp stamp // of what is in tools
	tools map[string]*Tool

	version uint64
}

type stamp struct {
	at   time.Time
	size int64
}

// New returns a store in a file, which is made when there is something to keep.
func New(path string) *Store { return &Store{path: path, tools: map[string]*Tool{}} }

// Version is another one whenever the file may be another than it was.
func (s *Store) Version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, err := s.look(); err != nil || now != s.stamp {
		return s.version + 1 // as it will be once it is read
	}
	return s.version
}

func (s *Store) look() (stamp, error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// Admit returns which of the definitions, by the tools' ids, are those that were pinned. A tool that was never seen is pinned as it
// is; a definition that has changed is noted for whoever approves it.
func (s *Store) Admit(ctx context.Context, definitions map[string]*Definition) (map[string]bool, error) {
	hashes := make(map[string]string, len(definitions))
	for id, d := range definitions {
		hash, err := d.Hash()
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodeInternal, What: "tool " + kernel.Quote(id) + " has no hash", Why: err.Error(), Fix: "report it", Err: err}
		}
		hashes[id] = hash
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	admitted := make(map[string]bool, len(definitions))
	compare := func() (change bool) {
		for id := range definitions {
			t := s.tools[id]
			switch hash := hashes[id]; {
			case t == nil:
				change = true
			case t.Pinned.Hash == hash:
				admitted[id] = true
				change = change || t.Changed != nil // it is again what it was
			default:
				admitted[id] = false
				change = change || t.Changed == nil || t.Changed.Hash != hash
			}
		}
		return change
	}
	if now, err := s.look(); err == nil && now == s.stamp && !compare() {
		return admitted, nil
	}
	err := s.change(ctx, func() (bool, error) {
		if !compare() {
			return false, nil
		}
		kept := s.room()
		for id, d := range definitions {
			pin := &Pin{Hash: hashes[id], At: time.Now().UTC(), Definition: *d}
			switch t := s.tools[id]; {
			case t == nil && len(s.tools) >= maxTools:
				return false, &kernel.Error{Code: kernel.CodeLimit, What: "too many tools are pinned", Where: kernel.Where{File: s.path}, Why: "the limit is 10000", Fix: "remove the file: the tools are then pinned as they are"}
			case t == nil:
				if !kept.add(id, 1, pin.size()) {
					return false, s.crowded(id)
				}
				s.tools[id], admitted[id] = &Tool{ID: id, Pinned: *pin}, true
			case t.Pinned.Hash == pin.Hash:
				t.Changed = nil
			case t.Changed == nil || t.Changed.Hash != pin.Hash:
				if !kept.add(id, 0, pin.size()-t.Changed.size()) {
					return false, s.crowded(id)
				}
				t.Changed = pin
			}
		}
		return true, nil
	})
	return admitted, err
}

// List returns the tools that were seen, by id.
func (s *Store) List(ctx context.Context) ([]Tool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.change(ctx, func() (bool, error) { return false, nil }); err != nil {
		return nil, err
	}
	list := make([]Tool, 0, len(s.tools))
	for _, id := range slices.Sorted(maps.Keys(s.tools)) {
		list = append(list, *s.tools[id])
	}
	return list, nil
}

// Approve pins what a tool tells of itself now. hash, unless it is "", is what has been looked at: where the definition has changed since,
// it is not approved.
//
// Errors: CodeNotFound; CodeInput where nothing has changed, or something else has.
func (s *Store) Approve(ctx context.Context, id, hash, by string) (*Tool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var approved Tool
	err := s.change(ctx, func() (bool, error) {
		t := s.tools[id]
		switch {
		case t == nil:
			return false, &kernel.Error{Code: kernel.CodeNotFound, What: "no tool " + kernel.Quote(id) + " was offered yet", Fix: kernel.DidYouMean(id, slices.Sorted(maps.Keys(s.tools))) + "; see 'hexdag mcp tools'"}
		case t.Changed == nil:
			return false, &kernel.Error{Code: kernel.CodeInput, What: "tool " + kernel.Quote(id) + " has not changed", Why: "it is pinned as it is", Fix: "see those that have: hexdag mcp tools"}
		case hash != "" && hash != t.Changed.Hash:
			return false, &kernel.Error{Code: kernel.CodeInput, What: "tool " + kernel.Quote(id) + " has changed again", Why: "its definition is now " + t.Changed.Hash, Fix: "look at it anew: hexdag mcp tools"}
		}
		t.Pinned, t.Changed = *t.Changed, nil
		t.Pinned.At, t.Pinned.By = time.Now().UTC(), by
		approved = *t
		return true, nil
	})
	return &approved, err
}

// file is how the pins are kept.
type file struct {
	Version int     `json:"version"`
	Tools   []*Tool `json:"tools"`
}

// change reads the file anew and, where f says so, writes it, alone among processes.
func (s *Store) change(ctx context.Context, f func() (bool, error)) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return s.unusable(err)
	}
	lock, err := os.OpenFile(s.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return s.unusable(err)
	}
	defer lock.Close()
	if err := flock.Lock(ctx, lock, true); err != nil {
		return s.unusable(err)
	}
	if err := s.read(); err != nil {
		return s.unusable(err)
	}
	write, err := f()
	if err != nil { // what it has noted is not kept, and is not to be gone by
		s.tools, s.stamp = map[string]*Tool{}, stamp{size: -1}
	}
	if err != nil || !write {
		return err
	}
	return s.unusable(s.write())
}

func (s *Store) read() error {
	now, err := s.look()
	if err != nil {
		return err
	}
	if now.size > maxFile {
		return errors.New("the file is too large")
	}
	if now != s.stamp {
		s.version++
	}
	s.tools, s.stamp = map[string]*Tool{}, now
	if now == (stamp{}) {
		return nil
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	var kept file
	if err := kernel.UnmarshalStrict(text, &kept); err != nil {
		return err
	}
	if kept.Version != 1 {
		return errors.New("it is of another version")
	}
	for _, t := range kept.Tools {
		s.tools[t.ID] = t
	}
	return nil
}

func (s *Store) write() error {
	kept := file{Version: 1}
	for _, id := range slices.Sorted(maps.Keys(s.tools)) {
		kept.Tools = append(kept.Tools, s.tools[id])
	}
	text, err := json.MarshalIndent(kept, "", " ")
	if err != nil {
		return err
	}
	if len(text) >= maxFile { // it could not be read again
		return &kernel.Error{Code: kernel.CodeLimit, What: "the pinned definitions of tools are too large", Where: kernel.Where{File: s.path}, Why: fmt.Sprintf("the limit is %d bytes", maxFile), Fix: "remove those from the file that there are no more"}
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), ".tools-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.stamp, err = s.look()
	s.version++
	return err
}

func (s *Store) unusable(err error) error {
	var known *kernel.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the pinned definitions of tools cannot be read or kept", Where: kernel.Where{File: s.path}, Why: kernel.Quote(err.Error()), Fix: "make room or mend the file; without it, no tool is offered", Err: err}
}
