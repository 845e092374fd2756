package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
)

const rfc3339 = time.RFC3339Nano

// Artifact describes an artifact.
type Artifact struct {
	ID          string          `json:"id"`
	RunID       string          `json:"run_id" doc:"The run that it is of."`
	Name        string          `json:"name"`
	Digest      string          `json:"digest" doc:"The SHA-256 of its content."`
	Size        int64           `json:"size" doc:"In bytes."`
	ContentType string          `json:"content_type"`
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	Pipeline    string          `json:"pipeline,omitempty"`
	Node        string          `json:"node,omitempty" doc:"Which stored it."`
	Parents     []string        `json:"parents,omitempty" doc:"What it was made of."`
	Labels      json.RawMessage `json:"labels,omitempty" doc:"Its integrity and confidentiality, where it is not trusted and public."`
	Stored      time.Time       `json:"stored_at"`
}

type artifactBody struct{ Body Artifact }

type artifactInput struct {
	ID string `path:"id" pattern:"^sha256:[0-9a-f]{64}$" doc:"sha256: and 64 hexadecimal digits."`
}

type artifactsInput struct {
	RunID string `query:"run_id" maxLength:"128" doc:"Those of this run alone."`
	After string `query:"after" pattern:"^(sha256:[0-9a-f]{64})?$" doc:"Begin behind this id."`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type artifactsOutput struct {
	Body struct {
		Artifacts []Artifact `json:"artifacts" doc:"In the order of their ids."`
		Next      string     `json:"next,omitempty" doc:"The after of the question that goes on."`
	}
}

// putInput is an upload: its body is read as it comes, and never held as a whole.
type putInput struct {
	RunID       string   `query:"run_id" maxLength:"128" doc:"The run that it is of, which finds it then; of none, if it is left out."`
	Name        string   `query:"name" required:"true" minLength:"1" maxLength:"255" doc:"A path, which need not be unique."`
	Parents     []string `query:"parents" maxItems:"64" doc:"Ids of artifacts that it was made of."`
	ContentType string   `header:"Content-Type" maxLength:"256"`
	Integrity   string   `header:"X-Integrity" enum:"trusted,untrusted" doc:"untrusted where it holds what third parties say: a run that reads it then knows."`
	Secrecy     string   `header:"X-Confidentiality" enum:"public,internal,secret"`

	ctx huma.Context
}

// Resolve keeps what the body is read from.
func (in *putInput) Resolve(ctx huma.Context) []error {
	in.ctx = ctx
	return nil
}

type putOutput struct {
	Location string `header:"Location"`
	Body     Artifact
}

func (s *Server) routeArtifacts() {
	bytes := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	huma.Register(s.api, huma.Operation{OperationID: "list-artifacts", Method: http.MethodGet, Path: "/v1/artifacts", Summary: "What runs have stored", Tags: []string{"artifacts"}}, s.listArtifacts)
	huma.Register(s.api, huma.Operation{OperationID: "get-artifact", Method: http.MethodGet, Path: "/v1/artifacts/{id}", Summary: "What there is to say of an artifact", Tags: []string{"artifacts"}}, s.getArtifact)
	huma.Register(s.api, huma.Operation{OperationID: "artifact-content", Method: http.MethodGet, Path: "/v1/artifacts/{id}/content", Summary: "The content of an artifact", Tags: []string{"artifacts"},
		Description: "Its bytes, compared with their digest as they are sent: a connection that breaks off before Content-Length bytes had come brought something else than was stored. It is to be saved, not shown: third parties may have made it.",
		Responses:   map[string]*huma.Response{"200": {Description: "The bytes.", Content: bytes}}}, s.artifactContent)
	huma.Register(s.api, huma.Operation{OperationID: "store-artifact", Method: http.MethodPost, Path: "/v1/artifacts", Summary: "Store an artifact", DefaultStatus: http.StatusCreated, Tags: []string{"artifacts"},
		Description: "The body is the content. The same, stored twice, is one artifact.",
		RequestBody: &huma.RequestBody{Content: bytes, Required: true}}, s.storeArtifact)
	huma.Register(s.api, huma.Operation{OperationID: "delete-artifact", Method: http.MethodDelete, Path: "/v1/artifacts/{id}", Summary: "Remove an artifact", Tags: []string{"artifacts"}}, s.deleteArtifact)
}

// The actions on artifacts, which governance is asked about.
const (
	actionArtifactList   = "artifact.list"
	actionArtifactRead   = "artifact.read"
	actionArtifactStore  = "artifact.store"
	actionArtifactDelete = "artifact.delete"
)

func noArtifact(id string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no artifact " + kernel.Quote(id), Fix: "GET /v1/artifacts lists them"}
}

// artifacts are the tenant's store.
func (t *tenant) artifacts() (*artifacts.Store, error) {
	if store := t.host.Artifacts(); store != nil {
		return store, nil
	}
	return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: "the artifacts of this server cannot be reached", Why: "the program that embeds the host keeps them"}
}

// artifact returns one of the tenant's: a store may be several tenants', of which each has its own alone.
func (t *tenant) artifact(ctx context.Context, id string) (*host.Artifact, *artifacts.Store, error) {
	store, err := t.artifacts()
	if err != nil {
		return nil, nil, err
	}
	a, err := store.Describe(ctx, id)
	if err != nil && kernel.CodeOf(err) != kernel.CodeNotFound {
		return nil, nil, err
	}
	if err != nil || a.Origin.Tenant != t.name {
		return nil, nil, noArtifact(id)
	}
	return a, store, nil
}

func ofArtifact(a *host.Artifact) Artifact {
	out := Artifact{ID: a.ID, RunID: a.RunID, Name: a.Name, Digest: a.Digest, Size: a.Size, ContentType: a.ContentType, Pipeline: a.Origin.Pipeline, Node: a.Origin.Node, Parents: a.Origin.Parents, Stored: a.Stored}
	if len(a.Metadata) > 0 {
		out.Metadata, _ = json.Marshal(a.Metadata) // it was read from JSON
	}
	if a.Labels != nil {
		out.Labels, _ = json.Marshal(a.Labels)
	}
	return out
}

func artifactResource(id string) kernel.Resource { return kernel.Resource{Type: "artifact", ID: id} }

func (s *Server) listArtifacts(ctx context.Context, in *artifactsInput) (*artifactsOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionArtifactList, tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	store, err := t.artifacts()
	if err != nil {
		return nil, answer(err)
	}
	out := &artifactsOutput{}
	out.Body.Artifacts = []Artifact{}
	looked := 0
	for a, err := range store.Page(ctx, in.RunID, in.After) {
		if a == nil {
			return nil, answer(err)
		}
		if looked++; err == nil && a.Origin.Tenant == t.name {
			out.Body.Artifacts = append(out.Body.Artifacts, ofArtifact(a))
		}
		if len(out.Body.Artifacts) == in.Limit || looked == maxLooked {
			out.Body.Next = a.ID
			break
		}
	}
	return out, nil
}

// maxLooked is how many artifacts, others' among them, one list looks at.
const maxLooked = 10_000

func (s *Server) getArtifact(ctx context.Context, in *artifactInput) (*artifactBody, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionArtifactRead, artifactResource(in.ID)); err != nil {
		return nil, answer(err)
	}
	a, _, err := t.artifact(ctx, in.ID)
	if err != nil {
		return nil, answer(err)
	}
	return &artifactBody{ofArtifact(a)}, nil
}

func (s *Server) artifactContent(ctx context.Context, in *artifactInput) (*huma.StreamResponse, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionArtifactRead, artifactResource(in.ID)); err != nil {
		return nil, answer(err)
	}
	a, store, err := t.artifact(ctx, in.ID)
	if err != nil {
		return nil, answer(err)
	}
	content, _, err := store.Retrieve(ctx, a.ID)
	if err != nil {
		return nil, answer(err)
	}
	return &huma.StreamResponse{Body: func(out huma.Context) {
		defer content.Close()
		for name, value := range map[string]string{
			"Content-Type": a.ContentType, "Content-Length": strconv.FormatInt(a.Size, 10), "ETag": `"` + a.ID + `"`,
			"Content-Disposition":    mime.FormatMediaType("attachment", map[string]string{"filename": a.Name[strings.LastIndexByte(a.Name, '/')+1:]}),
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox", // nothing of it is a page of this server's
		} {
			out.SetHeader(name, value)
		}
		w := rawWriter(out)
		if err := copyVerified(&patient{w, http.NewResponseController(w)}, content); err != nil {
			s.log.WarnContext(ctx, "an artifact was not sent to its end", "tenant", t.name, "artifact", a.ID, "error", err.Error())
		}
	}}, nil
}

// copyVerified copies what tells at its end whether it was what was stored: it keeps the last piece back until then, so that nobody has all of what
// is not.
func copyVerified(w io.Writer, r io.Reader) error {
	held, piece := make([]byte, 0, copyPiece), make([]byte, copyPiece)
	for {
		n, err := r.Read(piece)
		if n > 0 {
			if len(held) > 0 {
				if _, err := w.Write(held); err != nil {
					return err
				}
			}
			held = append(held[:0], piece[:n]...)
		}
		if errors.Is(err, io.EOF) {
			_, err := w.Write(held)
			return err
		}
		if err != nil {
			return err
		}
	}
}

const copyPiece = 64 << 10

// patient is a client that has so long for each piece.
type patient struct {
	w       io.Writer
	control *http.ResponseController
}

func (p *patient) Write(data []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(bodyTimeout)); err != nil && !isUnsupported(err) {
		return 0, err
	}
	return p.w.Write(data)
}

// upload is what a client sends, in pieces for each of which it has so long.
type upload struct {
	r       io.Reader
	control *http.ResponseController
	most    int64
}

func (u *upload) Read(p []byte) (int, error) {
	if err := u.control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !isUnsupported(err) {
		return 0, err
	}
	n, err := u.r.Read(p)
	if u.most -= int64(n); u.most < 0 {
		return 0, errUpload
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return 0, errUpload
	case err != nil && !errors.Is(err, io.EOF):
		err = &kernel.Error{Code: kernel.CodeCanceled, What: "the upload has broken off", Why: kernel.Quote(err.Error()), Fix: "send it again; nothing was stored", Err: err}
	}
	return n, err
}

var errUpload = errors.New("the upload is too large")

func (s *Server) storeArtifact(ctx context.Context, in *putInput) (*putOutput, error) {
	t, who := s.of(ctx)
	run := cmp.Or(in.RunID, "upload-"+t.name)
	if err := t.host.Allow(ctx, who.Principal, actionArtifactStore, runResource(run)); err != nil {
		return nil, answer(err)
	}
	if in.RunID != "" { // another tenant's run may keep what it stores in the same place
		if _, err := s.stands(ctx, t, run); err != nil {
			return nil, answer(err)
		}
	}
	store, err := t.artifacts()
	if err != nil {
		return nil, answer(err)
	}
	opts := host.StoreOptions{ContentType: in.ContentType, Origin: host.Origin{Tenant: t.name, Node: "http:" + who.Principal}}
	if opts.Labels, err = kernel.NewLabels(kernel.Integrity(in.Integrity), kernel.Confidentiality(in.Secrecy), labelSource(in)...); err != nil {
		return nil, answer(err)
	}
	for _, id := range in.Parents {
		parent, _, err := t.artifact(ctx, id)
		if err != nil {
			return nil, answer(err)
		}
		opts.Origin.Parents = append(opts.Origin.Parents, parent.ID)
	}
	control := http.NewResponseController(rawWriter(in.ctx))
	a, err := store.Store(ctx, run, in.Name, &upload{in.ctx.BodyReader(), control, s.opts.MaxUpload}, opts)
	if errors.Is(err, errUpload) {
		return nil, problemOf(http.StatusRequestEntityTooLarge, uploadTooLarge(s.opts.MaxUpload))
	}
	if err != nil {
		return nil, answer(err)
	}
	return &putOutput{Location: "/v1/artifacts/" + a.ID, Body: ofArtifact(a)}, nil
}

func labelSource(in *putInput) []string {
	if cmp.Or(in.Integrity, "trusted") == "trusted" && cmp.Or(in.Secrecy, "public") == "public" {
		return nil
	}
	return []string{"upload"}
}

func uploadTooLarge(most int64) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: "the artifact is too large", Why: "the limit is " + itoa(most) + " bytes", Fix: "store it in parts, or have the operator raise server.max_upload"}
}

func (s *Server) deleteArtifact(ctx context.Context, in *artifactInput) (*struct{}, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionArtifactDelete, artifactResource(in.ID)); err != nil {
		return nil, answer(err)
	}
	a, store, err := t.artifact(ctx, in.ID)
	if err != nil {
		return nil, answer(err)
	}
	return nil, answer(store.Delete(ctx, a.ID))
}
