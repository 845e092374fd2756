package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func proveCommand() *cobra.Command {
	var key, known, check string
	cmd := &cobra.Command{
		Use:   "prove DIR [RECORD] | prove --check PROOF",
		Short: "Prove that a record is in an audit log, or check such a proof",
		Long: `Print a proof, as JSON, that record number RECORD (a line of records.jsonl, from 1) is in
the log under its signed checkpoint, and, with --known, that the log has only grown since
an earlier checkpoint. Whoever is given the proof checks it without the log: with --check,
and with --key, the log's public key, which they should have by another way.`,
		Example: `hexdag audit prove .hexdag/audit 1042 > proof.json
hexdag audit prove --check proof.json --key "$(cat auditor/verifier)"
hexdag audit prove .hexdag/audit --known auditor/checkpoint`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if check != "" {
				return checkProof(cmd, check, key, args)
			}
			return prove(cmd, args, key, known)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the public key that the log must be signed with")
	cmd.Flags().StringVar(&known, "known", "", "an earlier checkpoint of the log, which it must contain unchanged")
	cmd.Flags().StringVar(&check, "check", "", "a proof to check, instead of making one")
	cmd.MarkFlagsMutuallyExclusive("check", "known")
	return cmd
}

func prove(cmd *cobra.Command, args []string, key, known string) error {
	if len(args) == 0 {
		return &kernel.Error{Code: kernel.CodeInput, What: "it is not said which log", Fix: "give its folder: hexdag audit prove DIR RECORD"}
	}
	var record int64
	if len(args) == 2 {
		var err error
		if record, err = recordNumber(args[1]); err != nil {
			return err
		}
	}
	opts, err := auditOptions(key, known)
	if err != nil {
		return err
	}
	proof, err := host.ProveAudit(cmd.Context(), args[0], record, opts)
	if err != nil {
		return err
	}
	return writeJSON(cmd.OutOrStdout(), proof)
}

// maxProof is how large a proof can be, in bytes: a record and some hashes.
const maxProof = 4 << 20

func checkProof(cmd *cobra.Command, file, key string, args []string) error {
	if key == "" || len(args) > 0 {
		return &kernel.Error{Code: kernel.CodeInput, What: "a proof is checked with a key alone", Fix: "give --key, the log's public key, and no log: a key out of the proof would prove nothing"}
	}
	f, err := os.Open(file)
	if err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "the proof cannot be read", Where: kernel.Where{File: file}, Why: err.Error(), Fix: "correct its path", Err: err}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxProof))
	if err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "the proof cannot be read", Where: kernel.Where{File: file}, Why: err.Error(), Fix: "correct its path", Err: err}
	}
	var proof host.AuditProof
	if err := kernel.UnmarshalStrict(text, &proof); err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "this is no proof", Where: kernel.Where{File: file}, Why: kernel.Quote(err.Error()), Fix: "pass what 'hexdag audit prove' printed", Err: err}
	}
	record, err := proof.Check(key)
	if err != nil {
		return kernel.At(err, kernel.Where{File: file})
	}
	w := cmd.OutOrStdout()
	if proof.Known != "" {
		fmt.Fprintln(w, "the log has only grown since the earlier checkpoint")
	}
	if record == nil {
		return nil
	}
	fmt.Fprintf(w, "record %d is in the log\n%s\n", proof.Record, auditLine(record))
	return nil
}

// selection is which records are exported.
type selection struct {
	from, to                        int64
	since, until                    string
	kind, effect, tenant, principal string
	action, run                     string
	sinceTime, untilTime            time.Time
}

func exportCommand() *cobra.Command {
	var key, known string
	var live bool
	var s selection
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Verify an audit log and print its records as JSON lines",
		Long: `Verify an audit log and print the records that its checkpoint covers, one JSON object a
line: {"n": the record's number, "record": {...}}. Of a log that was changed nothing is printed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := auditOptions(key, known)
			if err != nil {
				return err
			}
			opts.Live = live
			if err := s.parse(); err != nil {
				return err
			}
			_, err = host.ReadAudit(cmd.Context(), args[0], opts, func(n int64, line []byte, r *host.AuditRecord) error {
				if !s.covers(n, r) {
					return nil
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "{\"n\":%d,\"record\":%s}\n", n, line)
				return err
			})
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "the public key that the log must be signed with")
	f.StringVar(&known, "known", "", "an earlier checkpoint of the log, which it must contain unchanged")
	f.BoolVar(&live, "live", false, "the log is being written: leave records behind its checkpoint alone")
	f.Int64Var(&s.from, "from", 0, "the first record, from 1")
	f.Int64Var(&s.to, "to", 0, "the last record")
	f.StringVar(&s.since, "since", "", "records of this time and later, as RFC 3339 has it")
	f.StringVar(&s.until, "until", "", "records of before this time")
	f.StringVar(&s.kind, "kind", "", "records of this kind: call, decision, module, policy, run, note, shadow, log")
	f.StringVar(&s.effect, "effect", "", "records of this effect: allow, deny, approve")
	f.StringVar(&s.action, "action", "", "records of actions that match this pattern")
	f.StringVar(&s.run, "run", "", "records of this run")
	f.StringVar(&s.tenant, "tenant", "", "records of this tenant")
	f.StringVar(&s.principal, "principal", "", "records of this principal")
	return cmd
}

func (s *selection) parse() error {
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", s.since, &s.sinceTime}, {"until", s.until, &s.untilTime}} {
		if t.text == "" {
			continue
		}
		var err error
		if *t.into, err = time.Parse(time.RFC3339Nano, t.text); err != nil {
			return &kernel.Error{Code: kernel.CodeInput, What: "--" + t.flag + " is no time", Why: kernel.Quote(err.Error()), Fix: "write it as 2026-01-31T15:04:05Z", Err: err}
		}
	}
	return nil
}

func (s *selection) covers(n int64, r *host.AuditRecord) bool {
	if n < s.from || s.to > 0 && n > s.to {
		return false
	}
	for _, want := range [][2]string{{s.kind, r.Kind}, {s.effect, string(r.Effect)}, {s.run, r.RunID}, {s.tenant, r.Tenant}, {s.principal, r.Principal}} {
		if want[0] != "" && want[0] != want[1] {
			return false
		}
	}
	if s.action != "" && !abi.Match(s.action, r.Action) {
		return false
	}
	at, err := time.Parse(time.RFC3339Nano, r.Time)
	return err == nil && !at.Before(s.sinceTime) && (s.untilTime.IsZero() || at.Before(s.untilTime))
}

func tailCommand() *cobra.Command {
	var last int
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "tail DIR",
		Short: "Print the last records of an audit log, whether or not it is being written",
		Long:  `Print the last records of an audit log as they stand. Nothing is verified: see 'hexdag audit verify'.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return host.TailAudit(cmd.Context(), args[0], last, follow, func(r *host.AuditRecord) error {
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), r)
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), auditLine(r))
				return err
			})
		},
	}
	cmd.Flags().IntVarP(&last, "lines", "n", 20, "how many records")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with each record that is added")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// auditLine says a record on one line.
func auditLine(r *host.AuditRecord) string {
	parts := []string{r.Time, r.Kind, string(r.Effect), r.Action}
	if r.Resource != "" {
		parts = append(parts, "on "+r.Resource)
	}
	if r.Principal != "" {
		parts = append(parts, "by "+r.Principal)
	}
	if r.Tenant != "" {
		parts = append(parts, "tenant "+r.Tenant)
	}
	if r.RunID != "" {
		parts = append(parts, "run "+r.RunID)
	}
	if r.Result != "" {
		parts = append(parts, r.Result)
	}
	for _, reason := range r.Reasons {
		parts = append(parts, "["+reason.ID+"] "+reason.Msg)
	}
	if r.Detail != "" {
		parts = append(parts, r.Detail)
	}
	shown := parts[:0]
	for _, part := range parts {
		if part != "" {
			shown = append(shown, kernel.Quote(part)) // it was safe when it was written; the file may have changed
		}
	}
	return strings.Join(shown, " ")
}
