package pipeline

import (
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// ServerSpec is what 'hexdag serve' offers, and to whom. Zero fields mean the defaults.
type ServerSpec struct {
	Address   string
	Pipelines []string // files and folders
	Tokens    string   // the file of tokens; "" is none
	OIDC      *OIDCSpec
	Tenants   []string      // whose members may call; none is the configuration's own
	Grace     time.Duration // that runs have to end in when the server ends

	MaxBody    int // bytes of a request
	MaxUpload  int // bytes of an artifact
	MaxRunning int // runs of a tenant at once
	PerSecond  int // requests of a principal
	MaxStreams int // clients that follow events
	Where      kernel.Where
}

// OIDCSpec says whose tokens are taken, and what in them says who it is.
type OIDCSpec struct {
	Issuer    string
	Audience  string
	Tenant    string // the claim that names the tenant; "" is tenant
	Principal string // that of the principal; "" is sub
}

func (r *reader) readServer(c *Config, s *source.Section) ServerSpec {
	spec := ServerSpec{
		Where: s.At.Where(), Address: s.Text("address"), Tenants: s.Texts("tenants"), Grace: s.Seconds("grace"),
		MaxBody: s.Amount("max_body"), MaxUpload: s.Amount("max_upload"), MaxRunning: s.Amount("max_running"), PerSecond: s.Amount("per_second"), MaxStreams: s.Amount("max_streams"),
	}
	for _, path := range s.Texts("pipelines") {
		spec.Pipelines = append(spec.Pipelines, c.resolve(path))
	}
	if file := s.Text("tokens"); file != "" {
		spec.Tokens = c.resolve(file)
	}
	if o := s.Member("oidc"); o != nil {
		spec.OIDC = &OIDCSpec{Issuer: o.Required("issuer"), Audience: o.Required("audience"), Tenant: o.Text("tenant"), Principal: o.Text("principal")}
		o.Rest()
	}
	s.Rest()
	return spec
}
