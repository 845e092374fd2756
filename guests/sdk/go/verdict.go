package hexdag

// Verdict is what a handler decides.
type Verdict uint64

const (
	verdictContinue   Verdict = 0
	verdictReplace    Verdict = 1
	verdictSkip       Verdict = 2
	verdictDeny       Verdict = 3
	verdictRetryAfter Verdict = 4
	verdictError      Verdict = 5
)

// Continue goes on unchanged. For a node's body or a tool it means done: Result
// holds what it gives.
func Continue() Verdict { return verdictContinue }

// Replace goes on with the input, arguments, output or reply as patched.
func Replace() Verdict { return verdictReplace }

// Skip, of a before-hook, does not run what is hooked: Result holds what it gives instead.
func Skip() Verdict { return verdictSkip }

// Deny refuses, with a code for programs and a reason for people.
func Deny(code, reason string) Verdict { return explain(verdictDeny, code, reason) }

// RetryAfter asks to be tried again after so many milliseconds.
func RetryAfter(milliseconds uint32) Verdict {
	return Verdict(milliseconds)<<32 | verdictRetryAfter
}

// Fail says that the guest could not do its work, with a code for programs and a
// reason for people.
func Fail(code, reason string) Verdict { return explain(verdictError, code, reason) }

// FailWith is the verdict for an error: RetryAfter if it is a call's that says
// when, else Fail with its code and message.
func FailWith(err error) Verdict {
	call, ok := err.(*CallError)
	switch {
	case ok && call.Status == Retry:
		return RetryAfter(call.RetryMilliseconds)
	case ok && call.Code != "":
		return Fail(call.Code, call.Error())
	}
	return Fail("failed", err.Error())
}

// explain replaces whatever the output document holds, so that no half-made
// result goes out with a refusal.
func explain(v Verdict, code, reason string) Verdict {
	output := Doc{id: docOutput}
	output.Remove("")
	output.SetString("/code", code)
	output.SetString("/reason", reason)
	return v
}

// Serve runs a handler as the export of an extension point does. Only the
// packages of the extension points call it.
func Serve(handle func() Verdict) uint64 {
	failure = nil
	v := handle()
	if err := Err(); err != nil && v <= verdictSkip {
		v = Fail("write_failed", err.Error())
	}
	return uint64(v)
}

// unregistered is the verdict of a module that exports a point and handles it nowhere.
func unregistered() Verdict {
	return Fail("no_handler", "the module registers no handler for this extension point")
}
