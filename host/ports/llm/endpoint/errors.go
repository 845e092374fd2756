package endpoint

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Told is what an endpoint said of a call that failed.
type Told struct {
	Message    string
	Kind       Kind
	RetryAfter time.Duration // beside what the headers say
}

// Kind is what an endpoint means where its status does not say it.
type Kind int

// The kinds.
const (
	Plain      Kind = iota // as the status says
	BadKey                 // the key is none
	UsedUp                 // the account's money or quota
	TooLong                // the conversation, for the model
	Overloaded             // later, perhaps
	Throttled              // later, certainly
)

// Cut is the error of an answer that ended before its end.
var Cut error = &brokenOffError{cause: errors.New("the answer ended before its end")}

// Malformed is the error of an answer that is none.
func (e *Endpoint) Malformed(why string) error {
	return &kernel.Error{
		Code: kernel.CodeFailed, What: "the model's endpoint sent no usable answer", Why: e.show(why),
		Fix: "check that base_url is an endpoint of the kind that the adapter " + e.provider.Name + " speaks to",
	}
}

// show makes text of the endpoint's or the client's safe: escaped, cut, and without
// the key, which endpoints are known to repeat.
func (e *Endpoint) show(text string) string {
	if e.Key != "" {
		text = strings.ReplaceAll(text, string(e.Key), hidden)
	}
	return kernel.Quote(text)
}

func (e *Endpoint) timedOut() error {
	return &kernel.Error{
		Code: kernel.CodeTimeout, What: "the model did not answer in time",
		Why: fmt.Sprintf("timeout is %s", e.Timeout), Fix: "raise timeout in the model's configuration",
	}
}

// callError gives a failed call its code. The client's error is not wrapped: it
// holds the request, and that the key.
func (e *Endpoint) callError(x *exchange, err error) error {
	var tooLarge *tooLargeError
	var brokenOff *brokenOffError
	switch {
	case errors.As(err, &tooLarge):
		return &kernel.Error{Code: kernel.CodeLimit, What: "the model's answer is too large", Why: tooLarge.Error()}
	case x.status >= http.StatusMultipleChoices && x.status < http.StatusBadRequest:
		return e.statusError(x, Told{})
	case x.status == 0 || errors.As(err, &brokenOff):
		return &kernel.Error{
			Code: kernel.CodeUnavailable, What: "the model's endpoint cannot be reached, or broke off",
			Why: e.show(err.Error()), Fix: "check base_url and that the server runs",
		}
	}
	told := e.provider.Told(err)
	if x.status < http.StatusMultipleChoices && told == (Told{}) {
		return e.Malformed(err.Error())
	}
	return e.statusError(x, told)
}

func (e *Endpoint) statusError(x *exchange, told Told) error {
	failed := &kernel.Error{Code: kernel.CodeFailed, Why: strconv.Itoa(x.status)}
	if x.status < http.StatusMultipleChoices { // it was told of in the midst of the answer
		failed.Why = ""
	}
	if told.Message != "" {
		failed.Why = strings.TrimSpace(failed.Why + " " + e.show(told.Message))
	}
	kind := told.Kind
	if kind == Plain {
		kind = kindOf(x.status)
	}
	switch kind {
	case BadKey:
		// What such an answer says tends to hold a part of the key.
		failed.Code, failed.What, failed.Why = kernel.CodeUnavailable, "the model's endpoint refused the key", strconv.Itoa(x.status)
		failed.Fix = e.keyFix()
		return failed
	case UsedUp:
		failed.Code, failed.What = kernel.CodeUnavailable, "the account at the model's endpoint is used up"
		return failed
	case TooLong:
		failed.Code, failed.What = kernel.CodeLimit, "the conversation is too long for the model"
		failed.Fix = "send less of it, or name a model that takes more"
		return failed
	case Throttled:
		failed.Code, failed.What = kernel.CodeRetry, "the model's endpoint asks for fewer requests"
		failed.RetryAfter = max(retryAfter(x.header, time.Now()), told.RetryAfter)
		return failed
	case Overloaded:
		failed.Code, failed.What = kernel.CodeUnavailable, "the model's endpoint is overloaded"
		return failed
	}
	switch status := x.status; {
	case status == http.StatusNotFound:
		failed.Code, failed.What = kernel.CodeNotFound, "the model's endpoint has no such model or path"
		failed.Fix = "check model and base_url"
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, status == http.StatusConflict:
		failed.Code, failed.What = kernel.CodeUnavailable, "the model's endpoint failed"
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		failed.Code, failed.What = kernel.CodeArguments, "the model's endpoint refused the request"
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		failed.What, failed.Fix = "the model's endpoint redirects, which is not followed", "set base_url to where it leads"
	case status < http.StatusMultipleChoices:
		failed.Code, failed.What = kernel.CodeUnavailable, "the model's endpoint failed in the midst of its answer"
	default:
		failed.What = "the model's endpoint refused the request"
	}
	return failed
}

// statusOverloaded is what Anthropic answers when it is overloaded.
const statusOverloaded = 529

func kindOf(status int) Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return BadKey
	case http.StatusPaymentRequired:
		return UsedUp
	case http.StatusRequestEntityTooLarge:
		return TooLong
	case http.StatusTooManyRequests:
		return Throttled
	case statusOverloaded:
		return Overloaded
	}
	return Plain
}

func (e *Endpoint) keyFix() string {
	if e.keyPlace == "" {
		return "name the variable that holds the key in api_key_env"
	}
	return "put a valid key in " + e.keyPlace
}

// retryAfter reads how long an endpoint asks to wait: milliseconds in OpenAI's
// own header, else seconds or a date. Without either it is 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseUint(h.Get("Retry-After-Ms"), 10, 31); err == nil {
		return time.Duration(ms) * time.Millisecond
	}
	if s, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
