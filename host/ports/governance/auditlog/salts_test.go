package auditlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

// masked is a record of which the resource and an argument are masked.
func masked(t *testing.T, secret string) *kernel.AuditRecord {
	t.Helper()
	duties, err := obligation.Parse([]map[string]any{{"type": "mask", "record": []any{"/resource", "/args/email"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := &kernel.AuditRecord{Kind: "call", Action: "database.query", Resource: "orders of " + secret}
	duties.MaskRecord(r, map[string]any{"email": secret, "limit": kernel.Number(1)})
	return r
}

func TestDisclose(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	const secret = "ada@example.com"
	for _, r := range []*kernel.AuditRecord{record(1), masked(t, secret), masked(t, secret), masked(t, "eve@example.com")} {
		if err := l.Audit(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(s.lines(t), "")
	salts := auditlog.SaltsFile(s.dir)
	kept, err := os.ReadFile(salts)
	if err != nil || strings.Contains(text, secret) || strings.Contains(string(kept), secret) {
		t.Fatalf("%v; the log tells\n%s\n%s", err, text, kept)
	}
	disclose := func(n int64, value map[string]any) *auditlog.Disclosure {
		t.Helper()
		proof, err := auditlog.Prove(t.Context(), s.dir, n, auditlog.VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := proof.Check(l.VerifierKey())
		if err != nil {
			t.Fatal(err)
		}
		openings, err := auditlog.Reveal(t.Context(), salts, r)
		if err != nil {
			t.Fatal(err)
		}
		return &auditlog.Disclosure{Proof: proof, Pointer: "/args/email", Opening: openings["/args/email"], Value: value}
	}
	email := map[string]any{"/args/email": secret}
	if r, err := disclose(2, email).Check(l.VerifierKey()); err != nil || r.Resource != "[masked]" {
		t.Errorf("%+v, %v", r, err)
	}
	for says, change := range map[string]func(d *auditlog.Disclosure){
		"is not this value":               func(d *auditlog.Disclosure) { d.Value = map[string]any{"/args/email": "eve@example.com"} },
		"not of what record 2 has":        func(d *auditlog.Disclosure) { d.Opening = disclose(3, email).Opening },
		"commits to nothing at /args/x":   func(d *auditlog.Disclosure) { d.Pointer = "/args/x" },
		"not the one that the checkpoint": func(d *auditlog.Disclosure) { d.Proof.Line = strings.ReplaceAll(d.Proof.Line, "database", "memory") },
		"no proof of a record":            func(d *auditlog.Disclosure) { d.Proof = nil },
	} {
		d := disclose(2, email)
		change(d)
		_, err := d.Check(l.VerifierKey())
		if kernel.CodeOf(err) != kernel.CodeAuditTampered || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}

	// Erasing: while another process appends, the log stays as it was, and nobody can tell any more.
	l = s.open(t)
	if err := l.Audit(context.Background(), masked(t, "bob@example.com")); err != nil {
		t.Fatal(err)
	}
	erase := map[string]bool{disclose(2, email).Opening.Commitment: true}
	if n, err := auditlog.Erase(t.Context(), salts, erase, time.Time{}); n != 1 || err != nil {
		t.Fatalf("erased %d, %v", n, err)
	}
	if err := l.Audit(context.Background(), masked(t, "cy@example.com")); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := auditlog.Verify(t.Context(), s.dir, auditlog.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	if d := disclose(2, email); d.Opening != (kernel.Opening{}) {
		t.Errorf("an erased salt is there: %+v", d.Opening)
	}
	for n, who := range map[int64]string{3: secret, 4: "eve@example.com", 5: "bob@example.com", 6: "cy@example.com"} {
		if _, err := disclose(n, map[string]any{"/args/email": who}).Check(l.VerifierKey()); err != nil {
			t.Errorf("record %d: %v", n, err)
		}
	}
	if n, err := auditlog.Erase(t.Context(), salts, nil, time.Now().Add(time.Minute)); n != 9 || err != nil { // of ten, one is erased
		t.Errorf("erased %d, %v", n, err)
	}
	if n, err := auditlog.Erase(t.Context(), salts, erase, time.Now().Add(time.Minute)); n != 0 || err != nil {
		t.Errorf("erased %d again, %v", n, err)
	}
}

func TestSaltsRefused(t *testing.T) {
	s := newSite(t)
	opts := s.options()
	opts.SaltsFile = filepath.Join(s.dir, "salts")
	if _, err := auditlog.Open(s.dir, opts); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), "lie in the log") {
		t.Errorf("salts in the log: %v", err)
	}
	opts.SaltsFile = filepath.Join(filepath.Dir(s.dir), "no", "folder")
	l, err := auditlog.Open(s.dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Audit(context.Background(), record(1)); err != nil {
		t.Errorf("nothing is masked: %v", err)
	}
	if err := l.Audit(context.Background(), masked(t, "x")); kernel.CodeOf(err) != kernel.CodeAudit {
		t.Errorf("a record whose salts cannot be kept was written: %v", err)
	}
	r := masked(t, "x")
	if _, err := auditlog.Reveal(t.Context(), opts.SaltsFile, r); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Errorf("no file of salts: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "salts")
	if err := os.WriteFile(broken, []byte(strings.Repeat("x", 200)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := auditlog.Reveal(t.Context(), broken, r); kernel.CodeOf(err) != kernel.CodeAudit || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a broken file of salts: %v", err)
	}
}

// ending is a context that ends once it has been looked at so many times.
type ending struct {
	context.Context
	looks int
}

func (c *ending) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// TestSaltsCanceled: nobody waits for a log, or a file of salts, to be read to its end; what is not read to it erases nothing.
func TestSaltsCanceled(t *testing.T) {
	s := newSite(t)
	l := s.open(t)
	for range 300 {
		if err := l.Audit(t.Context(), masked(t, "ada")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	stops := 0
	for ; ; stops++ { // in the log, and in the salts
		_, r, openings, err := auditlog.Masked(&ending{t.Context(), stops}, s.dir, 300, "", auditlog.VerifyOptions{})
		if err == nil && len(openings) == len(r.Commitments) {
			break
		}
		if kernel.CodeOf(err) != kernel.CodeCanceled || len(openings) > 0 {
			t.Fatalf("after %d looks: %v, %v", stops, openings, err)
		}
	}
	if stops != 5 { // at the 256th record and once it is proven, at the beginning of the salts and at each 256th
		t.Errorf("it is looked at %d times", stops)
	}
	salts := auditlog.SaltsFile(s.dir)
	for looks := range 3 {
		if n, err := auditlog.Erase(&ending{t.Context(), looks}, salts, nil, time.Now().Add(time.Minute)); n != 0 || kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Errorf("after %d looks %d are erased, %v", looks, n, err)
		}
	}
	if n, err := auditlog.Erase(t.Context(), salts, nil, time.Now().Add(time.Minute)); n != 600 || err != nil {
		t.Errorf("erased %d, %v", n, err)
	}
}

// TestSaltsTorn: what a crash left of a line does not move those after it.
func TestSaltsTorn(t *testing.T) {
	s := newSite(t)
	write := func(who string) *kernel.AuditRecord {
		l := s.open(t)
		r := masked(t, who)
		if err := errors.Join(l.Audit(context.Background(), r), l.Close()); err != nil {
			t.Fatal(err)
		}
		return r
	}
	write("ada")
	f, err := os.OpenFile(auditlog.SaltsFile(s.dir), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteString("hmac-sha256:12"); errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
	r := write("eve")
	if found, err := auditlog.Reveal(t.Context(), auditlog.SaltsFile(s.dir), r); err != nil || len(found) != 2 {
		t.Errorf("%v, %v", found, err)
	}
}
