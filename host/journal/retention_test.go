package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
)

// record writes a run's journal and closes it with a status; "" leaves it running.
func record(t *testing.T, store driver.Store, id string, status driver.Status, entries ...journal.Entry) {
	t.Helper()
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	r := w.Run(create(t, store, id), 1)
	for _, e := range entries {
		r.Append(e)
	}
	err := r.Sync(t.Context())
	if status != "" {
		err = r.Close(t.Context(), status)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// again goes on with a run that was suspended.
func again(t *testing.T, store driver.Store, id string, status driver.Status, e journal.Entry) {
	t.Helper()
	head, err := store.Claim(t.Context(), "acme", id, false)
	if err != nil {
		t.Fatal(err)
	}
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	r := w.Run(head, head.Entries+1)
	r.Append(e)
	if err := r.Close(t.Context(), status); err != nil {
		t.Fatal(err)
	}
}

func ids(runs []*driver.Run) string {
	var all []string
	for _, r := range runs {
		all = append(all, r.ID)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestPrune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := memjournal.NewServer()
		store, other := server.Open("one"), server.Open("two")
		day := 24 * time.Hour
		for age := 4; age > 0; age-- {
			for _, status := range []driver.Status{"completed", "failed", "cancelled", driver.Suspended, ""} {
				record(t, store, fmt.Sprint(age, status), status)
			}
			time.Sleep(day)
		}
		record(t, other, "crashed", "")
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		stay := "1 1suspended 2 2suspended 3 3suspended 4 4suspended crashed"
		for _, c := range []struct {
			policy journal.Policy
			want   string
		}{
			{journal.Policy{}, ""},
			{journal.Policy{Keep: 90 * time.Hour, Dry: true}, "4cancelled 4completed 4failed"},
			{journal.Policy{Keep: 90 * time.Hour, KeepFailed: 1000 * time.Hour}, "4completed"},
			{journal.Policy{Keep: 60 * time.Hour, KeepFailed: 90 * time.Hour}, "3completed 4cancelled 4failed"},
			{journal.Policy{Max: 6}, "3cancelled 3failed"},
			{journal.Policy{KeepFailed: time.Hour}, "1cancelled 1failed 2cancelled 2failed"},
			{journal.Policy{Keep: time.Hour}, "1completed 2completed"},
		} {
			pruned, err := journal.Prune(t.Context(), store, "acme", c.policy)
			if err != nil || ids(pruned.Runs) != c.want {
				t.Errorf("%+v: %s: %v", c.policy, ids(pruned.Runs), err)
			}
		}
		left, err := store.Runs(t.Context(), "acme", driver.Query{})
		if err != nil || ids(left) != stay {
			t.Error(ids(left), err)
		}
		if pruned, err := journal.Prune(t.Context(), store, "globex", journal.Policy{Keep: 1}); err != nil || len(pruned.Runs) != 0 {
			t.Error("another tenant's:", pruned, err)
		}
	})
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memjournal.New()
		for _, name := range []string{"source", "module", "later", "nobody's", "old run's"} {
			if err := store.PutBlob(t.Context(), "acme", name, []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		head := &journal.Head{Run: "r", Source: map[string]string{"p.yaml": "source"}, Modules: map[string]string{"m": "module"}}
		record(t, store, "r", driver.Suspended, journal.Entry{Kind: journal.Begin, Head: head}, journal.Entry{Kind: journal.Enter, Value: `{"kind":"begin"`})
		again(t, store, "r", "completed", journal.Entry{Kind: journal.Begin, Head: &journal.Head{Modules: map[string]string{"m": "later"}}})
		record(t, store, "old", "completed", journal.Entry{Kind: journal.Begin, Head: &journal.Head{Modules: map[string]string{"m": "old run's"}}})
		if err := store.Delete(t.Context(), "acme", "old"); err != nil {
			t.Fatal(err)
		}
		if pruned, err := journal.Prune(t.Context(), store, "acme", journal.Policy{}); err != nil || pruned.Blobs != 0 {
			t.Error("blobs that were put just now:", pruned, err)
		}
		time.Sleep(2 * time.Hour)
		if pruned, err := journal.Prune(t.Context(), store, "acme", journal.Policy{}); err != nil || pruned.Blobs != 2 {
			t.Error(pruned, err)
		}
		for name, there := range map[string]bool{"source": true, "module": true, "later": true, "nobody's": false, "old run's": false} {
			if _, err := store.Blob(t.Context(), "acme", name); errors.Is(err, driver.ErrNotFound) == there {
				t.Errorf("%s: %v", name, err)
			}
		}
		// What a newer version has written may name any of them.
		newer := &altered{Store: store, alter: func(_ int, c *driver.Chunk) error { c.Data[4]++; return nil }}
		time.Sleep(2 * time.Hour)
		if _, err := journal.Prune(t.Context(), newer, "acme", journal.Policy{}); kernel.CodeOf(err) != kernel.CodeJournal {
			t.Error(err)
		}
	})
}

func TestMaintain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &failing{Store: memjournal.New()}
		record(t, store, "a", "completed")
		ctx, cancel := context.WithCancel(t.Context())
		var told []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			journal.Maintain(ctx, store, "acme", journal.Policy{Keep: 90 * time.Minute}, time.Hour, func(p *journal.Pruned, err error) {
				told = append(told, fmt.Sprint(ids(p.Runs), err))
			})
		}()
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if len(told) != 1 || told[0] != "a<nil>" {
			t.Errorf("%q", told)
		}
		cancel()
		<-done
	})
}

// secret is in every value of an entry.
const secret = "correct horse"

func secrets() []journal.Entry {
	value := map[string]any{"email": secret, "list": []any{map[string]any{"a/b": secret}}, "kept": "plain"}
	failed := &kernel.Error{Code: kernel.CodeFailed, What: secret, Why: secret, Fix: secret}
	return []journal.Entry{
		{Kind: journal.Begin, Head: &journal.Head{Run: "r", Input: value, Labels: map[string]string{"who": secret}, Resumption: []byte(`{"a":"` + secret + `"}`)}},
		{Kind: journal.Decision, Lane: "fetch", Op: "http.request", Asked: []byte(`{"a":"` + secret + `"}`), Decided: &kernel.Decision{
			Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: "rule", Msg: secret}}, Obligations: []map[string]any{{"mask": secret}}}},
		{Kind: journal.Call, Lane: "fetch", Op: "http.request", Digest: "sha256:1", Args: value, Body: []byte(secret)},
		{Kind: journal.Reply, Lane: "fetch", Op: "http.request", Value: value, Body: []byte(secret)},
		{Kind: journal.Enter, Lane: "loop/1/fetch", Module: "m", Digest: "sha256:m", Args: value},
		{Kind: journal.Leave, Lane: "loop/1/fetch", Failed: failed},
		{Kind: journal.Told, Lane: "fetch", Event: &kernel.Event{Type: kernel.NodeFailed, Result: value, Reason: secret, Error: failed}},
		{Kind: journal.Done, Lane: "wait", State: journal.Waiting, Pause: []byte(`{"a":"` + secret + `"}`)},
		{Kind: journal.End, Status: "failed", Value: secret},
	}
}

func exported(t *testing.T, store driver.Store) (text string, entries []*journal.Entry) {
	t.Helper()
	j, err := journal.Read(t.Context(), store, "acme", "r")
	if err != nil {
		t.Fatal(err)
	}
	if entries, err = j.All(t.Context()); err != nil || j.Torn != nil {
		t.Fatal(err, j.Torn)
	}
	for _, e := range entries {
		line, err := e.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		text += string(line) + "\n"
	}
	return text, entries
}

func TestRedactAll(t *testing.T) {
	store := memjournal.New()
	record(t, store, "r", "failed", secrets()...)
	n, torn, err := journal.Redact(t.Context(), store, "acme", "r", journal.Redaction{})
	text, entries := exported(t, store)
	if err != nil || torn != nil || n != 9 || strings.Contains(text, secret) || strings.Contains(text, "Y29ycmVjdCBob3JzZQ") {
		t.Errorf("%d entries, %v: %v\n%s", n, torn, err, text)
	}
	for i, e := range entries {
		if !e.Redacted || e.Seq != uint64(i+1) || e.Time.IsZero() || e.Kind == "" {
			t.Errorf("%+v", e)
		}
	}
	call, enter, leave := entries[2], entries[4], entries[5]
	if call.Op != "http.request" || call.Args != journal.Redacted || call.Body != nil || call.Digest != "" || enter.Digest != "sha256:m" || leave.Failed.Code != kernel.CodeFailed || leave.Failed.What != journal.Redacted {
		t.Errorf("%+v\n%+v\n%+v", call, enter, leave)
	}
	if entries[1].Decided.Reasons[0] != (kernel.Reason{ID: "rule", Msg: journal.Redacted}) {
		t.Errorf("%+v", entries[1].Decided)
	}
	if n, _, err := journal.Redact(t.Context(), store, "acme", "r", journal.Redaction{}); n != 0 || err != nil {
		t.Error("the second time:", n, err)
	}
	head, err := store.Get(t.Context(), "acme", "r")
	if err != nil || head.Status != "failed" || head.Entries != 9 {
		t.Errorf("%+v %v", head, err)
	}
}

func TestRedactSome(t *testing.T) {
	for name, c := range map[string]struct {
		redaction journal.Redaction
		want      []uint64 // the entries that are changed
	}{
		"a lane":           {journal.Redaction{Lanes: []string{"fetch"}}, []uint64{2, 3, 4, 7}},
		"lanes below":      {journal.Redaction{Lanes: []string{"loop/**"}}, []uint64{5, 6}},
		"a pattern":        {journal.Redaction{Lanes: []string{"*/*/fetch"}}, []uint64{5, 6}},
		"an operation":     {journal.Redaction{Ops: []string{"http.*"}}, []uint64{2, 3, 4}},
		"a path":           {journal.Redaction{Paths: []string{"/value/email"}}, []uint64{4}},
		"any member":       {journal.Redaction{Paths: []string{"/args/*/*/a~1b"}}, []uint64{3, 5}},
		"input and bodies": {journal.Redaction{Paths: []string{"/head/input/email", "/body"}}, []uint64{1, 3, 4}},
		"both":             {journal.Redaction{Lanes: []string{"fetch"}, Paths: []string{"/args"}}, []uint64{3}},
		"none":             {journal.Redaction{Lanes: []string{"other"}}, nil},
	} {
		store := memjournal.New()
		record(t, store, "r", "completed", secrets()...)
		n, _, err := journal.Redact(t.Context(), store, "acme", "r", c.redaction)
		_, entries := exported(t, store)
		var changed []uint64
		for _, e := range entries {
			if e.Redacted {
				changed = append(changed, e.Seq)
			}
		}
		if err != nil || n != len(c.want) || !slices.Equal(changed, c.want) {
			t.Errorf("%s: %d entries, %v: %v", name, n, changed, err)
		}
	}
	store := memjournal.New()
	record(t, store, "r", "completed", secrets()...)
	if _, _, err := journal.Redact(t.Context(), store, "acme", "r", journal.Redaction{Paths: []string{"/value/email"}}); err != nil {
		t.Fatal(err)
	}
	_, entries := exported(t, store)
	value, _ := entries[3].Value.(map[string]any)
	if value["email"] != journal.Redacted || value["kept"] != "plain" || string(entries[3].Body) != secret {
		t.Errorf("%+v", entries[3])
	}
}

func TestRedactRefused(t *testing.T) {
	store := memjournal.New()
	record(t, store, "r", "", secrets()...)
	record(t, store, "s", driver.Suspended)
	for run, want := range map[string]string{"r": "run r: the run's journal cannot be redacted yet", "s": "it has not ended", "none": "there is no journal of the run none"} {
		if _, _, err := journal.Redact(t.Context(), store, "acme", run, journal.Redaction{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", run, err)
		}
	}
	for _, r := range []journal.Redaction{{Paths: []string{"value"}}, {Paths: []string{"/seq"}}, {Paths: []string{"/failed/code"}}, {Paths: []string{""}}, {Lanes: []string{"["}}, {Ops: []string{"a["}}} {
		if _, _, err := journal.Redact(t.Context(), store, "acme", "r", r); kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
