package journal_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
)

// altered is a store whose chunks are read as alter has them.
type altered struct {
	driver.Store
	alter func(n int, c *driver.Chunk) error
}

func (a *altered) Chunks(ctx context.Context, tenant, run string) iter.Seq2[driver.Chunk, error] {
	return func(yield func(driver.Chunk, error) bool) {
		n := 0
		for c, err := range a.Store.Chunks(ctx, tenant, run) {
			if n++; err == nil {
				err = a.alter(n, &c)
			}
			if errors.Is(err, errNone) {
				continue
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

var errNone = errors.New("the chunk is not there")

// written returns a store with a run of five chunks with two entries each.
func written(t *testing.T) driver.Store {
	t.Helper()
	store := memjournal.New()
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	r := w.Run(create(t, store, "r"), 1)
	for range 5 {
		r.Append(journal.Entry{Kind: journal.Enter, Lane: "n"})
		r.Append(journal.Entry{Kind: journal.Done, Lane: "n", Value: "result"})
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func TestRead(t *testing.T) {
	store := written(t)
	j, err := journal.Read(t.Context(), store, "acme", "r")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.All(t.Context())
	if err != nil || len(entries) != 10 || j.Torn != nil || entries[9].Seq != 10 || entries[9].Value != "result" || entries[9].Time.IsZero() {
		t.Errorf("%d entries, %v: %v", len(entries), j.Torn, err)
	}
	_, err = journal.Read(t.Context(), store, "acme", "none\n")
	if kernel.CodeOf(err) != kernel.CodeNotFound || err.Error() != `there is no journal of the run none\n: no such run was recorded, or it was removed for its age ('hexdag journal list' shows those that there are)` {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.All(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := store.Truncate(t.Context(), "acme", "r", 1, 1); err != nil {
		t.Fatal(err)
	}
	if entries, err := j.All(t.Context()); err != nil || len(entries) != 0 || j.Torn == nil || j.Torn.Entries != 10 {
		t.Errorf("one that was emptied meanwhile: %d entries, %v: %v", len(entries), j.Torn, err)
	}
}

// A journal is cut before the first entry that is lost, and says what came of that.
func TestTorn(t *testing.T) {
	store := written(t)
	for name, c := range map[string]struct {
		alter   func(n int, c *driver.Chunk) error
		at      uint64
		entries uint64
		why     string
		middle  bool
	}{
		"the last is cut": {func(n int, c *driver.Chunk) error {
			if n == 5 {
				c.Data = c.Data[:len(c.Data)-7]
			}
			return nil
		}, 9, 2, "7 bytes of", false},
		"the last is empty": {func(n int, c *driver.Chunk) error {
			if n == 5 {
				c.Data = nil
			}
			return nil
		}, 9, 2, "it ends within its header", false},
		"the last is missing": {func(n int, _ *driver.Chunk) error {
			if n == 5 {
				return errNone
			}
			return nil
		}, 9, 2, "the last entries are missing", false},
		"one in the middle is zero": {func(n int, c *driver.Chunk) error {
			if n == 3 {
				c.Data = bytes.Repeat([]byte{0}, len(c.Data))
			}
			return nil
		}, 5, 6, "it does not begin as one", true},
		"a bit": {func(n int, c *driver.Chunk) error {
			if n == 3 {
				c.Data[40] ^= 1
			}
			return nil
		}, 5, 6, "its checksum does not match", true},
		"one in the middle is missing": {func(n int, _ *driver.Chunk) error {
			if n == 2 {
				return errNone
			}
			return nil
		}, 3, 8, "entry 5 follows", true},
		"the storage has lost one": {func(n int, c *driver.Chunk) error {
			if n == 2 {
				c.Data = nil
				return driver.ErrDamaged
			}
			return nil
		}, 3, 8, "the storage is damaged there", true},
		"in another's place": {func(n int, c *driver.Chunk) error {
			switch n {
			case 1:
				first = *c
			case 4:
				c.First, c.Data = 7, bytes.Clone(first.Data)
			}
			return nil
		}, 7, 4, "it is of the entries 1 to 2, in the place of 7 to 8", true},
		"the first": {func(n int, c *driver.Chunk) error {
			if n == 1 {
				c.Data = []byte("hxj\n")
			}
			return nil
		}, 1, 10, "it ends within its header", true},
	} {
		j, err := journal.Read(t.Context(), &altered{Store: store, alter: c.alter}, "acme", "r")
		if err != nil {
			t.Fatal(err)
		}
		entries, err := j.All(t.Context())
		if err != nil || j.Torn == nil {
			t.Errorf("%s: %d entries, %v: %v", name, len(entries), j.Torn, err)
			continue
		}
		torn := j.Torn
		if uint64(len(entries)) != c.at-1 || torn.At != c.at || torn.Entries != c.entries || torn.Middle != c.middle || !strings.Contains(torn.Why, c.why) || !strings.Contains(torn.String(), c.why) {
			t.Errorf("%s: %d entries, %+v", name, len(entries), torn)
		}
	}
}

var first driver.Chunk

// Whoever goes on where a journal was cut has it cut there, and writes what follows.
func TestGoOnWhereTorn(t *testing.T) {
	store := written(t)
	torn := &altered{Store: store, alter: func(n int, c *driver.Chunk) error {
		if n == 4 {
			c.Data = c.Data[:10]
		}
		return nil
	}}
	head, err := store.Claim(t.Context(), "acme", "r", false)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Read(t.Context(), torn, "acme", "r")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.All(t.Context()); err != nil || j.Torn == nil {
		t.Fatal(err, j.Torn)
	}
	if err := store.Truncate(t.Context(), "acme", "r", head.Epoch, j.Torn.At); err != nil {
		t.Fatal(err)
	}
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	r := w.Run(head, j.Torn.At)
	if seq := r.Append(journal.Entry{Kind: journal.Recover}); seq != 7 {
		t.Errorf("it goes on with entry %d", seq)
	}
	if err := r.Close(t.Context(), "completed"); err != nil {
		t.Fatal(err)
	}
	if j, err = journal.Read(t.Context(), store, "acme", "r"); err != nil {
		t.Fatal(err)
	}
	if entries, err := j.All(t.Context()); err != nil || len(entries) != 7 || j.Torn != nil || entries[6].Kind != journal.Recover {
		t.Errorf("%d entries, %v: %v", len(entries), j.Torn, err)
	}
}

func TestNewerVersion(t *testing.T) {
	newer := &altered{Store: written(t), alter: func(n int, c *driver.Chunk) error {
		if n == 2 {
			c.Data[4] = journal.Version + 1
		}
		return nil
	}}
	j, err := journal.Read(t.Context(), newer, "acme", "r")
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.All(t.Context())
	if kernel.CodeOf(err) != kernel.CodeJournal || !strings.Contains(err.Error(), "run r: the journal was written by a newer version: its format is 2, and this version reads 1") {
		t.Error(err)
	}
}
