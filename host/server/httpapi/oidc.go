package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/hexdag/hexdag/host/kernel"
)

// OIDCOptions say whose tokens are taken, and which of their claims say who it is.
type OIDCOptions struct {
	Issuer    string
	Audience  string
	Tenant    string // the claim that names the tenant; "" is tenant
	Principal string // that of the principal; "" is sub
	Client    *http.Client
}

// OIDC takes the tokens of an OpenID Connect provider: JWTs for an audience, by the keys that the provider publishes.
type OIDC struct {
	verifier          *oidc.IDTokenVerifier
	tenant, principal string
}

// discovery is how long the provider has to answer what it is.
const discovery = 10 * time.Second

// NewOIDC asks the provider for what it publishes.
func NewOIDC(ctx context.Context, o OIDCOptions) (*OIDC, error) {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: discovery}
	}
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), o.Client) // the keys are asked for again when they change
	provider, err := oidc.NewProvider(ctx, o.Issuer)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the issuer " + kernel.Quote(o.Issuer) + " cannot be used", Why: kernel.Quote(err.Error()), Fix: "set server.oidc.issuer to the URL below which it publishes .well-known/openid-configuration", Err: err}
	}
	return &OIDC{provider.VerifierContext(ctx, &oidc.Config{ClientID: o.Audience}), cmp.Or(o.Tenant, "tenant"), cmp.Or(o.Principal, "sub")}, nil
}

// Authenticate implements Authenticator.
func (o *OIDC) Authenticate(ctx context.Context, token string) (*Identity, error) {
	shown, err := o.verifier.Verify(ctx, token)
	if err != nil {
		return nil, unauthenticated(kernel.Quote(err.Error()), "get a new token of the issuer, for this server")
	}
	claims := map[string]any{}
	if err := shown.Claims(&claims); err != nil {
		return nil, unauthenticated(kernel.Quote(err.Error()), "get a token of the issuer")
	}
	tenant, _ := claims[o.tenant].(string)
	principal, _ := claims[o.principal].(string)
	if tenant == "" || principal == "" {
		return nil, unauthenticated("the token has no claim "+kernel.Quote(o.tenant)+", or none "+kernel.Quote(o.principal), "have the issuer add them, or name others in server.oidc")
	}
	return &Identity{Tenant: tenant, Principal: principal, Expires: shown.Expiry}, nil
}
