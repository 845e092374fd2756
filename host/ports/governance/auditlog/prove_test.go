package auditlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
)

func (s site) verifier(t testing.TB) string { return string(bytes.TrimSpace(s.get(t, "verifier"))) }

// TestProofs proves every record of logs of many sizes, and every earlier checkpoint,
// through JSON, and then changes each part of a proof.
func TestProofs(t *testing.T) {
	s := newSite(t)
	var known [][]byte
	size := 0
	for _, more := range []int{1, 1, 1, 2, 3, 8, 5} {
		s.write(t, size+1, size+more)
		size += more
		key := s.verifier(t)
		for n := range size + 1 {
			for _, k := range append(slices.Clone(known), nil) {
				if n == 0 && k == nil {
					continue
				}
				p, err := auditlog.Prove(t.Context(), s.dir, int64(n), auditlog.VerifyOptions{Known: k})
				if err != nil {
					t.Fatalf("record %d of %d: %v", n, size, err)
				}
				got, err := through(t, p).Check(key)
				if err != nil || (got != nil) != (n > 0) {
					t.Fatalf("record %d of %d: %v, %v", n, size, got, err)
				}
				if n > 0 && got.Principal != record(n).Principal {
					t.Errorf("record %d is %+v", n, got)
				}
			}
		}
		known = append(known, s.get(t, "checkpoint"))
	}
	for _, n := range []int64{-1, int64(size) + 1} {
		if _, err := auditlog.Prove(t.Context(), s.dir, n, auditlog.VerifyOptions{}); kernel.CodeOf(err) != kernel.CodeInput {
			t.Errorf("record %d: %v", n, err)
		}
	}
	if _, err := auditlog.Prove(t.Context(), s.dir, 0, auditlog.VerifyOptions{}); kernel.CodeOf(err) != kernel.CodeInput {
		t.Errorf("nothing: %v", err)
	}
}

// through writes and reads a proof.
func through(t *testing.T, p *auditlog.Proof) *auditlog.Proof {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var q auditlog.Proof
	if err := kernel.UnmarshalStrict(text, &q); err != nil {
		t.Fatal(err)
	}
	return &q
}

func TestFalseProofs(t *testing.T) {
	s, other := newSite(t), newSite(t)
	other.key = s.key
	s.write(t, 1, 5)
	known := s.get(t, "checkpoint")
	s.write(t, 6, 13)
	other.write(t, 1, 13)
	key := s.verifier(t)
	empty := newSite(t)
	empty.key = s.key
	if err := empty.open(t).Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p *auditlog.Proof){
		"an empty one's": func(p *auditlog.Proof) { p.Known, p.Consistency = string(empty.get(t, "checkpoint")), nil },
		"line":           func(p *auditlog.Proof) { p.Line = strings.Replace(p.Line, "ann", "bob", 1) },
		"record":         func(p *auditlog.Proof) { p.Record-- },
		"past the end":   func(p *auditlog.Proof) { p.Record = 14 },
		"negative":       func(p *auditlog.Proof) { p.Record = -7 },
		"hash":           func(p *auditlog.Proof) { p.Inclusion[1][3] ^= 1 },
		"fewer hashes":   func(p *auditlog.Proof) { p.Inclusion = p.Inclusion[:1] },
		"more hashes":    func(p *auditlog.Proof) { p.Inclusion = append(p.Inclusion, p.Inclusion[0]) },
		"history":        func(p *auditlog.Proof) { p.Consistency[0][0] ^= 1 },
		"no history":     func(p *auditlog.Proof) { p.Consistency = nil },
		"checkpoint":     func(p *auditlog.Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "\n13\n", "\n12\n", 1) },
		"another's":      func(p *auditlog.Proof) { p.Checkpoint = string(other.get(t, "checkpoint")) },
		"an older one":   func(p *auditlog.Proof) { p.Checkpoint, p.Known = p.Known, p.Checkpoint },
		"another's past": func(p *auditlog.Proof) { p.Known = string(other.get(t, "checkpoint")) },
		"no checkpoint":  func(p *auditlog.Proof) { p.Known = "x" },
		"for nothing":    func(p *auditlog.Proof) { p.Record, p.Known = 0, "" },
	} {
		p, err := auditlog.Prove(t.Context(), s.dir, 7, auditlog.VerifyOptions{Known: known})
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		if r, err := p.Check(key); r != nil || kernel.CodeOf(err) != kernel.CodeAuditTampered || !strings.Contains(err.Error(), "proves nothing") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	p, err := auditlog.Prove(t.Context(), s.dir, 7, auditlog.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stranger := newSite(t)
	stranger.write(t, 1, 1)
	if _, err := p.Check(stranger.verifier(t)); kernel.CodeOf(err) != kernel.CodeAuditTampered {
		t.Errorf("another key: %v", err)
	}
	if _, err := p.Check("nonsense"); kernel.CodeOf(err) != kernel.CodeConfig {
		t.Errorf("no key: %v", err)
	}
}

// A log that was changed gives no proof, but says where it was changed.
func TestNoProofOfAChangedLog(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 13)
	whole := s.get(t, "records.jsonl")
	lines := s.lines(t)
	lines[6] = strings.Replace(lines[6], "ann", "bob", 1)
	s.setLines(t, lines)
	_, err := auditlog.Prove(t.Context(), s.dir, 7, auditlog.VerifyOptions{})
	wantTampered(t, err, "records.jsonl", 7, "edited")
	s.put(t, "records.jsonl", whole)
	flip("hashes", 32)(t, s)
	_, err = auditlog.Prove(t.Context(), s.dir, 1, auditlog.VerifyOptions{})
	wantTampered(t, err, "hashes", 0, "hashes were changed")
}

func TestRead(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 7)
	var seen []int64
	report, err := auditlog.Read(t.Context(), s.dir, auditlog.VerifyOptions{}, func(n int64, line []byte, r *kernel.AuditRecord) error {
		seen = append(seen, n)
		if r.Principal != record(int(n)).Principal || !bytes.Contains(line, []byte(r.Principal)) {
			t.Errorf("record %d is %s", n, line)
		}
		return nil
	})
	if err != nil || report.Records != 7 || len(seen) != 7 || seen[6] != 7 {
		t.Errorf("%+v, %v, %v", report, seen, err)
	}
	stop := errors.New("enough")
	if _, err := auditlog.Read(t.Context(), s.dir, auditlog.VerifyOptions{}, func(int64, []byte, *kernel.AuditRecord) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	lines := s.lines(t)
	lines[6] = strings.Replace(lines[6], "ann", "bob", 1)
	s.setLines(t, lines)
	_, err = auditlog.Read(t.Context(), s.dir, auditlog.VerifyOptions{}, func(int64, []byte, *kernel.AuditRecord) error {
		t.Error("records of a changed log are shown")
		return nil
	})
	wantTampered(t, err, "records.jsonl", 7, "edited")
}

func TestTail(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 30)
	collect := func(last int) (list []*kernel.AuditRecord) {
		t.Helper()
		err := auditlog.Tail(t.Context(), s.dir, last, false, func(r *kernel.AuditRecord) error {
			list = append(list, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for last, want := range map[int]int{0: 0, 1: 1, 10: 10, 30: 30, 99: 30} {
		got := collect(last)
		if len(got) != want {
			t.Errorf("the last %d are %d", last, len(got))
		}
		if want > 0 && got[want-1].Principal != record(30).Principal {
			t.Errorf("the last is %+v", got[want-1])
		}
	}
	// A log that is larger than what is read of it: the first line is cut, and not shown.
	l := s.open(t)
	for range 40 {
		if err := l.Audit(t.Context(), &kernel.AuditRecord{Kind: "note", Action: "large", Detail: strings.Repeat("x", 200<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := collect(99); len(got) < 15 || len(got) > 25 {
		t.Errorf("%d records of 4 MiB", len(got))
	}
	follow(t, s, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := auditlog.Tail(t.Context(), t.TempDir(), 1, false, nil); kernel.CodeOf(err) != kernel.CodeConfig {
		t.Errorf("no log: %v", err)
	}
}

// follow appends while Tail follows, and checks that it shows each record once.
func follow(t *testing.T, s site, l *auditlog.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seen := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- auditlog.Tail(ctx, s.dir, 1, true, func(r *kernel.AuditRecord) error {
			seen <- r.Action
			return nil
		})
	}()
	if first := <-seen; first != "large" {
		t.Errorf("it begins with %s", first)
	}
	for _, action := range []string{"a.a", "a.b", "a.c"} {
		if err := l.Audit(t.Context(), &kernel.AuditRecord{Kind: "note", Action: action}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-seen:
			if got != action {
				t.Errorf("it shows %s, want %s", got, action)
			}
		case <-ctx.Done():
			t.Fatalf("it does not show %s", action)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("its end is an error: %v", err)
	}
}

func BenchmarkProve(b *testing.B) {
	s := newSite(b)
	s.write(b, 1, 10_000)
	for b.Loop() {
		if _, err := auditlog.Prove(b.Context(), s.dir, 5000, auditlog.VerifyOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
