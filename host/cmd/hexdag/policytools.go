package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func policyTestCommand() *cobra.Command {
	var coverage bool
	var threshold float64
	cmd := &cobra.Command{
		Use:   "test DIR...",
		Short: "Run the test rules of policies, and say what they cover",
		Long: `Run the test rules (test_...) of the _test.rego files of folders with OPA's evaluator.

With --coverage each file's share of evaluated lines is printed, and the lines
that no test evaluates; less than --threshold of a file is a failure.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			results, covered, err := host.TestPolicy(cmd.Context(), args, coverage || threshold > 0)
			if err != nil {
				return err
			}
			if err := printTests(cmd.OutOrStdout(), results); err != nil {
				return err
			}
			return printCoverage(cmd.OutOrStdout(), covered, threshold)
		},
	}
	cmd.Flags().BoolVar(&coverage, "coverage", false, "say what the tests cover")
	cmd.Flags().Float64Var(&threshold, "threshold", 0, "the least coverage of each file, in percent")
	return cmd
}

func printTests(out io.Writer, results []host.PolicyTest) error {
	failed := 0
	for _, r := range results {
		if r.Passed || r.Skipped {
			continue
		}
		failed++
		fmt.Fprintf(out, "FAIL %s: %s.%s: %s\n", r.Where, r.Package, r.Name, kernel.Quote(r.Message))
	}
	fmt.Fprintf(out, "%d tests, %d failed\n", len(results), failed)
	switch {
	case failed > 0:
		return exitWith(exitFailed)
	case len(results) == 0:
		return &kernel.Error{Code: kernel.CodePolicy, What: "there are no tests", Why: "no _test.rego file has a rule test_...", Fix: "write one, or name another folder"}
	}
	return nil
}

func printCoverage(out io.Writer, covered *host.PolicyCoverage, threshold float64) error {
	if covered == nil {
		return nil
	}
	low := false
	for _, name := range slices.Sorted(maps.Keys(covered.Files)) {
		f := covered.Files[name]
		fmt.Fprintf(out, "%5.1f %% %s", f.Percent, name)
		if len(f.NotCovered) > 0 {
			fmt.Fprintf(out, ", not the lines %v", f.NotCovered)
		}
		fmt.Fprintln(out)
		low = low || f.Percent < threshold
	}
	if low {
		return &kernel.Error{Code: kernel.CodeFailed, What: "the tests cover too little", Why: fmt.Sprintf("a file has less than %v %%", threshold), Fix: "test the lines that are listed"}
	}
	return nil
}

func policyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check DIR...",
		Short: "Compile policies and their tests in strict mode, and say all that is wrong",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := host.CheckPolicy(args); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing is wrong")
			return err
		},
	}
}

func policyFmtCommand() *cobra.Command {
	var list bool
	cmd := &cobra.Command{
		Use:   "fmt DIR...",
		Short: "Format Rego as opa fmt does",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := host.FormatPolicy(args, !list)
			if err != nil {
				return err
			}
			changed := 0
			for _, f := range files {
				if f.Changed {
					changed++
					fmt.Fprintln(cmd.OutOrStdout(), f.File)
				}
			}
			if list && changed > 0 {
				return exitWith(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&list, "check", false, "name the files that are not formatted, and fail if there are any, but write none")
	return cmd
}

func policyExplainCommand() *cobra.Command {
	var input, entrypoint string
	var all bool
	cmd := &cobra.Command{
		Use:   "explain DIR... --input JSON|@file",
		Short: "Say which rules made a decision, which condition failed, and what would allow",
		Long: `Evaluate policies with OPA's evaluator and say how they decide: the rules that
apply, with their conditions, and of those that do not the first condition that
fails, with the values that it looks at.

The rules are those of the entrypoint, and all that are named allow, approve or deny.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := readValue(cmd, "input", input)
			if err != nil {
				return err
			}
			x, err := host.ExplainPolicy(cmd.Context(), args, entrypoint, v)
			if err != nil {
				return err
			}
			return printExplanation(cmd.OutOrStdout(), x, all)
		},
	}
	cmd.Flags().StringVar(&input, "input", "", "the policy's input: JSON, @file, or @- for standard input")
	cmd.Flags().StringVarP(&entrypoint, "entrypoint", "e", "", "the rule that decides; hexdag/authz/decision by default")
	cmd.Flags().BoolVar(&all, "all", false, "also the rules that would not have helped, as denials that do not apply")
	return cmd
}

// missed says whether a rule that does not apply is why there is no other decision.
func missed(r host.PolicyRule, effect string) bool {
	return effect != string(kernel.Allow) && !strings.HasSuffix(r.Name, ".deny") && !strings.HasSuffix(r.Name, ".approve")
}

func printExplanation(out io.Writer, x *host.PolicyExplanation, all bool) error {
	text, err := kernel.EncodeJSON(x.Decision)
	if err != nil {
		return err
	}
	if x.Decision == nil {
		text = []byte("undefined, which is a denial")
	}
	fmt.Fprintf(out, "decision: %s\n", text)
	document, _ := x.Decision.(map[string]any)
	effect, _ := document["effect"].(string)
	for _, r := range x.Applied {
		fmt.Fprintf(out, "\n%s: %s applies, as all of this holds\n", r.Where, r.Name)
		printConditions(out, r.Conditions)
		if effect != string(kernel.Allow) && (strings.HasSuffix(r.Name, ".deny") || strings.HasSuffix(r.Name, ".approve")) {
			fmt.Fprintln(out, "  to be allowed: one of these must not hold")
		}
	}
	for _, r := range x.Failed {
		if !all && !missed(r, effect) {
			continue
		}
		fmt.Fprintf(out, "\n%s: %s does not apply, as this fails\n", r.Where, r.Name)
		printConditions(out, r.Conditions)
		if effect != string(kernel.Allow) && strings.HasSuffix(r.Name, ".allow") {
			fmt.Fprintln(out, "  to be allowed: this must hold, and what follows it in the rule")
		}
	}
	return nil
}

func printConditions(out io.Writer, conditions []host.PolicyCondition) {
	for _, c := range conditions {
		fmt.Fprintf(out, "  %d: %s\n", c.Where.Line, c.Text)
		for _, v := range c.Values {
			fmt.Fprintf(out, "       %s\n", v)
		}
		if c.Because != nil {
			fmt.Fprintf(out, "     because of %s: %s\n", c.Because.Where, c.Because.Text)
			for _, v := range c.Because.Values {
				fmt.Fprintf(out, "       %s\n", v)
			}
		}
	}
}

func policyBenchCommand() *cobra.Command {
	var input, entrypoint string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "bench FILE --input JSON|@file",
		Short: "Measure how long a compiled policy takes to decide",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := readValue(cmd, "input", input)
			if err != nil {
				return err
			}
			t, err := host.BenchPolicy(cmd.Context(), args[0], entrypoint, v, lasts)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d evaluations: fastest %v, median %v, 99 of 100 within %v\n", t.Evaluations, t.Min, t.P50, t.P99)
			return err
		},
	}
	cmd.Flags().StringVar(&input, "input", "", "the policy's input: JSON, @file, or @- for standard input")
	cmd.Flags().StringVarP(&entrypoint, "entrypoint", "e", "", "the rule to evaluate")
	cmd.Flags().DurationVar(&lasts, "for", 2*time.Second, "how long to go on")
	return cmd
}

func policyListCommand() *cobra.Command {
	var request, rule string
	var actions, resources []string
	cmd := &cobra.Command{
		Use:   "list-permissions FILE|DIR... --request JSON",
		Short: "List what a subject may do, pair by pair or as what is left of a rule",
		Long: `List what the subject of a request may do.

With --action and --resource, FILE is a compiled policy, and each pair that it
does not deny is printed as a line of JSON. With --rule, as hexdag/rbac/allow, the
folders' rule is evaluated as far as it can be without an action and a resource: each
line is a condition on these that is enough for the rule.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := readValue(cmd, "request", request)
			if err != nil {
				return err
			}
			asked, ok := v.(map[string]any)
			if !ok {
				return &kernel.Error{Code: kernel.CodeInput, What: "the request is not an object", Where: kernel.Where{File: "--request"}, Fix: `give {"subject": {...}, "context": {...}}`}
			}
			if rule != "" {
				return printResidue(cmd, args, rule, asked)
			}
			return printPairs(cmd, args[0], asked, actions, resources)
		},
	}
	cmd.Flags().StringVar(&request, "request", "", "the request without action and resource: JSON, @file, or @-")
	cmd.Flags().StringArrayVar(&actions, "action", nil, "an action; may be repeated")
	cmd.Flags().StringArrayVar(&resources, "resource", nil, "a resource, as type:id; may be repeated")
	cmd.Flags().StringVar(&rule, "rule", "", "the rule whose conditions to print")
	return cmd
}

func printResidue(cmd *cobra.Command, dirs []string, rule string, request map[string]any) error {
	left, err := host.PolicyResidue(cmd.Context(), dirs, rule, request)
	if err != nil {
		return err
	}
	for _, one := range left {
		fmt.Fprintln(cmd.OutOrStdout(), one)
	}
	return nil
}

func printPairs(cmd *cobra.Command, file string, request map[string]any, actions, resources []string) error {
	named := make([]kernel.Resource, len(resources))
	for i, r := range resources {
		kind, id, ok := strings.Cut(r, ":")
		if !ok {
			return &kernel.Error{Code: kernel.CodeInput, What: "the resource " + kernel.Quote(r) + " cannot be used", Where: kernel.Where{File: "--resource"}, Why: "it has no colon", Fix: "give it as type:id"}
		}
		named[i] = kernel.Resource{Type: kind, ID: id}
	}
	pairs, err := host.EnumeratePolicy(cmd.Context(), file, request, actions, named)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		v, err := kernel.ToValue(p)
		if err != nil {
			return err
		}
		if err := writeJSON(cmd.OutOrStdout(), v); err != nil {
			return err
		}
	}
	return nil
}

func policySignCommand() *cobra.Command {
	var key, out string
	cmd := &cobra.Command{
		Use:   "sign FILE --key PRIVATE.pem",
		Short: "Sign a bundle as opa sign does",
		Long: `Sign an OPA bundle: .signatures.json in it has a JWT with a digest of each file.

The key is PEM: RSA, ECDSA or Ed25519, as openssl genpkey -algorithm ed25519 makes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				out = args[0]
			}
			if err := host.SignPolicy(args[0], key, out); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is signed\n", out)
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the private key, a PEM file")
	cmd.Flags().StringVarP(&out, "output", "o", "", "the file to write; the bundle itself by default")
	cobra.CheckErr(cmd.MarkFlagRequired("key"))
	return cmd
}

func policyVerifyCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "verify FILE --key PUBLIC.pem",
		Short: "Verify a bundle's signature, and that it can be loaded",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			digest, err := host.VerifyPolicy(cmd.Context(), args[0], key)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is as it was signed, digest %s\n", args[0], digest)
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the public key, a PEM file")
	cobra.CheckErr(cmd.MarkFlagRequired("key"))
	return cmd
}
