package httpapi_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// issuer is an OpenID Connect provider of this test's.
type issuer struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	answer := func(path string, v func() any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v())
		})
	}
	answer("/.well-known/openid-configuration", func() any {
		return map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/a", "token_endpoint": i.URL + "/t", "id_token_signing_alg_values_supported": []string{"RS256"}}
	})
	answer("/keys", func() any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "RS256", Use: "sig"}}}
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) token(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.URL, "aud": "hexdag", "sub": "ada", "tenant": "acme", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestOIDC(t *testing.T) {
	i := newIssuer(t)
	client := i.Client()
	o, err := httpapi.NewOIDC(t.Context(), httpapi.OIDCOptions{Issuer: i.URL, Audience: "hexdag", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	if who, err := o.Authenticate(t.Context(), i.token(t, i.key, nil)); err != nil || who.Principal != "ada" || who.Tenant != "acme" || who.Expires.IsZero() {
		t.Fatal(who, err)
	}
	forged, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"another's signature": i.token(t, forged, nil), "expired": i.token(t, i.key, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"for another": i.token(t, i.key, map[string]any{"aud": "other"}), "another issuer": i.token(t, i.key, map[string]any{"iss": "https://other"}),
		"no tenant": i.token(t, i.key, map[string]any{"tenant": nil}), "a tenant that is no text": i.token(t, i.key, map[string]any{"tenant": []string{"acme"}}), "no token": "abc", "unsigned": "eyJhbGciOiJub25lIn0.e30.",
	} {
		if who, err := o.Authenticate(t.Context(), token); kernel.CodeOf(err) != kernel.CodeDenied || !strings.Contains(err.Error(), "it is not known who calls") {
			t.Errorf("%s: %v %v", name, who, err)
		}
	}
	s := open(t, options{api: httpapi.Options{Authenticators: []httpapi.Authenticator{httpapi.Tokens{}, o}}})
	if a := s.ask(t, i.token(t, i.key, nil), "GET", "/v1/runs", ""); a.status != 200 {
		t.Error(a.text)
	}
	s.ask(t, i.token(t, i.key, map[string]any{"tenant": "nobody"}), "GET", "/v1/runs", "").problem(t, 401, "denied", "there is no tenant nobody here")
	if _, err := httpapi.NewOIDC(t.Context(), httpapi.OIDCOptions{Issuer: i.URL + "/nothing", Audience: "hexdag", Client: client}); kernel.CodeOf(err) != kernel.CodeConfig {
		t.Error(err)
	}
}
