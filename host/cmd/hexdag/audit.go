package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Check, prove and read audit logs", Args: cobra.NoArgs, RunE: help}
	cmd.AddCommand(verifyCommand(), proveCommand(), revealCommand(), eraseCommand(), exportCommand(), tailCommand())
	return cmd
}

// auditOptions says what a log is held to.
func auditOptions(key, known string) (host.AuditOptions, error) {
	opts := host.AuditOptions{VerifierKey: key}
	if known == "" {
		return opts, nil
	}
	text, err := os.ReadFile(known)
	if err != nil {
		return opts, &kernel.Error{Code: kernel.CodeConfig, What: "the known checkpoint cannot be read", Where: kernel.Where{File: known}, Why: err.Error(), Fix: "correct its path", Err: err}
	}
	opts.Known = text
	return opts, nil
}

func verifyCommand() *cobra.Command {
	var key, known string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Recompute an audit log and compare it with its signed checkpoint",
		Long: `Recompute an audit log from its records and compare it with its signed checkpoint.

Without --key, the log is held to the key in its own folder: that finds accidents
and clumsy changes, not those of someone who can replace the key. Without --known,
a log that was rolled back as a whole, checkpoint included, is not found.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := auditOptions(key, known)
			if err != nil {
				return err
			}
			report, err := host.VerifyAudit(cmd.Context(), args[0], opts)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), report)
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "%d records, all as they were signed %s\nroot     %s\nkey      %s (%s)\n", report.Records, report.SignedAt.Format("2006-01-02 15:04:05 MST"), report.Root, report.Key, report.Trust)
			for _, effect := range slices.Sorted(maps.Keys(report.Effects)) {
				fmt.Fprintf(w, "%-8s %d\n", effect, report.Effects[effect])
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the public key that the log must be signed with")
	cmd.Flags().StringVar(&known, "known", "", "an earlier checkpoint of the log, which it must contain unchanged")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
