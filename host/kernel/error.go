package kernel

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// Code is the stable name of a kind of error. Scripts and tests may rely on it.
type Code string

// The codes, by the class that decides the command's exit code.
const (
	// Bad input: what the user wrote cannot be used as it is.
	CodeSyntax          Code = "pipeline.syntax"      // not YAML, or not the shape of a manifest
	CodePipeline        Code = "pipeline.invalid"     // well-formed, but a rule of the format is broken
	CodeUnknownKind     Code = "pipeline.kind"        // no such node kind
	CodeNotYet          Code = "pipeline.unsupported" // part of hexDAG's format that this version does not run
	CodeConfig          Code = "config.invalid"       // the operator's configuration
	CodeInput           Code = "input.invalid"        // the input of a run
	CodeModuleNotFound  Code = "module.not_found"     // no file, or no module of that name
	CodeModuleInvalid   Code = "module.invalid"       // not a module that this host runs
	CodeModuleComponent Code = "module.component"     // a component-model binary
	CodeModuleImport    Code = "module.import"        // imports what the host does not offer
	CodeModuleGrant     Code = "module.grant"         // asks for what it has no grant for
	CodeModuleExport    Code = "module.export"        // lacks the export that it is used for
	CodePolicy          Code = "policy.invalid"       // a policy that does not compile or load
	CodeAuditTampered   Code = "audit.tampered"       // the audit log is not what was written
	CodeJournal         Code = "journal.invalid"      // a run's journal that this version cannot read, or not use for this
	CodeExpression      Code = "expression.syntax"    // not an expression, or one that uses what is not allowed

	// Denied: a rule said no.
	CodeDenied   Code = "denied"
	CodeApproval Code = "approval.needed" // a person has to approve first; the cause is an ApprovalNeeded

	// Waiting: the client has to answer first; the cause is an InputNeeded.
	CodeInputNeeded Code = "input.needed"

	// Failed: it was tried, and did not work.
	CodeFailed      Code = "failed"
	CodeTimeout     Code = "timeout"
	CodeCanceled    Code = "canceled"
	CodeLimit       Code = "limit"
	CodeTrap        Code = "module.trap"
	CodeABI         Code = "module.abi" // the guest broke the protocol
	CodeUnavailable Code = "port.unavailable"
	CodeUnsupported Code = "port.unsupported" // no such operation
	CodeArguments   Code = "port.arguments"   // arguments that the operation does not take
	CodeNotFound    Code = "port.not_found"
	CodeRetry       Code = "retry"
	CodeLockHeld    Code = "lock.held"          // somebody else holds it
	CodeLockLost    Code = "lock.lost"          // it is no longer held; a later holder may have written
	CodeAudit       Code = "audit.unavailable"  // an audited action was refused because it could not be recorded
	CodeDiverged    Code = "journal.diverged"   // a run that is done again, or goes on, does something else than its journal says
	CodeUnrecorded  Code = "journal.unrecorded" // a run that is done again asks for what its journal does not hold
	CodeInFlight    Code = "journal.in_flight"  // nobody knows whether what was under way when the host died was done
	CodeFenced      Code = "run.fenced"         // another host has taken the run over
	CodeRunExists   Code = "run.exists"         // a run with this id was begun before
	CodeInternal    Code = "internal"

	CodeExpressionFailed Code = "expression.failed" // an expression that has no value for this data
)

// Class says what kind of ending a code is.
type Class int

// The classes, in the order of the command's exit codes.
const (
	ClassFailed Class = 1 + iota
	ClassBadInput
	ClassDenied
)

// Class returns the class of c; an unknown code is a failure.
func (c Code) Class() Class {
	switch c {
	case CodeDenied, CodeApproval:
		return ClassDenied
	case CodeSyntax, CodePipeline, CodeUnknownKind, CodeNotYet, CodeConfig, CodeInput, CodeModuleNotFound, CodeModuleInvalid,
		CodeModuleComponent, CodeModuleImport, CodeModuleGrant, CodeModuleExport, CodePolicy, CodeAuditTampered, CodeJournal, CodeExpression:
		return ClassBadInput
	}
	return ClassFailed
}

// Where is the place an error is about. Empty fields are unknown.
type Where struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Module string `json:"module,omitempty"` // name@digest
	Node   string `json:"node,omitempty"`
	Run    string `json:"run,omitempty"`
}

// String returns the place as file:line:column, module, node and run.
func (w Where) String() string {
	var parts []string
	if w.File != "" {
		place := w.File
		if w.Line > 0 {
			place += fmt.Sprintf(":%d", w.Line)
			if w.Column > 0 {
				place += fmt.Sprintf(":%d", w.Column)
			}
		}
		parts = append(parts, place)
	}
	if w.Module != "" {
		parts = append(parts, "module "+w.Module)
	}
	if w.Node != "" {
		parts = append(parts, "node "+w.Node)
	}
	if w.Run != "" {
		parts = append(parts, "run "+w.Run)
	}
	return strings.Join(parts, ", ")
}

// Error is an error that a user sees: what happened, where, why (the rule or the
// limit with its value), and how to fix it. Guest-made text in it is escaped
// by whoever makes the error, with Quote.
type Error struct {
	Code  Code   `json:"code"`
	What  string `json:"what"`
	Where Where  `json:"where,omitzero"`
	Why   string `json:"why,omitempty"`
	Fix   string `json:"fix,omitempty"`
	// RetryAfter, with CodeRetry, is when to try again.
	RetryAfter time.Duration `json:"-"`
	Err        error         `json:"-"` // the cause, for errors.Is and errors.As
}

// Error returns the whole on one line: "where: what: why (fix)".
func (e *Error) Error() string {
	var b strings.Builder
	if w := e.Where.String(); w != "" {
		b.WriteString(w + ": ")
	}
	b.WriteString(e.What)
	if e.Why != "" {
		b.WriteString(": " + e.Why)
	}
	if e.Fix != "" {
		b.WriteString(" (" + e.Fix + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain: CodeInternal if
// there is none, and "" if err is nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// At returns err with the empty fields of its place filled in from w. An error
// that is not an Error becomes one, with CodeInternal.
func At(err error, w Where) error {
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Code: CodeInternal, What: err.Error(), Where: w, Err: err}
	}
	placed := *e
	p := &placed.Where
	if p.File == "" {
		p.File, p.Line, p.Column = w.File, w.Line, w.Column
	}
	if p.Module == "" {
		p.Module = w.Module
	}
	if p.Node == "" {
		p.Node = w.Node
	}
	if p.Run == "" {
		p.Run = w.Run
	}
	return &placed
}

// Guarded does what may panic, in the host's own code or that of the program which embeds it: that fails what was to be
// done, not the process.
func Guarded[V any](do func() (V, error)) (v V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{Code: CodeInternal, What: fmt.Sprintf("the host panicked: %v", p), Fix: "report it", Err: fmt.Errorf("%v\n%s", p, debug.Stack())}
		}
	}()
	return do()
}
