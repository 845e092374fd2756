package authzen

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/hexdag/hexdag/host/kernel"
)

// HandlerOptions say who may ask.
type HandlerOptions struct {
	// Token is the bearer token that whoever asks has to have; "" takes everyone.
	Token string
}

// maxQuestion is how large a question can be, in bytes.
const maxQuestion = 1 << 20

// Handler answers AuthZEN's access evaluation requests, at EvaluationPath, with what
// authorizer decides: a governance.Port, which fails closed. It is true for Allow alone.
// What is in a request and cannot be shown to policies is answered with status 400,
// since they might have denied because of it.
func Handler(authorizer kernel.Authorizer, opts HandlerOptions) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+EvaluationPath, &handler{authorizer: authorizer, token: sha256.Sum256([]byte(opts.Token)), open: opts.Token == ""})
	return mux
}

type handler struct {
	authorizer kernel.Authorizer
	token      [sha256.Size]byte // its digest, so that comparing takes the same time for each
	open       bool
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-ID"); id != "" && len(id) <= 128 {
		w.Header().Set("X-Request-ID", id)
	}
	if !h.open && !h.known(r.Header.Get("Authorization")) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
		return
	}
	req, err := readEvaluation(w, r)
	if err != nil {
		http.Error(w, kernel.Quote(err.Error()), http.StatusBadRequest)
		return
	}
	answer, err := h.answer(r.Context(), req)
	if err != nil {
		http.Error(w, "the decision cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(answer) // whoever asked may have gone
}

func (h *handler) known(authorization string) bool {
	const scheme = "Bearer "
	if len(authorization) < len(scheme) || authorization[:len(scheme)] != scheme {
		return false
	}
	given := sha256.Sum256([]byte(authorization[len(scheme):]))
	return subtle.ConstantTimeCompare(given[:], h.token[:]) == 1
}

func (h *handler) answer(ctx context.Context, req *kernel.AccessRequest) ([]byte, error) {
	d, err := h.authorizer.Authorize(ctx, req)
	if err != nil {
		d = kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: "hexdag.governance.error", Msg: kernel.Quote(err.Error())}}}
	}
	d.Revision = "" // not part of the document
	document, err := kernel.ToValue(d)
	if err != nil {
		return nil, err
	}
	return kernel.EncodeJSON(map[string]any{"decision": d.Effect == kernel.Allow, "context": map[string]any{"hexdag": document}})
}

func readEvaluation(w http.ResponseWriter, r *http.Request) (*kernel.AccessRequest, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, errors.New("a request is application/json")
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	if err != nil {
		return nil, err
	}
	v, err := kernel.DecodeJSON(text) // strictly: no member twice
	if err != nil {
		return nil, err
	}
	var question struct {
		Subject struct {
			Type       string `json:"type"`
			ID         string `json:"id"`
			Properties struct {
				Tenant string   `json:"tenant"`
				Chain  []string `json:"on_behalf_of"`
			} `json:"properties"`
		} `json:"subject"`
		Action struct {
			Name       string         `json:"name"`
			Properties map[string]any `json:"properties"`
		} `json:"action"`
		Resource kernel.Resource `json:"resource"`
		Context  kernel.Scope    `json:"context"`
	}
	if err := kernel.FromValue(v, &question); err != nil {
		return nil, err
	}
	s := question.Subject
	for name, text := range map[string]string{"subject.type": s.Type, "subject.id": s.ID, "action.name": question.Action.Name, "resource.type": question.Resource.Type, "resource.id": question.Resource.ID} {
		if text == "" {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	return &kernel.AccessRequest{
		Subject:  kernel.Subject{Type: s.Type, ID: s.ID, Tenant: s.Properties.Tenant, Chain: s.Properties.Chain},
		Action:   kernel.Act{Name: question.Action.Name, Args: question.Action.Properties},
		Resource: question.Resource, Context: question.Context,
	}, nil
}
