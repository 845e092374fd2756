package openaillm

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/openai/openai-go/v3"
)

func noModel() error {
	return &kernel.Error{
		Code: kernel.CodeArguments, What: "no model is named",
		Fix: "name one in the call, or in the model's configuration",
	}
}

func (m *model) timedOut() error {
	return &kernel.Error{
		Code: kernel.CodeTimeout, What: "the model did not answer in time",
		Why: fmt.Sprintf("timeout is %s", m.timeout), Fix: "raise timeout in the model's configuration",
	}
}

func (m *model) malformed(why string) error {
	return &kernel.Error{
		Code: kernel.CodeFailed, What: "the model's endpoint sent no usable answer", Why: m.show(why),
		Fix: "check that base_url is an OpenAI-compatible endpoint",
	}
}

// show makes text of the endpoint's or the client's safe: escaped, and without
// the key, which endpoints are known to repeat.
func (m *model) show(text string) string {
	if m.secret != "" {
		text = strings.ReplaceAll(text, m.secret, hidden)
	}
	return kernel.Quote(text)
}

// callError gives a failed call its code. The client's error is not wrapped: it
// holds the request, and that the key.
func (m *model) callError(raw *http.Response, err error) error {
	var tooLarge *tooLargeError
	var brokenOff *brokenOffError
	switch {
	case errors.As(err, &tooLarge):
		return &kernel.Error{Code: kernel.CodeLimit, What: "the model's answer is too large", Why: tooLarge.Error()}
	case raw == nil || errors.As(err, &brokenOff):
		return &kernel.Error{
			Code: kernel.CodeUnavailable, What: "the model's endpoint cannot be reached, or broke off",
			Why: m.show(err.Error()), Fix: "check base_url and that the server runs",
		}
	case raw.StatusCode >= http.StatusMultipleChoices:
		return m.statusError(raw, err)
	}
	return m.malformed(err.Error())
}

func (m *model) statusError(raw *http.Response, err error) error {
	status := raw.StatusCode
	failed := &kernel.Error{Code: kernel.CodeFailed, Why: strconv.Itoa(status)}
	var told *openai.Error
	if errors.As(err, &told) && told.Message != "" {
		failed.Why += " " + m.show(told.Message)
	}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		// What such an answer says tends to hold a part of the key.
		failed.Code, failed.What, failed.Why = kernel.CodeUnavailable, "the model's endpoint refused the key", strconv.Itoa(status)
		failed.Fix = m.keyFix()
	case status == http.StatusTooManyRequests && told != nil && told.Code == "insufficient_quota":
		failed.Code, failed.What = kernel.CodeUnavailable, "the account at the model's endpoint is used up"
	case status == http.StatusTooManyRequests:
		failed.Code, failed.What = kernel.CodeRetry, "the model's endpoint asks for fewer requests"
		failed.RetryAfter = retryAfter(raw.Header, time.Now())
	case status == http.StatusNotFound:
		failed.Code, failed.What = kernel.CodeNotFound, "the model's endpoint has no such model or path"
		failed.Fix = "check model and base_url"
	case status >= http.StatusInternalServerError:
		failed.Code, failed.What = kernel.CodeUnavailable, "the model's endpoint failed"
	case status < http.StatusBadRequest:
		failed.What, failed.Fix = "the model's endpoint redirects, which is not followed", "set base_url to where it leads"
	default:
		failed.What = "the model's endpoint refused the request"
	}
	return failed
}

func (m *model) keyFix() string {
	if m.keyPlace == "" {
		return "name the variable that holds the key in api_key_env"
	}
	return "put a valid key in " + m.keyPlace
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
