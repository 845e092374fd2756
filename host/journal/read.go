package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// Journal is a run's journal. Its entries are read anew each time.
type Journal struct {
	Head *driver.Run // as it was when the journal was opened for reading

	store driver.Store
	// Torn says where the journal is cut because what follows is missing or damaged. It is known when
	// the iteration of Entries has come to its end; nil where the journal is whole.
	Torn *Torn
}

// Torn is where a journal is cut.
type Torn struct {
	At      uint64 // the first entry that is lost
	Why     string
	Entries uint64 // how many are lost, as far as that can be told
	Bytes   int64  // that the store holds of these
	Middle  bool   // entries follow that are whole, but not of use without those before
}

// String says it in words.
func (t *Torn) String() string {
	text := fmt.Sprintf("cut before entry %d: %s; %d bytes of %d entries are lost", t.At, t.Why, t.Bytes, t.Entries)
	if t.Middle {
		text += ", some of them whole"
	}
	return text
}

// Read opens a run's journal for reading. The error is of CodeNotFound, or the store's.
func Read(ctx context.Context, store driver.Store, tenant, run string) (*Journal, error) {
	head, err := store.Get(ctx, tenant, run)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil, notFound(run)
	case err != nil:
		return nil, err
	}
	return &Journal{Head: head, store: store}, nil
}

func notFound(run string) error {
	return &kernel.Error{
		Code: kernel.CodeNotFound, What: "there is no journal of the run " + kernel.Quote(run), Why: "no such run was recorded, or it was removed for its age",
		Fix: "'hexdag journal list' shows those that there are", Err: driver.ErrNotFound,
	}
}

// Last returns the last entry of a run that nobody works on: head is what the store has of it. The error is the store's, of CodeJournal where the
// journal is damaged there, or ErrFenced where somebody has gone on with the run since.
func Last(ctx context.Context, store driver.Store, head *driver.Run) (*Entry, error) {
	c, err := store.Last(ctx, head.Tenant, head.ID)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil, notFound(head.ID)
	case err != nil && !errors.Is(err, driver.ErrDamaged):
		return nil, err
	case err == nil && c.First+c.Count-1 != head.Entries:
		return nil, driver.ErrFenced
	}
	var entries []*Entry
	if err == nil {
		entries, err = decode(&c, c.First)
	}
	if err == nil && (len(entries) == 0 || entries[len(entries)-1].Seq != head.Entries) {
		err = errors.New("its last entry is missing")
	}
	switch {
	case isNewer(err):
		return nil, kernel.At(err, kernel.Where{Run: head.ID})
	case err != nil:
		return nil, &kernel.Error{Code: kernel.CodeJournal, What: "the end of the journal cannot be read", Where: kernel.Where{Run: head.ID}, Why: kernel.Quote(err.Error()), Fix: "see what 'hexdag journal verify' says of it, or restore the journals from a copy", Err: err}
	}
	return entries[len(entries)-1], nil
}

// All returns the entries up to where the journal is whole.
func (j *Journal) All(ctx context.Context) ([]*Entry, error) {
	var all []*Entry
	for e, err := range j.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// Entries returns the entries in order, up to where the journal is whole: the caller's own, as they were written. An error,
// which ends the iteration, is the store's, or of CodeJournal where a later version has written the journal.
func (j *Journal) Entries(ctx context.Context) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		j.Torn = nil
		next := uint64(1)
		for c, err := range j.store.Chunks(ctx, j.Head.Tenant, j.Head.ID) {
			switch {
			case errors.Is(err, driver.ErrNotFound):
				yield(nil, notFound(j.Head.ID))
				return
			case errors.Is(err, driver.ErrDamaged):
				j.tear(next, err.Error(), &c)
				continue
			case err != nil:
				yield(nil, err)
				return
			}
			if j.Torn != nil {
				j.skip(&c)
				continue
			}
			entries, err := decode(&c, next)
			if isNewer(err) {
				yield(nil, kernel.At(err, kernel.Where{Run: j.Head.ID}))
				return
			}
			if err != nil {
				j.tear(next, err.Error(), &c)
				continue
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			next += uint64(len(entries))
		}
		j.end(next)
	}
}

// tear cuts the journal before entry at, which would be the first of c.
func (j *Journal) tear(at uint64, why string, c *driver.Chunk) {
	if j.Torn == nil {
		j.Torn = &Torn{At: at, Why: why}
	}
	j.Torn.Bytes += int64(len(c.Data))
}

// skip counts a chunk behind the cut.
func (j *Journal) skip(c *driver.Chunk) {
	j.Torn.Bytes += int64(len(c.Data))
	if _, err := decode(c, c.First); err == nil {
		j.Torn.Middle = true
	}
}

// end compares what was read with what the store says that there is. A run that goes on has more entries by now.
func (j *Journal) end(next uint64) {
	if j.Torn == nil && next <= j.Head.Entries {
		j.Torn = &Torn{At: next, Why: "the last entries are missing"}
	}
	if j.Torn != nil && j.Head.Entries >= j.Torn.At {
		j.Torn.Entries = j.Head.Entries - j.Torn.At + 1
	}
}

// decode returns the entries of a chunk, of which the first has to be entry next.
func decode(c *driver.Chunk, next uint64) ([]*Entry, error) {
	if c.First != next {
		return nil, fmt.Errorf("entry %d follows", c.First)
	}
	first, count, lines, err := unframe(c.Data)
	switch {
	case err != nil:
		return nil, err
	case first != c.First || uint64(count) != c.Count:
		return nil, fmt.Errorf("it is of the entries %d to %d, in the place of %d to %d", first, first+uint64(count)-1, c.First, c.First+c.Count-1)
	}
	return decodeLines(lines, first)
}

// whole reports whether an entry has what its kind is nothing without.
func (e *Entry) whole() bool {
	switch e.Kind {
	case "":
		return false
	case Begin:
		return e.Head != nil
	case Told:
		return e.Event != nil
	case Decision:
		return e.Decided != nil || e.Failed != nil
	case Done:
		return e.State != Failed || e.Failed != nil
	}
	return true
}

// decodeLines reads entries as appendEntry has written them, one on a line.
func decodeLines(lines []byte, first uint64) ([]*Entry, error) {
	var entries []*Entry
	dec := json.NewDecoder(bytes.NewReader(lines))
	dec.UseNumber()
	for at := 0; at < len(lines); {
		e := &Entry{}
		if err := dec.Decode(e); err != nil {
			return nil, fmt.Errorf("entry %d cannot be read: %w", first+uint64(len(entries)), err)
		}
		at += bytes.IndexByte(lines[at:], '\n') + 1
		if dec.InputOffset() != int64(at-1) || !e.whole() || e.Seq != first+uint64(len(entries)) {
			return nil, fmt.Errorf("entry %d is none", first+uint64(len(entries)))
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// ParseLines reads the entries of a run as Entry.AppendJSON writes them, a line each.
func ParseLines(lines []byte) ([]*Entry, error) {
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		lines = append(bytes.Clone(lines), '\n')
	}
	return decodeLines(lines, 1)
}
