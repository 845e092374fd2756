package host

import (
	"context"
	"io"
	"slices"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
	"github.com/hexdag/hexdag/host/toolchain"
)

// AuditOptions says what an audit log is held to.
type AuditOptions = auditlog.VerifyOptions

// AuditReport is what a verified audit log holds.
type AuditReport = auditlog.Report

// VerifyAudit recomputes an audit log and compares it with its signed checkpoint.
func VerifyAudit(dir string, opts AuditOptions) (*AuditReport, error) {
	return auditlog.Verify(dir, opts)
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
// the bare module where the name ends in .wasm.
func BuildPolicy(ctx context.Context, dirs, entrypoints []string, file string) (*BuiltPolicy, error) {
	artifact, err := regoc.Build(ctx, regoc.Source{Dirs: dirs}, regoc.Options{Entrypoints: entrypoints})
	if err != nil {
		return nil, err
	}
	if err := artifact.Write(file); err != nil {
		return nil, err
	}
	return &BuiltPolicy{Size: len(artifact.Wasm), Revision: artifact.Revision, Entrypoints: artifact.Entrypoints}, nil
}

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
