package policy

import (
	"context"
	"errors"
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
)

// invalid is the error for a policy that cannot be used as it is.
func invalid(name, what, why, fix string) error {
	return &kernel.Error{Code: kernel.CodePolicy, What: what, Where: kernel.Where{File: name}, Why: why, Fix: fix}
}

// protocol is the error for a module that broke OPA's ABI.
func protocol(name, what, why string) error {
	return &kernel.Error{Code: kernel.CodeABI, What: what, Where: kernel.Where{File: name}, Why: why}
}

func limit(name, what, why string) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: what, Where: kernel.Where{File: name}, Why: why}
}

func unavailable(name, what string) error {
	return &kernel.Error{Code: kernel.CodeUnavailable, What: what, Where: kernel.Where{File: name}}
}

// ended is the error for an evaluation whose context ended.
func ended(opts Options, cause error, when string) error {
	e := &kernel.Error{Code: kernel.CodeCanceled, What: "the policy was stopped while " + when, Where: kernel.Where{File: opts.Name}, Why: "the caller gave up", Err: cause}
	if errors.Is(cause, context.DeadlineExceeded) {
		e.Code = kernel.CodeTimeout
		e.Why = fmt.Sprintf("its deadline passed; a policy has at most %v", opts.Timeout)
	}
	return e
}
