package host

import (
	"context"
	"io"
	"slices"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
	"github.com/hexdag/hexdag/host/scaffold"
	"github.com/hexdag/hexdag/host/toolchain"
)

// AuditOptions says what an audit log is held to.
type AuditOptions = auditlog.VerifyOptions

// AuditReport is what a verified audit log holds.
type AuditReport = auditlog.Report

// VerifyAudit recomputes an audit log and compares it with its signed checkpoint.
func VerifyAudit(ctx context.Context, dir string, opts AuditOptions) (*AuditReport, error) {
	return auditlog.Verify(ctx, dir, opts)
}

// AuditProof shows, without an audit log, that a record is in it.
type AuditProof = auditlog.Proof

// AuditRecord is one record of an audit log.
type AuditRecord = kernel.AuditRecord

// ProveAudit returns a proof for a record of an audit log, from 1, or, with 0, for
// opts.Known alone: that the log has only grown since.
func ProveAudit(ctx context.Context, dir string, record int64, opts AuditOptions) (*AuditProof, error) {
	return auditlog.Prove(ctx, dir, record, opts)
}

// ReadAudit verifies an audit log and shows its records, from 1, with their lines.
func ReadAudit(ctx context.Context, dir string, opts AuditOptions, visit func(n int64, line []byte, r *AuditRecord) error) (*AuditReport, error) {
	return auditlog.Read(ctx, dir, opts, visit)
}

// TailAudit shows the last records of an audit log as they stand, and with follow
// those that are added until ctx ends. Nothing is verified.
func TailAudit(ctx context.Context, dir string, last int, follow bool, visit func(*AuditRecord) error) error {
	return auditlog.Tail(ctx, dir, last, follow, visit)
}

// BuildModule compiles the module in dir with its language's toolchain, embeds
// its manifest and writes it to file. What the compiler says goes to log.
func BuildModule(ctx context.Context, dir, file string, log io.Writer) error {
	return toolchain.Build(ctx, dir, file, log)
}

// BuiltPolicy describes a compiled policy.
type BuiltPolicy struct {
	Size        int // bytes of WebAssembly
	Revision    string
	Entrypoints []string
}

// BuildPolicy compiles the Rego in dirs and writes it to file: an OPA bundle, or
// the bare module where the name ends in .wasm. What is portable runs in other runtimes of
// OPA's modules, too, and matches patterns some ten times slower.
func BuildPolicy(ctx context.Context, dirs, entrypoints []string, file string, portable bool) (*BuiltPolicy, error) {
	artifact, err := regoc.Build(ctx, regoc.Source{Dirs: dirs}, regoc.Options{Entrypoints: entrypoints, Portable: portable})
	if err != nil {
		return nil, err
	}
	if err := artifact.Write(file); err != nil {
		return nil, err
	}
	return &BuiltPolicy{Size: len(artifact.Wasm), Revision: artifact.Revision, Entrypoints: artifact.Entrypoints}, nil
}

// Project is what NewProject makes; see package scaffold.
type Project = scaffold.Project

// ProjectKinds lists what NewProject can make, and ProjectLanguages in which languages.
func ProjectKinds() []string { return scaffold.Kinds() }

// ProjectLanguages lists the languages of a kind of project.
func ProjectLanguages(kind string) []string { return scaffold.Languages(kind) }

// NewProject makes a project that builds and whose tests pass, and returns the names
// of its files.
func NewProject(p Project) ([]string, error) { return scaffold.New(p) }

// decisionEntrypoint is the rule that governance asks.
const decisionEntrypoint = "hexdag/authz/decision"

// EvalPolicy evaluates a compiled policy's entrypoint; "" means the one that
// governance asks, or the only one there is. It is not defined where no rule
// gave a value.
func EvalPolicy(ctx context.Context, file, entrypoint string, input any) (result any, defined bool, err error) {
	p, entrypoint, err := openPolicy(ctx, file, entrypoint)
	if err != nil {
		return nil, false, err
	}
	defer p.Close()
	return p.Eval(ctx, entrypoint, input)
}

// openPolicy loads a compiled policy and says which entrypoint is meant.
func openPolicy(ctx context.Context, file, entrypoint string) (*policy.Policy, string, error) {
	p, err := policy.LoadFile(ctx, file, policyOptions(policy.Options{}))
	if err != nil {
		return nil, "", err
	}
	if entrypoint != "" {
		return p, entrypoint, nil
	}
	names := p.Entrypoints()
	switch {
	case slices.Contains(names, decisionEntrypoint):
		return p, decisionEntrypoint, nil
	case len(names) == 1:
		return p, names[0], nil
	}
	p.Close()
	return nil, "", &kernel.Error{Code: kernel.CodePolicy, What: "the policy has several entrypoints", Where: kernel.Where{File: file}, Fix: "name one with --entrypoint"}
}
