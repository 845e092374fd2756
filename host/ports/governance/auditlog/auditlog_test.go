package auditlog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
)

// site is where a test keeps a log and its key.
type site struct{ dir, key string }

func newSite(t testing.TB) site {
	t.Helper()
	base := t.TempDir()
	return site{dir: filepath.Join(base, "audit"), key: filepath.Join(base, "keys", "audit.key")}
}

func (s site) options() auditlog.Options {
	return auditlog.Options{KeyFile: s.key, SyncEvery: 5 * time.Millisecond}
}

func (s site) open(t testing.TB) *auditlog.Log {
	t.Helper()
	l, err := auditlog.Open(s.dir, s.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// write appends records from first to last, in one opening of the log.
func (s site) write(t testing.TB, first, last int) {
	t.Helper()
	l := s.open(t)
	for i := first; i <= last; i++ {
		audit(t, l, i)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func audit(t testing.TB, l *auditlog.Log, i int) {
	t.Helper()
	if err := l.Audit(context.Background(), record(i)); err != nil {
		t.Fatal(err)
	}
}

func record(i int) *kernel.AuditRecord {
	effect := kernel.Allow
	if i%3 == 0 {
		effect = kernel.Forbid
	}
	return &kernel.AuditRecord{
		Kind: "decision", RunID: "run-1", Tenant: "acme", Principal: "user:ann", Chain: []string{"user:ann", "module:refund"},
		Action: "database.query", Resource: fmt.Sprintf("orders/%d", i), Effect: effect,
		Reasons: []kernel.Reason{{ID: "orders.read", Msg: "a line\nbreak and \x1b[31m"}},
	}
}

func (s site) lines(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "records.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
}

// setLines writes the records file back, each element with its line break.
func (s site) setLines(t testing.TB, lines []string) {
	t.Helper()
	text := strings.Join(lines, "")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	s.put(t, "records.jsonl", []byte(text))
}

func (s site) put(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s site) get(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// verify returns the report of a log that must be whole.
func (s site) verify(t testing.TB, opts auditlog.VerifyOptions) *auditlog.Report {
	t.Helper()
	report, err := auditlog.Verify(t.Context(), s.dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestWriteAndVerify(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 7)
	s.write(t, 8, 20) // continues
	got := s.verify(t, auditlog.VerifyOptions{})
	if age := time.Since(got.SignedAt); age < 0 || age > time.Minute {
		t.Errorf("signed %v ago", age)
	}
	want := &auditlog.Report{
		Origin: got.Origin, Records: 20, Root: got.Root, SignedAt: got.SignedAt,
		Key: strings.TrimSpace(string(s.get(t, "verifier"))), Trust: auditlog.TrustDirectory,
		Kinds:   map[string]int64{"decision": 20},
		Effects: map[kernel.Effect]int64{kernel.Allow: 14, kernel.Forbid: 6},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.verify(t, auditlog.VerifyOptions{VerifierKey: want.Key}).Trust; got != auditlog.TrustGiven {
		t.Errorf("trust = %q", got)
	}
}

func TestRecordsAreWhatWasAudited(t *testing.T) {
	s := newSite(t)
	want := record(1)
	before := time.Now()
	s.write(t, 1, 1)
	var got kernel.AuditRecord
	if err := json.Unmarshal([]byte(s.lines(t)[0]), &got); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, got.Time)
	if err != nil || at.Before(before) || at.Location() != time.UTC {
		t.Errorf("time %q: %v", got.Time, err)
	}
	got.Time = ""
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Error(diff)
	}
	if want.Time != "" {
		t.Error("Audit changed its caller's record")
	}
}

func TestModes(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 1)
	for path, want := range map[string]os.FileMode{
		s.dir: 0o700, filepath.Join(s.dir, "records.jsonl"): 0o600, filepath.Join(s.dir, "hashes"): 0o600,
		filepath.Join(s.dir, "checkpoint"): 0o600, s.key: 0o600, filepath.Dir(s.key): 0o700,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestSealsWithoutClose(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	audit(t, l, 1)
	deadline := time.Now().Add(10 * time.Second)
	for s.verify(t, auditlog.VerifyOptions{Live: true}).Records != 1 {
		if time.Now().After(deadline) {
			t.Fatal("the record was not sealed")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	_, err := auditlog.Open(s.dir, s.options())
	if kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Fatalf("a second Open gave %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.write(t, 1, 1)
}

func TestConcurrentAppend(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range each {
				if err := l.Audit(context.Background(), record(i)); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					// A reader beside the writers sees a whole, signed prefix.
					if _, err := auditlog.Verify(t.Context(), s.dir, auditlog.VerifyOptions{Live: true}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.verify(t, auditlog.VerifyOptions{}).Records; got != writers*each {
		t.Errorf("%d records, want %d", got, writers*each)
	}
}

func TestCloseWhileAppending(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	accepted := int64(0)
	for range 4 {
		wg.Go(func() {
			for l.Audit(context.Background(), record(1)) == nil {
				mu.Lock()
				accepted++
				mu.Unlock()
			}
		})
	}
	time.Sleep(10 * time.Millisecond)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if got := s.verify(t, auditlog.VerifyOptions{}).Records; got != accepted {
		t.Errorf("%d records sealed, %d accepted", got, accepted)
	}
}

func TestRefusedRecords(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	for name, r := range map[string]*kernel.AuditRecord{
		"no kind":   {Action: "a"},
		"no action": {Kind: "call"},
		"bad time":  {Kind: "call", Action: "a", Time: "yesterday"},
		"too large": {Kind: "call", Action: "a", Detail: strings.Repeat("x", 1<<20)},
	} {
		if err := l.Audit(context.Background(), r); kernel.CodeOf(err) != kernel.CodeAudit {
			t.Errorf("%s: %v", name, err)
		}
	}
	audit(t, l, 1) // a bad record does not spoil the log
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.verify(t, auditlog.VerifyOptions{}).Records; got != 1 {
		t.Errorf("%d records", got)
	}
	if err := l.Audit(context.Background(), record(2)); kernel.CodeOf(err) != kernel.CodeAudit {
		t.Errorf("a closed log: %v", err)
	}
}

func TestLargestRecord(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	r := &kernel.AuditRecord{Time: "2026-01-02T03:04:05.000000000Z", Kind: "call", Action: "a"}
	empty, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const overhead = len(`,"detail":""`)
	r.Detail = strings.Repeat("x", 1<<20-1-len(empty)-overhead)
	if err := l.Audit(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.verify(t, auditlog.VerifyOptions{})
	s.write(t, 2, 2)
}

func TestKey(t *testing.T) {
	t.Run("inside the log", func(t *testing.T) {
		s := newSite(t)
		_, err := auditlog.Open(s.dir, auditlog.Options{KeyFile: filepath.Join(s.dir, "sub", "audit.key")})
		if kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		s := newSite(t)
		s.write(t, 1, 1)
		if err := os.Remove(s.key); err != nil {
			t.Fatal(err)
		}
		if _, err := auditlog.Open(s.dir, s.options()); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(err)
		}
		if _, err := os.Stat(s.key); err == nil {
			t.Error("a new key was made for an old log")
		}
	})
	t.Run("another", func(t *testing.T) {
		s, other := newSite(t), newSite(t)
		s.write(t, 1, 1)
		other.write(t, 1, 1)
		s.key = other.key
		if _, err := auditlog.Open(s.dir, s.options()); kernel.CodeOf(err) != kernel.CodeAuditTampered {
			t.Error(err)
		}
	})
	t.Run("readable by all", func(t *testing.T) {
		s := newSite(t)
		s.write(t, 1, 1)
		if err := os.Chmod(s.key, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := auditlog.Open(s.dir, s.options()); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(err)
		}
	})
	t.Run("not a key", func(t *testing.T) {
		s := newSite(t)
		if err := os.MkdirAll(filepath.Dir(s.key), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.key, []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := auditlog.Open(s.dir, s.options()); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(err)
		}
	})
	t.Run("shared by logs, made at once", func(t *testing.T) {
		base := t.TempDir()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				l, err := auditlog.Open(filepath.Join(base, fmt.Sprint(i)), auditlog.Options{KeyFile: filepath.Join(base, "keys", "k")})
				if err != nil {
					t.Error(err)
					return
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		keys := map[string]bool{}
		for i := range 8 {
			key, err := os.ReadFile(filepath.Join(base, fmt.Sprint(i), "verifier"))
			if err != nil {
				t.Fatal(err)
			}
			keys[string(key)] = true
		}
		if len(keys) != 1 {
			t.Errorf("%d keys", len(keys))
		}
	})
}

// TestCheckpointIsANote reads a checkpoint with nothing but x/mod: other tools can, too.
func TestCheckpointIsANote(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 3)
	verifier, err := note.NewVerifier(strings.TrimSpace(string(s.get(t, "verifier"))))
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(s.get(t, "checkpoint"), note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(n.Text, "\n")
	if want := s.verify(t, auditlog.VerifyOptions{}); lines[0] != want.Origin || lines[1] != "3" || lines[2] != want.Root {
		t.Errorf("checkpoint %q", n.Text)
	}
}

func TestVerifyNoLog(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "absent"), t.TempDir()} {
		if _, err := auditlog.Verify(t.Context(), dir, auditlog.VerifyOptions{}); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s := newSite(b)
	l, err := auditlog.Open(s.dir, auditlog.Options{KeyFile: s.key})
	if err != nil {
		b.Fatal(err)
	}
	r := record(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Audit(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkVerify(b *testing.B) {
	s := newSite(b)
	const records = 10_000
	s.write(b, 1, records)
	for b.Loop() {
		s.verify(b, auditlog.VerifyOptions{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

func BenchmarkOpen(b *testing.B) {
	s := newSite(b)
	const records = 10_000
	s.write(b, 1, records)
	for b.Loop() {
		if err := s.open(b).Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

// TestNobodyWaits: a log is not read on for somebody who no longer waits for it.
func TestNobodyWaits(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	for range 10 {
		if err := l.Audit(t.Context(), record(1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := auditlog.Verify(ctx, s.dir, auditlog.VerifyOptions{}); kernel.CodeOf(err) != kernel.CodeCanceled || r != nil {
		t.Errorf("%+v, %v", r, err)
	}
	visited := 0
	if _, err := auditlog.Read(ctx, s.dir, auditlog.VerifyOptions{}, func(int64, []byte, *kernel.AuditRecord) error { visited++; return nil }); kernel.CodeOf(err) != kernel.CodeCanceled || visited > 0 {
		t.Error(visited, err)
	}
}
