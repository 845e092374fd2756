package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Compile, test, explain, sign, evaluate and compare policies", Args: cobra.NoArgs, RunE: help}
	cmd.AddCommand(policyBuildCommand(), policyEvalCommand(), policyTestCommand(), policyExplainCommand(), policyCheckCommand(), policyFmtCommand(),
		policyBenchCommand(), policyListCommand(), policySignCommand(), policyVerifyCommand(), policyImpactCommand())
	return cmd
}

func policyBuildCommand() *cobra.Command {
	var out string
	var entrypoints []string
	var portable bool
	cmd := &cobra.Command{
		Use:   "build DIR... -o FILE",
		Short: "Compile Rego to WebAssembly",
		Long: `Compile the Rego (v1) and the data of folders to WebAssembly, in this process.

FILE is an OPA bundle (.tar.gz), or the bare module where its name ends in .wasm.
What can be evaluated are the rules with entrypoint: true in their metadata.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			built, err := host.BuildPolicy(cmd.Context(), args, entrypoints, out, portable)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes of WebAssembly, revision %s\nentrypoints: %v\n", out, built.Size, built.Revision, built.Entrypoints)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the file to write")
	cmd.Flags().StringArrayVarP(&entrypoints, "entrypoint", "e", nil, "another rule that can be evaluated, as hexdag/authz/decision; may be repeated")
	cmd.Flags().BoolVar(&portable, "portable", false, "leave the matching of patterns to the module, so that other runtimes of OPA's modules can run it; it is some ten times slower")
	cobra.CheckErr(cmd.MarkFlagRequired("output"))
	return cmd
}

func policyEvalCommand() *cobra.Command {
	var input, entrypoint string
	cmd := &cobra.Command{
		Use:   "eval FILE --input JSON|@file",
		Short: "Evaluate a compiled policy, without OPA, and print the result as JSON",
		Long: `Evaluate a compiled policy and print the result as one line of JSON.

Without --entrypoint it is hexdag/authz/decision, or the only one there is.
An undefined result is an error: whoever asks must take it as a denial.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := readValue(cmd, "input", input)
			if err != nil {
				return err
			}
			result, defined, err := host.EvalPolicy(cmd.Context(), args[0], entrypoint, v)
			if err != nil {
				return err
			}
			if !defined {
				return &kernel.Error{Code: kernel.CodeFailed, What: "the result is undefined", Where: kernel.Where{File: args[0]}, Why: "no rule of the entrypoint gave a value for this input", Fix: "give the rule a default; whoever asks takes undefined as a denial"}
			}
			return writeJSON(cmd.OutOrStdout(), result)
		},
	}
	cmd.Flags().StringVar(&input, "input", "", "the policy's input: JSON, @file, or @- for standard input")
	cmd.Flags().StringVarP(&entrypoint, "entrypoint", "e", "", "the rule to evaluate")
	return cmd
}
