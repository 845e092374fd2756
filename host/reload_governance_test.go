package host_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/extension/policy/signing"
	"github.com/hexdag/hexdag/host/kernel"
)

// listed is a policy that allows who data names, and says in its reason which data it is.
const listed = `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": "allow", "reasons": [{"id": data.version}], "ttl_s": 60} if data.people[input.subject.id] == data.version
`

func (s site) policy(t *testing.T, rego, data string) {
	t.Helper()
	if err := os.MkdirAll(s.path("policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "policies/authz.rego", rego)
	s.write(t, "policies/data.json", data)
}

// allowed runs p and returns the first reason of its being allowed; "" if it was not.
func allowed(t *testing.T, s site, p *host.Pipeline) string {
	t.Helper()
	result := p.Run(t.Context(), "v", host.RunOptions{})
	if result.Status != engine.Completed {
		t.Log(result.Err)
		return ""
	}
	for _, r := range s.records(t) {
		if r.Kind == "decision" && r.RunID == result.RunID && r.Action == "pipeline.run" && r.Effect == kernel.Allow && len(r.Reasons) > 0 {
			return r.Reasons[0].ID
		}
	}
	t.Fatal("the run is not on record")
	return ""
}

// lastRecord is the last one but for those of shadows, which come when they come.
func lastRecord(t *testing.T, s site) kernel.AuditRecord {
	t.Helper()
	all := slices.DeleteFunc(s.records(t), func(r kernel.AuditRecord) bool { return r.Kind == "shadow" })
	return all[len(all)-1]
}

func TestReloadGovernance(t *testing.T) {
	s := governed(t, `{adapter: all_of, config: {of: [{adapter: allow_all, name: all}, {adapter: rego, name: mine, config: {dirs: [policies]}}]}}`)
	s.policy(t, listed, `{"version": "1", "people": {"ada": "1"}}`)
	h := s.open(t)
	p := s.load(t, h, store)
	if got := allowed(t, s, p); got != "1" {
		t.Fatalf("at first: %q", got)
	}
	if changed, err := h.ReloadGovernance(t.Context()); changed || err != nil || lastRecord(t, s).Kind == "policy" {
		t.Errorf("nothing changed: %v, %v", changed, err)
	}
	for name, tc := range map[string]struct{ rego, data, says string }{
		"no Rego":  {"package hexdag.authz\n\ndecision := ", `{}`, "parse_error"},
		"no JSON":  {listed, `{`, "data cannot be used"},
		"no entry": {strings.ReplaceAll(listed, "decision", "other"), `{}`, "no entrypoint"},
	} {
		s.policy(t, tc.rego, tc.data)
		changed, err := h.ReloadGovernance(t.Context())
		wantError(t, err, kernel.CodePolicy, tc.says)
		if r := lastRecord(t, s); changed || r.Action != "policy.reload" || r.Effect != kernel.Forbid || r.Result != string(kernel.CodePolicy) || r.Principal != "ada" || !strings.Contains(r.Detail, tc.says) {
			t.Errorf("%s: changed %v, record %+v", name, changed, r)
		}
		if got := allowed(t, s, p); got != "1" {
			t.Errorf("%s: the old rules do not go on: %q", name, got)
		}
	}
	for version, rego := range map[string]string{"2": listed, "3": listed + "\nelse_ := 1\n"} {
		s.policy(t, rego, fmt.Sprintf(`{"version": %q, "people": {"ada": %[1]q}}`, version))
		changed, err := h.ReloadGovernance(t.Context())
		if r := lastRecord(t, s); !changed || err != nil || r.Action != "policy.reload" || r.Effect != kernel.Allow || r.Revision == "" || !strings.Contains(r.Detail, "takes the place of all_of:") {
			t.Errorf("version %s: %v, %v, record %+v", version, changed, err, r)
		}
		if got := allowed(t, s, p); got != version {
			t.Errorf("version %s: decided by %q", version, got)
		}
	}
}

func TestReloadRoles(t *testing.T) {
	s := governed(t, `{adapter: shadow, config: {live: {adapter: rbac, config: {file: roles.yaml}}, candidate: {adapter: allow_all}}}`)
	roles := func(principal string) {
		s.write(t, "roles.yaml", `{roles: {writer: {allow: [{action: pipeline.run}, {action: "artifacts.*"}]}}, bindings: [{subjects: ["user:`+principal+`"], roles: [writer]}]}`)
	}
	roles("bob")
	h := s.open(t)
	p := s.load(t, h, store)
	if allowed(t, s, p) != "" {
		t.Error("ada may run it")
	}
	roles("ada")
	if changed, err := h.ReloadGovernance(t.Context()); !changed || err != nil {
		t.Error(changed, err)
	}
	if allowed(t, s, p) == "" {
		t.Error("ada may not run it")
	}
	wantError(t, h.PatchPolicy(t.Context(), "", nil), kernel.CodeNotFound, "governance has none")
}

func TestPatchPolicy(t *testing.T) {
	s := governed(t, `{adapter: all_of, config: {of: [{adapter: rego, name: platform, config: {dirs: [policies]}}, {adapter: rbac, name: roles, config: {file: roles.yaml}}, {adapter: shadow, name: tried, config: {live: {adapter: allow_all}, candidate: {adapter: rego, config: {dirs: [policies]}}}}]}}`)
	s.write(t, "roles.yaml", `{roles: {all: {allow: [{action: pipeline.run}, {action: "artifacts.*"}]}}, bindings: [{subjects: ["user:ada"], roles: [all]}]}`)
	s.policy(t, listed, `{"version": "1", "people": {"ada": "1"}}`)
	h := s.open(t)
	p := s.load(t, h, store)
	s.write(t, "roles.yaml", `nonsense`) // which a patch does not read
	patch := func(version string) []host.PolicyPatch {
		return []host.PolicyPatch{{Op: "replace", Path: "/version", Value: version}, {Op: "upsert", Path: "/people/ada", Value: version}}
	}
	if err := h.PatchPolicy(t.Context(), "platform", patch("2")); err != nil {
		t.Fatal(err)
	}
	if r := lastRecord(t, s); r.Action != "policy.patch" || r.Effect != kernel.Allow {
		t.Errorf("%+v", r)
	}
	if got := allowed(t, s, p); got != "2" {
		t.Errorf("decided by %q", got)
	}
	if n := s.differences(t); n > 0 {
		t.Errorf("the candidate differs before it is patched: %d", n)
	}
	if err := h.PatchPolicy(t.Context(), "tried/candidate", []host.PolicyPatch{{Op: "remove", Path: "/people/ada"}}); err != nil {
		t.Error(err)
	}
	if r := lastRecord(t, s); r.Action != "policy.patch" || !strings.Contains(r.Detail, "what changed: tried/candidate") {
		t.Errorf("%+v", r)
	}
	if got := allowed(t, s, p); got != "2" {
		t.Errorf("the candidate's patch: decided by %q", got)
	}
	s.wantDifferences(t)
	wantError(t, h.PatchPolicy(t.Context(), "", patch("4")), kernel.CodeNotFound, "governance has platform, tried/candidate")
	wantError(t, h.PatchPolicy(t.Context(), "platform", []host.PolicyPatch{{Op: "remove", Path: "/gone"}}), kernel.CodePolicy, "none of them was applied")
	if r := lastRecord(t, s); r.Action != "policy.patch" || r.Effect != kernel.Forbid {
		t.Errorf("%+v", r)
	}
	if got := allowed(t, s, p); got != "2" {
		t.Errorf("after what was refused: decided by %q", got)
	}
}

// differences is how many questions of runs a shadow's candidate answered otherwise.
func (s site) differences(t *testing.T) int {
	t.Helper()
	n := 0
	for _, r := range s.records(t) {
		if r.Kind == "shadow" && r.Action == "pipeline.run" && strings.Contains(r.Detail, "the candidate's effect is deny") {
			n++
		}
	}
	return n
}

// wantDifferences waits for one: the candidate is asked beside the run.
func (s site) wantDifferences(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.differences(t) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the candidate decides as it did before")
		}
	}
}

func TestReloadCandidate(t *testing.T) {
	s := governed(t, `{adapter: shadow, config: {live: {adapter: allow_all}, candidate: {adapter: rego, config: {dirs: [policies]}}}}`)
	s.policy(t, listed, `{"version": "1", "people": {"ada": "1"}}`)
	h := s.open(t)
	p := s.load(t, h, store)
	run := func() {
		t.Helper()
		if result := p.Run(t.Context(), "v", host.RunOptions{}); result.Status != engine.Completed {
			t.Fatal(result.Err)
		}
	}
	run()
	if changed, err := h.ReloadGovernance(t.Context()); changed || err != nil {
		t.Errorf("nothing changed: %v, %v", changed, err)
	}
	s.policy(t, listed, `{"version": "2", "people": {"ada": "1"}}`)
	changed, err := h.ReloadGovernance(t.Context())
	if r := lastRecord(t, s); !changed || err != nil || r.Action != "policy.reload" || !strings.Contains(r.Detail, "what changed: candidate") {
		t.Errorf("%v, %v, record %+v", changed, err, r)
	}
	if n := s.differences(t); n > 0 {
		t.Errorf("the candidate differed before: %d", n)
	}
	run()
	s.wantDifferences(t)
}

func TestPatchSignedPolicy(t *testing.T) {
	s := governed(t, `{adapter: rego, config: {file: policy.tar.gz, key: key.pem}}`)
	s.policy(t, listed, `{"version": "1", "people": {"ada": "1"}}`)
	built, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{s.path("policies")}}, regoc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := built.Write(s.path("policy.tar.gz")); err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkix, _ := x509.MarshalPKIXPublicKey(public)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(private)
	privatePEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	s.write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})))
	sign := func(name string) {
		signed, err := signing.Sign(name, []byte(readFile(t, s.path(name))), privatePEM)
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, name, string(signed))
	}
	sign("policy.tar.gz")
	h := s.open(t)
	p := s.load(t, h, store)
	wantError(t, h.PatchPolicy(t.Context(), "", []host.PolicyPatch{{Op: "remove", Path: "/people"}}), kernel.CodePolicy, "are not signed")
	s.write(t, "delta.tar.gz", bundle(t, map[string]string{"patch.json": `{"data": [{"op": "replace", "path": "/version", "value": "2"}, {"op": "replace", "path": "/people/ada", "value": "2"}]}`}))
	wantError(t, h.PatchPolicyFile(t.Context(), "", s.path("delta.tar.gz")), kernel.CodePolicy, "not signed")
	if got := allowed(t, s, p); got != "1" {
		t.Errorf("decided by %q", got)
	}
	sign("delta.tar.gz")
	if err := h.PatchPolicyFile(t.Context(), "", s.path("delta.tar.gz")); err != nil {
		t.Error(err)
	}
	if got := allowed(t, s, p); got != "2" {
		t.Errorf("decided by %q", got)
	}
	s.write(t, "delta.tar.gz", bundle(t, map[string]string{"patch.json": `{}`, "data.json": `{}`}))
	wantError(t, h.PatchPolicyFile(t.Context(), "", s.path("delta.tar.gz")), kernel.CodePolicy, "a delta bundle has nothing but patch.json")
}

// TestReloadGovernanceUnderLoad: while rules are replaced, reloaded and patched, each run
// is allowed, by one version.
func TestReloadGovernanceUnderLoad(t *testing.T) {
	s := governed(t, `{adapter: rego, config: {dirs: [policies]}}`)
	s.policy(t, listed, `{"version": "0", "people": {"ada": "0"}}`)
	h := s.open(t)
	p := s.load(t, h, store)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() {
			for ctx.Err() == nil {
				if result := p.Run(t.Context(), "v", host.RunOptions{}); result.Status != engine.Completed {
					t.Errorf("%s: %v", result.Status, result.Err)
					return
				}
			}
		})
	}
	for i := range 12 {
		version := fmt.Sprint(i + 1)
		var err error
		if i%3 == 0 {
			s.policy(t, listed, fmt.Sprintf(`{"version": %q, "people": {"ada": %[1]q}}`, version))
			_, err = h.ReloadGovernance(t.Context())
		} else {
			err = h.PatchPolicy(t.Context(), "", []host.PolicyPatch{{Op: "replace", Path: "", Value: map[string]any{"version": version, "people": map[string]any{"ada": version}}}})
		}
		if err != nil {
			t.Error(err)
		}
	}
	stop()
	running.Wait()
	for _, r := range s.records(t) { // one revision, one version
		if r.Kind == "call" && r.Effect != kernel.Allow {
			t.Errorf("%+v", r)
		}
	}
}

func TestWatchGovernance(t *testing.T) {
	s := governed(t, `{adapter: rego, config: {dirs: [policies]}}`)
	s.policy(t, listed, `{"version": "1", "people": {"ada": "1"}}`)
	h := s.open(t)
	p := s.load(t, h, store)
	ctx, stop := context.WithCancel(t.Context())
	type report struct {
		changed bool
		err     error
	}
	reports, ended := make(chan report), make(chan struct{})
	go func() {
		defer close(ended)
		h.WatchGovernance(ctx, time.Millisecond, func(changed bool, err error) {
			select {
			case reports <- report{changed, err}:
			case <-ctx.Done():
			}
		})
	}()
	if r := <-reports; r.changed || r.err != nil {
		t.Errorf("at first: %+v", r)
	}
	s.write(t, "policies/data.json", `{"broken`)
	if r := <-reports; r.changed || kernel.CodeOf(r.err) != kernel.CodePolicy {
		t.Errorf("%+v", r)
	}
	s.write(t, "policies/data.json", `{"version": "22", "people": {"ada": "22"}}`)
	if r := <-reports; !r.changed || r.err != nil {
		t.Errorf("%+v", r)
	}
	if got := allowed(t, s, p); got != "22" {
		t.Errorf("decided by %q", got)
	}
	stop()
	<-ended
}

// bundle is a .tar.gz with the files.
func bundle(t *testing.T, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for name, text := range files {
		err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(text))})
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
