package kernel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"weak"

	"github.com/hexdag/hexdag/host/kernel"
)

func label(t *testing.T, i kernel.Integrity, c kernel.Confidentiality, sources ...string) *kernel.Labels {
	t.Helper()
	l, err := kernel.NewLabels(i, c, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Joining is what it is in every lattice: it can only add, in any order, and twice is once.
func TestLabelsJoin(t *testing.T) {
	var all []*kernel.Labels
	for _, i := range []kernel.Integrity{kernel.Trusted, kernel.Untrusted} {
		for _, c := range []kernel.Confidentiality{kernel.Public, kernel.Internal, kernel.Secret} {
			for _, s := range [][]string{nil, {"a"}, {"b", "a"}} {
				all = append(all, label(t, i, c, s...))
			}
		}
	}
	text := func(l *kernel.Labels) string { return l.String() }
	for _, a := range all {
		if text(a.Join(a)) != text(a) || text(a.Join(nil)) != text(a) || text((*kernel.Labels)(nil).Join(a)) != text(a) {
			t.Errorf("%s is not its own join", a)
		}
		for _, b := range all {
			ab := a.Join(b)
			if text(ab) != text(b.Join(a)) {
				t.Errorf("%s, %s: %s or %s", a, b, ab, b.Join(a))
			}
			if a.Integrity() == kernel.Untrusted && ab.Integrity() != kernel.Untrusted || text(ab.Join(a)) != text(ab) {
				t.Errorf("%s, %s: %s has lost something", a, b, ab)
			}
			for _, c := range all {
				if text(ab.Join(c)) != text(a.Join(b.Join(c))) {
					t.Errorf("%s, %s, %s: the order counts", a, b, c)
				}
			}
		}
	}
	if label(t, kernel.Trusted, kernel.Public, "a") != nil || label(t, "", "") != nil {
		t.Error("what says nothing is nil")
	}
}

func TestLabelsRelabel(t *testing.T) {
	both := label(t, kernel.Untrusted, kernel.Secret, "a")
	for _, tc := range []struct {
		may  kernel.Relabel
		want string
	}{
		{kernel.Relabel{}, "untrusted, secret (a)"},
		{kernel.Relabel{Endorse: true}, "trusted, secret (a)"},
		{kernel.Relabel{Declassify: true}, "untrusted, public (a)"},
		{kernel.Relabel{Endorse: true, Declassify: true}, "trusted, public"},
	} {
		if got := tc.may.Of(both).String(); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.may, got, tc.want)
		}
	}
}

// Sources come from names that others choose: they are quoted, and bounded.
func TestLabelSources(t *testing.T) {
	l := label(t, kernel.Untrusted, "", "a\x1b[31m\nb", strings.Repeat("x", 1000))
	for _, s := range l.Sources() {
		if strings.ContainsAny(s, "\x1b\n") || len(s) > 300 {
			t.Errorf("%q", s)
		}
	}
	for i := range 100 {
		l = l.Join(label(t, kernel.Untrusted, "", fmt.Sprintf("s%02d", i)))
	}
	if n := len(l.Sources()); n != 17 || l.Sources()[16] != "…" {
		t.Errorf("%d sources: %v", n, l.Sources())
	}
	if again := l.Join(label(t, kernel.Untrusted, "", "z")); len(again.Sources()) != 17 {
		t.Errorf("%v", again.Sources())
	}
}

func TestLabelsAsJSON(t *testing.T) {
	l := label(t, kernel.Untrusted, kernel.Secret, "http:a")
	text, err := json.Marshal(l)
	if err != nil || string(text) != `{"integrity":"untrusted","confidentiality":"secret","sources":["http:a"]}` {
		t.Fatalf("%s, %v", text, err)
	}
	var back kernel.Labels
	if err := json.Unmarshal(text, &back); err != nil || back.String() != l.String() {
		t.Errorf("%s, %v", back.String(), err)
	}
	for text, says := range map[string]string{
		`{"integrity": "good"}`: "no integrity good", `{"confidentiality": "x"}`: "no confidentiality x", `{"level": 1}`: "unknown field",
		`{"sources": [` + strings.Repeat(`"a",`, 20) + `"b"]}`: "the limit is 16",
	} {
		if err := json.Unmarshal([]byte(text), &back); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Many readers teach one flow at once.
func TestFlow(t *testing.T) {
	f := kernel.NewFlow(nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { f.Join(label(t, kernel.Untrusted, "", fmt.Sprint(i))) })
	}
	wg.Wait()
	if n := len(f.Labels().Sources()); n != 8 {
		t.Errorf("%d sources", n)
	}
	var none *kernel.Flow
	none.Join(f.Labels())
	none.Relabel(kernel.Relabel{Endorse: true})
	if none.Labels() != nil {
		t.Error("no flow learned something")
	}
}

// reply performs calls by counting them.
type world struct{ calls int }

func (w *world) perform() (*kernel.PortReply, error) {
	w.calls++
	return &kernel.PortReply{Value: w.calls}, nil
}

func needed() error {
	return &kernel.Error{Code: kernel.CodeApproval, What: "x", Err: &kernel.ApprovalNeeded{ID: "a"}}
}

// A body that waited is told again what it was told; what it did not do before, it does.
func TestEffects(t *testing.T) {
	w, e := &world{}, &kernel.Effects{}
	call := func(op, arg string) *kernel.PortCall {
		return &kernel.PortCall{Op: op, Args: map[string]any{"a": arg}}
	}
	if _, err := e.Do(nil, call("x", "1"), w.perform); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Do(nil, call("y", "1"), func() (*kernel.PortReply, error) { return nil, needed() }); kernel.CodeOf(err) != kernel.CodeApproval {
		t.Fatal(err)
	}
	// It is stopped there, whatever it tries next.
	if _, err := e.Do(nil, call("z", "1"), w.perform); kernel.CodeOf(err) != kernel.CodeApproval || w.calls != 1 {
		t.Errorf("%v, %d calls", err, w.calls)
	}
	steps, kept := e.Done()
	if !kept || len(steps) != 1 || e.Stopped() == nil {
		t.Fatalf("%+v", steps)
	}
	again := kernel.Recall(steps)
	reply, err := again.Do(nil, call("x", "1"), w.perform)
	if err != nil || reply.Value != 1 || w.calls != 1 {
		t.Errorf("%+v, %v, %d calls", reply, err, w.calls)
	}
	// What is done inside of a call is part of it.
	_, err = again.Do(nil, call("y", "1"), func() (*kernel.PortReply, error) { return again.Do(nil, call("inner", "1"), w.perform) })
	if err != nil || w.calls != 2 {
		t.Errorf("%v, %d calls", err, w.calls)
	}
	if steps, _ := again.Done(); len(steps) != 2 || again.Stopped() != nil {
		t.Errorf("%+v", steps)
	}
	for name, other := range map[string]*kernel.PortCall{"another operation": call("y", "1"), "another argument": call("x", "2")} {
		if _, err := kernel.Recall(steps).Do(nil, other, w.perform); kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), "cannot go on") {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := kernel.Recall(steps)
	_, _ = other.Do(nil, call("z", "1"), w.perform)
	if _, err := other.Do(nil, call("x", "1"), w.perform); kernel.CodeOf(err) != kernel.CodeFailed || other.Stopped() == nil || w.calls != 2 {
		t.Errorf("it went on: %v, %d calls", err, w.calls)
	}
	// Failures are told again, too.
	failing := &kernel.Effects{}
	_, first := failing.Do(nil, call("x", "1"), func() (*kernel.PortReply, error) {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "gone", Err: errors.New("cause")}
	})
	steps, _ = failing.Done()
	if _, second := kernel.Recall(steps).Do(nil, call("x", "1"), w.perform); second == nil || second.Error() != first.Error() {
		t.Errorf("%v, %v", first, second)
	}
	// So is the clock.
	drawing := &kernel.Effects{}
	got, err := drawing.Draw("clock.now", func() ([]byte, error) { return []byte("1"), nil })
	steps, _ = drawing.Done()
	told, err2 := kernel.Recall(steps).Draw("clock.now", func() ([]byte, error) { return []byte("2"), nil })
	if err != nil || err2 != nil || string(got) != "1" || string(told) != "1" {
		t.Errorf("%s, %s, %v, %v", got, told, err, err2)
	}
	// What is too much is not kept, and said so.
	much := &kernel.Effects{}
	for range 5 {
		_, _ = much.Do(nil, call("x", "1"), func() (*kernel.PortReply, error) { return &kernel.PortReply{Body: make([]byte, 1<<20)}, nil })
	}
	if _, kept := much.Done(); kept {
		t.Error("five megabytes are kept")
	}
}

// What is kept of a body is bounded in number and bytes, whatever it asks and is answered; what
// is large in a question is not kept, and told apart all the same.
func TestEffectsAreBounded(t *testing.T) {
	text := strings.Repeat("x", 700)
	for name, tc := range map[string]struct {
		times int
		call  kernel.PortCall
		reply kernel.PortReply
		err   error
		kept  bool
	}{
		"as many as there may be": {times: kernel.MaxEffects, kept: true},
		"one too many":            {times: kernel.MaxEffects + 1},
		"large bodies":            {times: kernel.MaxEffects, call: kernel.PortCall{Body: make([]byte, 1<<20)}, kept: true},
		"large arguments":         {times: 100, call: kernel.PortCall{Args: map[string]any{"a": strings.Repeat("x", 1<<20)}}, kept: true},
		"small arguments":         {times: kernel.MaxEffects, call: kernel.PortCall{Args: map[string]any{"a": text}}, kept: true},
		"and answers, as large":   {times: kernel.MaxEffects, call: kernel.PortCall{Args: map[string]any{"a": text}}, reply: kernel.PortReply{Value: strings.Repeat("x", 4000)}},
		"answers":                 {times: 5, reply: kernel.PortReply{Value: strings.Repeat("x", 1<<20)}},
		"errors":                  {times: 5, err: &kernel.Error{Code: kernel.CodeFailed, What: strings.Repeat("x", 1<<20)}},
		"names of operations":     {times: 5, call: kernel.PortCall{Op: strings.Repeat("x", 1<<20)}},
	} {
		e := &kernel.Effects{}
		for range tc.times {
			call := tc.call
			_, _ = e.Do(nil, &call, func() (*kernel.PortReply, error) { return &tc.reply, tc.err })
		}
		if steps, kept := e.Done(); kept != tc.kept || !kept && len(steps) > 0 {
			t.Errorf("%s: %d are kept, %v", name, len(steps), kept)
		}
	}

	large := func(last byte) *kernel.PortCall {
		return &kernel.PortCall{Op: "x", Body: append(make([]byte, 2<<10), last)}
	}
	e, w := &kernel.Effects{}, &world{}
	body := func() weak.Pointer[byte] {
		call := large(1)
		if _, err := e.Do(nil, call, w.perform); err != nil {
			t.Fatal(err)
		}
		return weak.Make(&call.Body[0])
	}()
	if runtime.GC(); body.Value() != nil {
		t.Error("the bytes of a large call are kept")
	}
	steps, _ := e.Done()
	if _, err := kernel.Recall(steps).Do(nil, large(1), w.perform); err != nil || w.calls != 1 {
		t.Errorf("%v, %d calls", err, w.calls)
	}
	if _, err := kernel.Recall(steps).Do(nil, large(2), w.perform); kernel.CodeOf(err) != kernel.CodeFailed || w.calls != 1 {
		t.Errorf("%v, %d calls", err, w.calls)
	}
}
