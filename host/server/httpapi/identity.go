package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/tracing"
)

// Identity is who calls.
type Identity struct {
	Tenant    string
	Principal string
	Expires   time.Time // of what it was shown by; zero is never
}

// Authenticator says who shows a bearer token. The error is of CodeDenied where nobody does.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (*Identity, error)
}

// Tokens are the identities of tokens, by the hex of each token's SHA-256: a file that is read by others gives none away.
type Tokens map[string]Identity

// Authenticate implements Authenticator.
func (t Tokens) Authenticate(_ context.Context, token string) (*Identity, error) {
	who, known := t[TokenDigest(token)]
	switch {
	case !known:
		return nil, unauthenticated("the token is not known", "show one that is in the file of tokens")
	case !who.Expires.IsZero() && time.Now().After(who.Expires):
		return nil, unauthenticated("the token has expired at "+who.Expires.UTC().Format(time.RFC3339), "make a new one: hexdag serve token")
	}
	return &who, nil
}

// TokenDigest is what a file of tokens has of one.
func TokenDigest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func unauthenticated(why, fix string) error {
	return &kernel.Error{Code: kernel.CodeDenied, What: "it is not known who calls", Why: why, Fix: fix}
}

// LoadTokens reads a file: tokens: [{sha256, tenant, principal, expires?}].
func LoadTokens(file string) (Tokens, error) {
	refuse := func(why, fix string, err error) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the file of tokens cannot be used", Where: kernel.Where{File: file}, Why: why, Fix: fix, Err: err}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, refuse(err.Error(), "name a file that can be read", err)
	}
	var doc struct {
		Tokens []struct {
			SHA256    string    `yaml:"sha256"`
			Tenant    string    `yaml:"tenant"`
			Principal string    `yaml:"principal"`
			Expires   time.Time `yaml:"expires"`
		} `yaml:"tokens"`
	}
	if err := yaml.UnmarshalWithOptions(text, &doc, yaml.Strict()); err != nil {
		return nil, refuse(kernel.Quote(err.Error()), "write tokens: [{sha256, tenant, principal, expires}]", err)
	}
	tokens := Tokens{}
	for i, e := range doc.Tokens {
		sum, err := hex.DecodeString(e.SHA256)
		switch {
		case err != nil || len(sum) != sha256.Size:
			return nil, refuse(fmt.Sprintf("tokens[%d].sha256 is no SHA-256 in hex", i), "'hexdag serve token' writes an entry", err)
		case e.Tenant == "" || e.Principal == "":
			return nil, refuse(fmt.Sprintf("tokens[%d] names no tenant, or no principal", i), "name both", nil)
		}
		tokens[strings.ToLower(e.SHA256)] = Identity{Tenant: e.Tenant, Principal: e.Principal, Expires: e.Expires}
	}
	return tokens, nil
}

type identityKey struct{}

// identityFrom returns who calls.
func identityFrom(ctx context.Context) *Identity {
	who, _ := ctx.Value(identityKey{}).(*Identity)
	return who
}

// maxToken is how long a token may be.
const maxToken = 16 << 10

// bearer returns the token that a request shows; "" where it shows none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken {
		return ""
	}
	return strings.TrimSpace(token)
}

// authenticated lets requests pass of which it is known who makes them; open are paths that anybody may ask for.
func (s *Server) authenticated(next http.Handler, open map[string]bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if open[r.URL.Path] {
			next.ServeHTTP(w, r)
			return
		}
		who, err := s.identify(r)
		if err == nil && s.tenants[who.Tenant] == nil {
			err = unauthenticated("there is no tenant "+kernel.Quote(who.Tenant)+" here", "ask the operator")
		}
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="hexdag"`)
			s.refuse(w, r, http.StatusUnauthorized, err)
			return
		}
		ctx := tracing.Within(r.Context(), tracing.Join(r.Header.Get("Traceparent"), strings.Join(r.Header.Values("Tracestate"), ","))) // of whoever is known alone
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, identityKey{}, who)))
	})
}

func (s *Server) identify(r *http.Request) (*Identity, error) {
	if s.opts.Local != nil { // nobody else can reach it
		return s.opts.Local, nil
	}
	token := bearer(r)
	if token == "" {
		return nil, unauthenticated("the request shows no token", "send Authorization: Bearer TOKEN")
	}
	var last error
	for _, a := range *s.access.Load() {
		who, err := a.Authenticate(r.Context(), token)
		if err == nil {
			return who, nil
		}
		last = err
	}
	return nil, last
}
