package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/impact"
	"github.com/hexdag/hexdag/host/ports/governance/rego"
)

type (
	// PolicyImpact is what a policy would have decided otherwise.
	PolicyImpact = impact.Report
	// PolicyChange is decisions that would be otherwise, by the same rules.
	PolicyChange = impact.Change
	// PolicyExample is one of them.
	PolicyExample = impact.Example
)

// ImpactOfPolicy replays the decisions of an audit log against a policy: a folder of Rego, or a
// file that BuildPolicy wrote. The log is a folder, which is verified first, or a file of lines as
// 'hexdag audit export' prints them, which is taken as it is. Of a folder of Rego it can be told also where a record does
// not tell all that was asked, if the answer does not depend on it.
func ImpactOfPolicy(ctx context.Context, file, entrypoint, log string, opts AuditOptions) (*PolicyImpact, error) {
	c, err := openCandidate(ctx, file, orElse(entrypoint, decisionEntrypoint))
	if err != nil {
		return nil, err
	}
	defer c.policy.Close()
	replay := impact.New(c)
	info, err := os.Stat(log)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the decisions cannot be read", Where: kernel.Where{File: log}, Why: err.Error(), Fix: "name an audit log's folder, or what 'hexdag audit export' printed", Err: err}
	}
	if info.IsDir() {
		_, err = auditlog.Read(ctx, log, opts, func(n int64, _ []byte, r *kernel.AuditRecord) error { return replay.Add(ctx, n, r) })
	} else {
		err = readExported(log, func(n int64, r *kernel.AuditRecord) error { return replay.Add(ctx, n, r) })
	}
	if err != nil {
		return nil, err
	}
	return replay.Report(), nil
}

// candidate is a policy that decides as of the time of each record.
type candidate struct {
	policy  *policy.Policy
	driver  *rego.Driver
	partial *regoc.Partial // nil for a compiled policy
}

type asOf struct{}

func openCandidate(ctx context.Context, file, entrypoint string) (*candidate, error) {
	opts := policyOptions(policy.Options{Name: file, Now: func(ctx context.Context) time.Time {
		at, _ := ctx.Value(asOf{}).(time.Time)
		return at
	}})
	c := &candidate{}
	info, err := os.Stat(file)
	switch {
	case err == nil && info.IsDir():
		source := regoc.Source{Dirs: []string{file}}
		built, err := regoc.Build(ctx, source, regoc.Options{Entrypoints: []string{entrypoint}})
		if err != nil {
			return nil, err
		}
		if c.partial, err = regoc.NewPartial(ctx, source, entrypoint); err != nil {
			return nil, err
		}
		opts.Data = built.Data
		if c.policy, err = policy.Load(ctx, built.Wasm, opts); err != nil {
			return nil, err
		}
	default:
		if c.policy, err = policy.LoadFile(ctx, file, opts); err != nil {
			return nil, err
		}
	}
	if c.driver, err = rego.New(c.policy, entrypoint); err != nil {
		return nil, errors.Join(err, c.policy.Close())
	}
	return c, nil
}

// Decide implements impact.Candidate.
func (c *candidate) Decide(ctx context.Context, req *kernel.AccessRequest, at time.Time, unknown []string) (kernel.Decision, bool, error) {
	if len(unknown) == 0 {
		d, err := c.driver.Authorize(context.WithValue(ctx, asOf{}, at), req)
		return d, true, err
	}
	if c.partial == nil {
		return kernel.Decision{}, false, nil
	}
	input, err := kernel.ToValue(req)
	if err != nil {
		return kernel.Decision{}, false, err
	}
	v, known, err := c.partial.Eval(ctx, input, unknown, at)
	if err != nil || !known || v == nil {
		return kernel.Decision{}, known, err
	}
	d, err := driver.ReadDecision(v)
	return d, true, err
}

// readExported reads lines {"n": ..., "record": {...}}.
func readExported(file string, visit func(n int64, r *kernel.AuditRecord) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	const most = 2 << 20 // bytes of a line: a record, and its number
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), most)
	for row := 1; lines.Scan(); row++ {
		var line struct {
			N      int64               `json:"n"`
			Record *kernel.AuditRecord `json:"record"`
		}
		if err := kernel.UnmarshalStrict(lines.Bytes(), &line); err != nil || line.Record == nil {
			return notExported(file, row, err)
		}
		if err := visit(line.N, line.Record); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return notExported(file, 0, err)
	}
	return nil
}

func notExported(file string, row int, err error) error {
	return &kernel.Error{Code: kernel.CodeInput, What: "the line is no audit record", Where: kernel.Where{File: file, Line: row}, Why: kernel.Quote(fmt.Sprint(err)), Fix: "pass what 'hexdag audit export' printed, or the audit log's folder", Err: err}
}
