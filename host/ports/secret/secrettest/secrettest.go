// Package secrettest is the suite that every backend of the secret port passes.
package secrettest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/secret"
	"github.com/hexdag/hexdag/host/ports/secret/driver"
)

// Harness makes what the suite tests: a store with these secrets, and what replaces one of them.
// The names are letters and '_'. The suite closes the store.
type Harness func(t *testing.T, secrets map[string]string) (s driver.Store, ref func(name string) string, replace func(name, value string))

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Values", h.testValues)
	t.Run("Use", h.testUse)
	t.Run("NotHandedOut", h.testNotHandedOut)
	t.Run("Replaced", h.testReplaced)
	t.Run("Concurrent", h.testConcurrent)
	t.Run("Ended", h.testEnded)
	t.Run("Closed", h.testClosed)
}

// canary is what no error may hold.
const canary = "sk_live_CANARY_4242"

func (h Harness) testValues(t *testing.T) {
	secrets := map[string]string{
		"plain": canary, "quotes": `"'\` + "`$(id)", "odd": "日本 🦔 ", "multi": "-----BEGIN-----\nabc\n-----END-----\n", "colon": "a: b # c", "number": "0042", "truth": "yes", "null_": "null", "long": strings.Repeat("x", 10_000),
	}
	s, ref, _ := h(t, secrets)
	defer s.Close()
	for name, want := range secrets {
		if err := s.Check(ref(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := s.Get(t.Context(), ref(name)); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"absent", "PLAIN", "plain_"} {
		if got, err := s.Get(t.Context(), ref(name)); !errors.Is(err, driver.ErrNotFound) || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// open returns a run whose door has the secrets' operations and nothing else.
func (h Harness) open(t *testing.T, specs map[string]secret.Spec, values map[string]string) (context.Context, *secret.Secrets) {
	t.Helper()
	store, ref, _ := h(t, values)
	for name, spec := range specs {
		spec.From = ref(name)
		specs[name] = spec
	}
	s, err := secret.New(store, specs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ops := s.Ops()
	return kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "run", Tenant: "acme", Door: func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == call.Op })
		return ops[i].Func(ctx, call)
	}}), s
}

func (h Harness) testUse(t *testing.T) {
	ctx, _ := h.open(t, map[string]secret.Spec{
		"plain": {Hosts: []string{"api.example.com", "*.Example.org:8443"}}, "clear": {Hosts: []string{"http://localhost:8080"}}, "absent": {Hosts: []string{"**"}}, "binary": {Hosts: []string{"**"}},
	}, map[string]string{"plain": canary, "clear": "in the clear", "other": canary})
	for _, c := range []struct {
		name, host string
		secure     bool
		code       kernel.Code
		says       string
	}{
		{"plain", "api.example.com", true, "", ""}, {"plain", "a.example.org:8443", true, "", ""}, {"clear", "localhost:8080", false, "", ""}, {"clear", "localhost:8080", true, "", ""},
		{"plain", "api.example.com", false, kernel.CodeDenied, "which encrypts nothing"}, {"plain", "api.example.com:8443", true, kernel.CodeDenied, "does not list it"}, {"plain", "evil.example", true, kernel.CodeDenied, "does not list it"},
		{"plain", "a.b.example.org:8443", true, kernel.CodeDenied, "does not list it"}, {"absent", "evil.example", true, kernel.CodeNotFound, "there is no secret absent"}, {"other", "api.example.com", true, kernel.CodeNotFound, "there is no secret other"},
		{"", "api.example.com", true, kernel.CodeNotFound, "no secret"},
	} {
		values, err := secret.Use(ctx, &kernel.PortCall{Op: "http.request"}, []string{c.name}, c.host, c.secure)
		if kernel.CodeOf(err) != c.code || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), canary)) {
			t.Errorf("%+v: %v", c, err)
		}
		if c.code == "" && values.Put("Bearer "+secret.Handle(c.name)) != "Bearer "+map[string]string{"plain": canary, "clear": "in the clear"}[c.name] {
			t.Errorf("%+v: it is not put in place", c)
		}
		for _, text := range []string{fmt.Sprint(values), fmt.Sprintf("%v %+v %#v %s", values, values, values, values)} {
			if strings.Contains(text, canary) {
				t.Errorf("it prints as %s", text)
			}
		}
	}
}

// testNotHandedOut: whoever asks for a secret gets a handle, or nothing.
func (h Harness) testNotHandedOut(t *testing.T) {
	ctx, s := h.open(t, map[string]secret.Spec{"plain": {Hosts: []string{"**"}}, "absent": {Hosts: []string{"**"}}}, map[string]string{"plain": canary})
	call := func(op string, args map[string]any) (string, error) {
		i := slices.IndexFunc(s.Ops(), func(o ports.Op) bool { return o.Name == op })
		reply, err := s.Ops()[i].Func(ctx, &kernel.PortCall{Op: op, Args: args})
		if err != nil {
			return "", err
		}
		text, err := kernel.EncodeJSON(reply.Value)
		return string(text), err
	}
	if got, err := call("secret.get", map[string]any{"name": "plain"}); got != `{"handle":"<secret:plain>","name":"plain"}` || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	for _, c := range []struct {
		op   string
		args map[string]any
		code kernel.Code
	}{
		{"secret.use", map[string]any{"name": "plain", "host": "evil.example"}, kernel.CodeDenied}, {"secret.use", map[string]any{"name": "absent", "host": "evil.example"}, kernel.CodeDenied}, {"secret.use", map[string]any{"name": "nothing", "host": "x"}, kernel.CodeDenied},
		{"secret.get", map[string]any{"name": "absent"}, kernel.CodeNotFound}, {"secret.get", map[string]any{"name": "nothing"}, kernel.CodeNotFound}, {"secret.get", map[string]any{}, kernel.CodeArguments}, {"secret.get", map[string]any{"name": []any{"plain"}}, kernel.CodeArguments},
		{"secret.use", map[string]any{"name": "plain"}, kernel.CodeArguments}, {"secret.get", map[string]any{"name": "plain", "raw": true}, kernel.CodeArguments},
	} {
		if got, err := call(c.op, c.args); kernel.CodeOf(err) != c.code || strings.Contains(got+fmt.Sprint(err), canary) {
			t.Errorf("%s %v: %s, %v", c.op, c.args, got, err)
		}
	}
}

func (h Harness) testReplaced(t *testing.T) {
	s, ref, replace := h(t, map[string]string{"plain": "first", "other": "x"})
	defer s.Close()
	if got, err := s.Get(t.Context(), ref("plain")); got != "first" || err != nil {
		t.Fatal(got, err)
	}
	replace("plain", "second")
	if got, err := s.Get(t.Context(), ref("plain")); got != "second" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func (h Harness) testConcurrent(t *testing.T) {
	s, ref, replace := h(t, map[string]string{"plain": "aaaa", "other": "x"})
	defer s.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				got, err := s.Get(t.Context(), ref("plain"))
				if err != nil || got != "aaaa" && got != "bbbb" {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	replace("plain", "bbbb")
	wg.Wait()
}

func (h Harness) testEnded(t *testing.T) {
	s, ref, _ := h(t, map[string]string{"plain": canary})
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Get(ctx, ref("plain")); !errors.Is(err, context.Canceled) || got != "" {
		t.Errorf("%q, %v", got, err)
	}
}

func (h Harness) testClosed(t *testing.T) {
	s, ref, _ := h(t, map[string]string{"plain": canary})
	if _, err := s.Get(t.Context(), ref("plain")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got, err := s.Get(t.Context(), ref("plain")); err == nil || got != "" {
		t.Errorf("a closed store answers %q", got)
	}
}
