package journaltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
)

// random does what comes to mind to a store and to one in memory, and has both answer alike. Hosts close, and open again.
func random(t *testing.T, open Harness, shared bool) {
	seed := rand.Uint64()
	d := &pair{t: t, open: open, model: memjournal.NewServer(), rand: rand.New(rand.NewPCG(seed, 1)), stores: map[string]both{}, heads: map[string]uint64{}}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(d.log[max(0, len(d.log)-40):], "\n"))
		}
		d.close()
	}()
	hosts := []string{"one"}
	if shared {
		hosts = append(hosts, "two")
	}
	for n := 0; n < 600 && !t.Failed(); n++ {
		host := hosts[d.rand.IntN(len(hosts))]
		s, ok := d.stores[host]
		if !ok {
			s = both{open(t, host), d.model.Open(host)}
			d.stores[host] = s
		}
		d.step(host, s)
	}
	for _, run := range runNames {
		d.same("", both{d.any().real, d.any().model}, run)
	}
}

var runNames = []string{"a", "b", "c"}

// both are the store that is tested, and the one in memory.
type both struct{ real, model driver.Store }

type pair struct {
	t      *testing.T
	open   Harness
	model  *memjournal.Server
	rand   *rand.Rand
	stores map[string]both   // by host, those that are open
	heads  map[string]uint64 // the epochs that were last seen
	log    []string
}

func (d *pair) any() both {
	for _, s := range d.stores {
		return s
	}
	s := both{d.open(d.t, "last"), d.model.Open("last")}
	d.stores["last"] = s
	return s
}

func (d *pair) close() {
	for _, s := range d.stores {
		if err := errors.Join(s.real.Close(), s.model.Close()); err != nil {
			d.t.Error(err)
		}
	}
}

// step does one thing to both.
func (d *pair) step(host string, s both) {
	run := runNames[d.rand.IntN(len(runNames))]
	on := func(what string, do func(s driver.Store) error) {
		d.log = append(d.log, host+": "+what+" "+run)
		got, want := kindOf(do(s.real)), kindOf(do(s.model))
		d.log[len(d.log)-1] += ": " + got
		if got != want {
			d.t.Errorf("%s of %s: %s, not %s", what, run, got, want)
		}
	}
	ctx := d.t.Context()
	switch n := d.rand.IntN(100); {
	case n < 8:
		on("create", func(s driver.Store) error { return s.Create(ctx, &driver.Run{ID: run, Tenant: "acme"}) })
		d.heads[run] = 1
	case n < 18:
		force := d.rand.IntN(4) == 0
		on(fmt.Sprint("claim, force ", force), func(s driver.Store) error {
			head, err := s.Claim(ctx, "acme", run, force)
			if err == nil {
				d.heads[run] = head.Epoch
			}
			return err
		})
	case n < 24:
		epoch := d.epoch(run)
		on(fmt.Sprint("wake ", epoch), func(s driver.Store) error {
			head, err := s.Wake(ctx, "acme", run, epoch)
			if err == nil {
				d.heads[run] = head.Epoch
			}
			return err
		})
	case n < 74:
		chunks := d.chunks(s.model)
		on(fmt.Sprint("append ", chunks), func(s driver.Store) error {
			errs, err := s.Append(ctx, chunks)
			text := kindOf(err)
			for _, err := range errs {
				text += " " + kindOf(err)
			}
			return errors.New(text)
		})
	case n < 80:
		first, epoch := uint64(d.rand.IntN(6)+1), d.epoch(run)
		on(fmt.Sprint("truncate ", first, " of epoch ", epoch), func(s driver.Store) error { return s.Truncate(ctx, "acme", run, epoch, first) })
	case n < 84:
		chunks := []driver.Chunk{{First: 1, Count: uint64(d.rand.IntN(3) + 1), Epoch: 1, Data: []byte("anew")}}
		on("rewrite", func(s driver.Store) error { return s.Rewrite(ctx, "acme", run, chunks) })
	case n < 88:
		on("delete", func(s driver.Store) error { return s.Delete(ctx, "acme", run) })
	case n < 92:
		if err := errors.Join(s.real.Close(), s.model.Close()); err != nil {
			d.t.Error(err)
		}
		delete(d.stores, host)
		d.log = append(d.log, host+": close")
	default:
		d.same(host, s, run)
	}
}

// epoch is mostly the last that was seen of a run.
func (d *pair) epoch(run string) uint64 {
	epoch := max(d.heads[run], 1)
	switch d.rand.IntN(16) {
	case 0:
		return epoch + 1
	case 1:
		return max(epoch-1, 1)
	}
	return epoch
}

// chunks are a few, of which most can be appended.
func (d *pair) chunks(model driver.Store) []driver.Chunk {
	var chunks []driver.Chunk
	next := map[string]uint64{}
	for range d.rand.IntN(5) + 1 {
		run := runNames[d.rand.IntN(len(runNames))]
		if next[run] == 0 {
			next[run] = 1
			if head, err := model.Get(d.t.Context(), "acme", run); err == nil {
				next[run] = head.Entries + 1
			}
		}
		c := driver.Chunk{Tenant: "acme", Run: run, Epoch: d.epoch(run), First: next[run], Count: uint64(d.rand.IntN(3) + 1), Data: []byte{byte(d.rand.IntN(3))}}
		switch d.rand.IntN(16) {
		case 0:
			c.First += uint64(d.rand.IntN(3))
		case 1:
			c.First -= min(c.Count, c.First-1) // which may be there already
		case 2:
			c.Count, c.Data, c.Status, c.Waits = 0, nil, driver.Suspended, d.waits()
		case 3:
			c.Status, c.Waits = driver.Suspended, d.waits()
		case 4:
			if d.rand.IntN(3) == 0 {
				c.Status = "completed"
			}
		}
		next[run] = c.First + c.Count
		chunks = append(chunks, c)
	}
	return chunks
}

// waits are what a run may wait for that is suspended.
func (d *pair) waits() *driver.Waits {
	if d.rand.IntN(4) == 0 {
		return nil
	}
	w := &driver.Waits{Keys: []string{"x", "y"}[:d.rand.IntN(3)]}
	if d.rand.IntN(2) == 0 {
		w.Until = time.Unix(int64(d.rand.IntN(4)), 0)
	}
	return w
}

// same compares what both say of a run, and of all.
func (d *pair) same(host string, s both, run string) {
	d.t.Helper()
	got, err1 := s.real.Get(d.t.Context(), "acme", run)
	want, err2 := s.model.Get(d.t.Context(), "acme", run)
	if kindOf(err1) != kindOf(err2) || err1 == nil && shortly(got) != shortly(want) {
		d.t.Errorf("%s sees %s as %v %v, not %v %v", host, run, got, err1, want, err2)
	}
	if err1 != nil {
		return
	}
	if a, b := data(d.t, s.real, "acme", run), data(d.t, s.model, "acme", run); !slices.Equal(a, b) {
		d.t.Errorf("%s of %s holds %q, not %q", run, host, a, b)
	}
	for _, q := range []driver.Query{{}, {Free: true}, {Status: driver.Suspended}, {Key: "x"}, {Key: "y"}, {Due: time.Unix(2, 0)}} {
		a, err1 := s.real.Runs(d.t.Context(), "acme", q)
		b, err2 := s.model.Runs(d.t.Context(), "acme", q)
		if err := errors.Join(err1, err2); err != nil || !slices.EqualFunc(a, b, func(a, b *driver.Run) bool { return shortly(a) == shortly(b) }) {
			d.t.Errorf("%s finds %v, not %v, for %+v: %v", host, a, b, q, err)
		}
	}
}

// shortly is what two stores say alike of a run.
func shortly(r *driver.Run) string {
	text := fmt.Sprint(r.ID, " ", r.Status, " ", r.Epoch, " ", r.Entries, " ", r.Bytes, " ", r.Free)
	if r.Waits != nil {
		text += fmt.Sprint(" ", r.Waits.Keys, " ", r.Waits.Until.Unix())
	}
	return text
}

// kindOf is what two stores say alike of an error.
func kindOf(err error) string {
	var taken *driver.Taken
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &taken):
		return "taken"
	}
	return err.Error()
}
