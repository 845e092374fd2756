package host

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/extension/policy/signing"
	"github.com/hexdag/hexdag/host/extension/policy/topdown"
	"github.com/hexdag/hexdag/host/kernel"
)

type (
	// PolicyTest is how one test of a policy ended.
	PolicyTest = regoc.TestResult
	// PolicyCoverage is what of a policy its tests evaluated.
	PolicyCoverage = regoc.Coverage
	// PolicyExplanation says how rules made a decision.
	PolicyExplanation = regoc.Explanation
	// PolicyRule is a rule's part in a decision.
	PolicyRule = regoc.Rule
	// PolicyCondition is one line of a rule's body.
	PolicyCondition = regoc.Condition
	// FormattedPolicy is a file as it would be formatted.
	FormattedPolicy = regoc.Formatted
)

// policyOptions returns opts with what this host adds to every policy: OPA's pure
// builtins, and why the rest is refused.
func policyOptions(opts policy.Options) policy.Options {
	opts.Builtins, opts.Refused = topdown.Builtins(), topdown.WhyRefused
	return opts
}

// readSigned reads a policy's file that the public key in keyFile has to have signed.
// Whether a signature is needed is for whoever loads to say, never for the file.
func readSigned(file, keyFile string) (*policy.File, error) {
	raw, err := readSmall(file)
	if err != nil {
		return nil, err
	}
	key, err := readSmall(keyFile)
	if err != nil {
		return nil, err
	}
	if err := signing.Verify(file, raw, key); err != nil {
		return nil, err
	}
	return policy.Read(file, strings.NewReader(string(raw))) // the very bytes that were verified
}

// maxPolicyFile is the largest file that a policy or its key may be, in bytes.
const maxPolicyFile = 16 << 20

func readSmall(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxPolicyFile {
		err = fmt.Errorf("it has %d bytes, and the limit is %d", info.Size(), maxPolicyFile)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodePolicy, What: "the file cannot be read", Where: kernel.Where{File: file}, Why: err.Error(), Err: err}
	}
	return raw, nil
}

// SignPolicy signs a bundle with the private key of a PEM file and writes it to out.
func SignPolicy(file, keyFile, out string) error {
	raw, err := readSmall(file)
	if err != nil {
		return err
	}
	key, err := readSmall(keyFile)
	if err != nil {
		return err
	}
	signed, err := signing.Sign(file, raw, key)
	if err != nil {
		return err
	}
	return regoc.WriteFile(out, signed)
}

// VerifyPolicy returns an error unless the key of a PEM file signed the bundle, and
// loads it: what cannot be loaded is not worth a signature.
func VerifyPolicy(ctx context.Context, file, keyFile string) (digest string, err error) {
	f, err := readSigned(file, keyFile)
	if err != nil {
		return "", err
	}
	p, err := policy.Load(ctx, f.Wasm, policyOptions(policy.Options{Name: file, Data: f.Data, Instances: 1, Interpreter: true}))
	if err != nil {
		return "", err
	}
	defer p.Close()
	return p.Digest(), nil
}

// TestPolicy runs the test rules in dirs. With cover, it says what they evaluated.
func TestPolicy(ctx context.Context, dirs []string, cover bool) ([]PolicyTest, *PolicyCoverage, error) {
	source := regoc.Source{Dirs: dirs}
	if cover {
		return regoc.TestCover(ctx, source)
	}
	results, err := regoc.Test(ctx, source)
	return results, nil, err
}

// CheckPolicy compiles the Rego in dirs in strict mode, and says all that is wrong.
func CheckPolicy(dirs []string) error { return regoc.Check(regoc.Source{Dirs: dirs}) }

// FormatPolicy formats the Rego in dirs, and writes what changes if it is to.
func FormatPolicy(dirs []string, write bool) ([]FormattedPolicy, error) {
	files, err := regoc.Format(regoc.Source{Dirs: dirs})
	if err != nil || !write {
		return files, err
	}
	for i := range files {
		if files[i].Changed {
			if err := files[i].Write(); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// ExplainPolicy says how the rules in dirs decide; "" is the entrypoint that
// governance asks.
func ExplainPolicy(ctx context.Context, dirs []string, entrypoint string, input any) (*PolicyExplanation, error) {
	v, err := kernel.ToValue(input)
	if err != nil {
		return nil, err
	}
	if entrypoint == "" {
		entrypoint = decisionEntrypoint
	}
	return regoc.Explain(ctx, regoc.Source{Dirs: dirs}, entrypoint, v)
}

// PolicyTimes is how long evaluations took.
type PolicyTimes struct {
	Evaluations   int
	Min, P50, P99 time.Duration
}

// maxTimes bounds the evaluations that BenchPolicy keeps the times of.
const maxTimes = 1_000_000

// BenchPolicy evaluates a compiled policy, one evaluation after the other, for as
// long as it is told.
func BenchPolicy(ctx context.Context, file, entrypoint string, input any, lasts time.Duration) (*PolicyTimes, error) {
	p, entrypoint, err := openPolicy(ctx, file, entrypoint)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	t := &PolicyTimes{}
	var took []time.Duration
	for end := time.Now().Add(lasts); len(took) == 0 || len(took) < maxTimes && time.Now().Before(end); {
		start := time.Now()
		if _, _, err := p.Eval(ctx, entrypoint, input); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Evaluations, t.Min, t.P50, t.P99 = len(took), took[0], took[len(took)/2], took[len(took)*99/100]
	return t, nil
}

// PolicyPair is an action and a resource that a policy does not deny.
type PolicyPair struct {
	Action   string          `json:"action"`
	Resource kernel.Resource `json:"resource"`
	Effect   string          `json:"effect"`
}

// maxPairs bounds the questions that one list is worth.
const maxPairs = 10_000

// EnumeratePolicy asks a compiled policy about each pair of an action and a resource,
// for the subject and context of a request. Anything unclear is a denial.
func EnumeratePolicy(ctx context.Context, file string, request map[string]any, actions []string, resources []kernel.Resource) ([]PolicyPair, error) {
	if n := len(actions) * len(resources); n == 0 || n > maxPairs {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the permissions cannot be listed", Why: fmt.Sprintf("there are %d pairs of an action and a resource, and 1 to %d can be listed", n, maxPairs), Fix: "name them with --action and --resource"}
	}
	p, entrypoint, err := openPolicy(ctx, file, decisionEntrypoint)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	pairs := []PolicyPair{}
	for _, action := range actions {
		for _, resource := range resources {
			request["action"], request["resource"] = map[string]any{"name": action}, map[string]any{"type": resource.Type, "id": resource.ID}
			v, _, err := p.Eval(ctx, entrypoint, request)
			if err != nil {
				return nil, err
			}
			document, _ := v.(map[string]any)
			if effect := document["effect"]; effect == string(kernel.Allow) || effect == string(kernel.Approve) {
				pairs = append(pairs, PolicyPair{action, resource, effect.(string)})
			}
		}
	}
	return pairs, nil
}

// PolicyResidue returns what is left of a rule once all but the action and the resource
// is known: conditions, of which each is enough.
func PolicyResidue(ctx context.Context, dirs []string, rule string, request map[string]any) ([]string, error) {
	return regoc.Residue(ctx, regoc.Source{Dirs: dirs}, rule, request)
}
