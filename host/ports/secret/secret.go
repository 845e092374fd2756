// Package secret is the port to secrets that nobody in a pipeline ever reads. A node or a module
// writes a handle, <secret:NAME>, where the secret belongs into a request; the http port puts the
// value in its place when the request leaves the host, if it goes where the operator lets this
// secret go and if everybody on whose behalf it is made may use it.
//
// Backends are the packages below this one; they implement package driver. envsecret reads this
// process's environment, agesecret a file that age encrypted, vaultsecret what speaks the HTTP API of
// Vault's KV version 2.
package secret

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret/driver"
)

// Spec says what a secret is and where it may go. The JSON form is what an operator configures.
type Spec struct {
	From  string   `json:"from"`  // the backend's reference; the secret's name if empty
	Hosts []string `json:"hosts"` // patterns as of the http port; http:// before one lets it go unencrypted
}

// name is how secrets are called.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// maxValue is how many bytes a secret has at most.
const maxValue = 64 << 10

// maxSecrets is how many an operator can configure.
const maxSecrets = 1000

// Secrets are those that an operator configured. They may be used by several goroutines.
type Secrets struct {
	store driver.Store
	specs map[string]Spec
}

// New returns the secrets over a store. Closing them closes the store. What is wrong with specs
// is a CodeConfig error.
func New(store driver.Store, specs map[string]Spec) (*Secrets, error) {
	s := &Secrets{store: store, specs: map[string]Spec{}}
	if len(specs) > maxSecrets {
		return nil, configError("", "there are %d secrets, at most %d", len(specs), maxSecrets)
	}
	for n, spec := range specs {
		if !name.MatchString(n) {
			return nil, configError("use letters, digits, '_', '.' and '-', at most 64", "%s is no name of a secret", kernel.Quote(n))
		}
		if spec.From == "" {
			spec.From = n
		}
		if err := store.Check(spec.From); err != nil {
			return nil, configError("see README, Secrets", "secret %s: from: %s", n, kernel.Quote(err.Error()))
		}
		if len(spec.Hosts) == 0 {
			return nil, configError("add hosts: [api.example.com]", "secret %s may go nowhere", n)
		}
		for _, host := range spec.Hosts {
			if text := strings.TrimPrefix(host, "http://"); text == "" || strings.ContainsAny(text, "/@ ") {
				return nil, configError("write it as in api.example.com, *.example.com:8443 or http://localhost:8080", "secret %s: %s is no host", n, kernel.Quote(host))
			}
		}
		s.specs[n] = spec
	}
	return s, nil
}

func configError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the secret port's configuration: " + fmt.Sprintf(format, args...), Fix: fix}
}

// Close releases what the backend holds.
func (s *Secrets) Close() error { return s.store.Close() }

// Handle is how a secret is written into a request.
func Handle(name string) string { return "<secret:" + name + ">" }

// handle finds them.
var handle = regexp.MustCompile(`<secret:([A-Za-z0-9][A-Za-z0-9_.-]{0,63})>`)

// Names returns the names of the handles in the texts of a JSON value, each once, sorted.
func Names(value kernel.Value) []string {
	found := map[string]bool{}
	collect(value, found)
	return slices.Sorted(maps.Keys(found))
}

func collect(value kernel.Value, found map[string]bool) {
	switch t := value.(type) {
	case string:
		if strings.Contains(t, "<secret:") {
			for _, match := range handle.FindAllStringSubmatch(t, -1) {
				found[match[1]] = true
			}
		}
	case []any:
		for _, item := range t {
			collect(item, found)
		}
	case map[string]any:
		for _, item := range t {
			collect(item, found)
		}
	}
}

// get returns a secret that may go to a host, which is that of an https URL if secure.
func (s *Secrets) get(ctx context.Context, name, host string, secure bool) (string, error) {
	spec, known := s.specs[name]
	if !known {
		return "", absent(name)
	}
	if !slices.ContainsFunc(spec.Hosts, func(pattern string) bool {
		pattern, unencrypted := strings.CutPrefix(pattern, "http://")
		return (secure || unencrypted) && abi.Match(strings.ToLower(pattern), host)
	}) {
		why := "hosts of the secret does not list it"
		if !secure {
			why = "hosts of the secret does not list it for http, which encrypts nothing"
		}
		return "", &kernel.Error{Code: kernel.CodeDenied, What: "secret " + name + " may not be sent to " + kernel.Quote(host), Why: why, Fix: "if it is to go there, add it under hosts of the secret in the configuration"}
	}
	return s.read(ctx, name, spec)
}

func (s *Secrets) read(ctx context.Context, name string, spec Spec) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", kernel.ContextError(ctx)
	}
	value, err := s.store.Get(ctx, spec.From)
	var known *kernel.Error
	switch {
	case errors.Is(err, driver.ErrNotFound) || err == nil && value == "":
		return "", absent(name)
	case err != nil && ctx.Err() != nil:
		return "", kernel.ContextError(ctx)
	case errors.As(err, &known):
		return "", err
	case err != nil:
		return "", &kernel.Error{Code: kernel.CodeUnavailable, What: "secret " + name + " cannot be read", Fix: "see to the secret port's backend"} // whatever its words, they are not for guests
	case len(value) > maxValue || !utf8.ValidString(value):
		return "", &kernel.Error{Code: kernel.CodeUnavailable, What: "secret " + name + " cannot be used", Why: fmt.Sprintf("it is no text of at most %d bytes", maxValue), Fix: "store it as base64"}
	}
	return value, nil
}

func absent(name string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no secret " + kernel.Quote(name), Fix: "have the operator configure it under secrets of the secret port, and store it"}
}
