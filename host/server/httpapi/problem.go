package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host/kernel"
)

// Problem is what went wrong, as RFC 9457 has it: title is what, detail why and how to mend it; code is ours, and stable.
type Problem struct {
	Status  int                 `json:"status" doc:"The HTTP status."`
	Title   string              `json:"title" doc:"What went wrong."`
	Detail  string              `json:"detail,omitempty" doc:"Why, and how to mend it."`
	Code    kernel.Code         `json:"code" doc:"Which kind of problem it is: it stays the same."`
	Run     string              `json:"run_id,omitempty" doc:"The run that it is about."`
	Node    string              `json:"node,omitempty" doc:"The node that it is about."`
	Errors  []*huma.ErrorDetail `json:"errors,omitempty" doc:"What of the request is wrong."`
	headers http.Header
}

// Error says what went wrong.
func (p *Problem) Error() string { return p.Title }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of problems.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders are further headers of the response.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// statuses are those of codes; what is not here is the server's own fault.
var statuses = map[kernel.Code]int{
	kernel.CodeInput: http.StatusUnprocessableEntity, kernel.CodeArguments: http.StatusUnprocessableEntity, kernel.CodePipeline: http.StatusUnprocessableEntity,
	kernel.CodeDenied: http.StatusForbidden, kernel.CodeApproval: http.StatusForbidden,
	kernel.CodeNotFound: http.StatusNotFound, kernel.CodeModuleNotFound: http.StatusNotFound,
	kernel.CodeRunExists: http.StatusConflict, kernel.CodeFenced: http.StatusConflict, kernel.CodeLockHeld: http.StatusConflict, kernel.CodeDiverged: http.StatusConflict,
	kernel.CodeLimit: http.StatusTooManyRequests, kernel.CodeUnavailable: http.StatusServiceUnavailable, kernel.CodeAudit: http.StatusServiceUnavailable, kernel.CodeRetry: http.StatusServiceUnavailable,
	kernel.CodeTimeout: http.StatusGatewayTimeout, kernel.CodeCanceled: http.StatusServiceUnavailable, kernel.CodeUnsupported: http.StatusNotImplemented,
}

// problemOf says what went wrong; status 0 is what the error's code says. Where on the host it was stays there.
func problemOf(status int, err error) *Problem {
	var e *kernel.Error
	if !errors.As(err, &e) {
		e = &kernel.Error{Code: kernel.CodeOf(err), What: kernel.Quote(fmt.Sprint(err))}
	}
	if e.Code == "" {
		e.Code = kernel.CodeInternal
	}
	p := &Problem{Status: status, Title: e.What, Detail: e.Why, Code: e.Code, Run: e.Where.Run, Node: e.Where.Node}
	if e.Fix != "" {
		if p.Detail != "" {
			p.Detail += "; "
		}
		p.Detail += "to mend it: " + e.Fix
	}
	if p.Status == 0 {
		if p.Status = statuses[e.Code]; p.Status == 0 {
			p.Status = http.StatusInternalServerError
		}
	}
	if e.RetryAfter > 0 {
		p.headers = http.Header{"Retry-After": {strconv.Itoa(int(e.RetryAfter.Seconds() + 0.999))}}
	}
	return p
}

// answer is a problem as handlers return it; nil stays nil.
func answer(err error) error {
	if err == nil {
		return nil
	}
	return problemOf(0, err)
}

// newError is how the library's own findings are told.
func newError(_ huma.Context, status int, message string, errs ...error) huma.StatusError {
	p := &Problem{Status: status, Title: message, Code: kernel.CodeArguments}
	if status >= http.StatusInternalServerError {
		p.Code = kernel.CodeInternal
	}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			p.Errors = append(p.Errors, d.ErrorDetail())
		} else if err != nil {
			p.Errors = append(p.Errors, &huma.ErrorDetail{Message: err.Error()})
		}
	}
	return p
}

// writeProblem answers outside of the library.
func writeProblem(w http.ResponseWriter, status int, err error) {
	p := problemOf(status, err)
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that is gone learns nothing
}

// guarded has a handler's panic be its own problem.
func guarded(next http.Handler, log func(context.Context, any)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if err, _ := v.(error); errors.Is(err, http.ErrAbortHandler) { // the server's way to break a connection off
				panic(v)
			}
			if v != nil {
				log(r.Context(), v)
				writeProblem(w, http.StatusInternalServerError, &kernel.Error{Code: kernel.CodeInternal, What: "the server failed at this request", Why: "a defect of hexdag", Fix: "report it; the log tells where it was"})
			}
		}()
		next.ServeHTTP(w, r)
	})
}
