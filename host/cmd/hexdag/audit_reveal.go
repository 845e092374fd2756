package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

type revealFlags struct{ key, salts, pointer, value, check string }

func revealCommand() *cobra.Command {
	var f revealFlags
	cmd := &cobra.Command{
		Use:   "reveal DIR RECORD | reveal --check DISCLOSURE",
		Short: "Prove what was masked in an audit record, or check such a proof",
		Long: `A masked value is not in the log; a commitment to it is, with a salt that lies beside the log.
List what is masked in record number RECORD and whether it can be proven still. With --pointer
and --value, the value as you have it from elsewhere, print a disclosure: the proof of the record,
the salt, and the value. Whoever is given it checks it without the log: with --check, and with --key,
the log's public key, which they should have by another way.`,
		Example: `hexdag audit reveal .hexdag/audit 1042
hexdag audit reveal .hexdag/audit 1042 --pointer /args/email --value '"ada@example.com"' > disclosure.json
hexdag audit reveal --check disclosure.json --key "$(cat auditor/verifier)"`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.check != "" {
				return checkDisclosure(cmd, f, args)
			}
			return reveal(cmd, args, f)
		},
	}
	cmd.Flags().StringVar(&f.key, "key", "", "the public key that the log must be signed with")
	cmd.Flags().StringVar(&f.salts, "salts", "", "the file of salts, DIR.salts by default")
	cmd.Flags().StringVar(&f.pointer, "pointer", "", "the masked value to prove, as the record names it")
	cmd.Flags().StringVar(&f.value, "value", "", "it: JSON, @file, or @- for standard input")
	cmd.Flags().StringVar(&f.check, "check", "", "a disclosure to check, instead of making one")
	cmd.MarkFlagsRequiredTogether("pointer", "value")
	cmd.MarkFlagsMutuallyExclusive("check", "pointer")
	return cmd
}

// recordNumber reads the arguments DIR RECORD.
func recordNumber(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, &kernel.Error{Code: kernel.CodeInput, What: kernel.Quote(text) + " is no record's number", Fix: "give a line of records.jsonl, from 1"}
	}
	return n, nil
}

func reveal(cmd *cobra.Command, args []string, f revealFlags) error {
	if len(args) < 2 {
		return &kernel.Error{Code: kernel.CodeInput, What: "it is not said which record of which log", Fix: "give its folder and its number: hexdag audit reveal DIR RECORD"}
	}
	record, err := recordNumber(args[1])
	if err != nil {
		return err
	}
	opts := host.AuditOptions{VerifierKey: f.key}
	if f.pointer != "" {
		value, err := readValue(cmd, "value", f.value)
		if err != nil {
			return err
		}
		d, err := host.DiscloseAudit(cmd.Context(), args[0], record, f.pointer, value, f.salts, opts)
		if err != nil {
			return err
		}
		return writeJSON(cmd.OutOrStdout(), d)
	}
	fields, err := host.MaskedFields(cmd.Context(), args[0], record, f.salts, opts)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	for _, field := range fields {
		state := "can be proven"
		if !field.Provable {
			state = "erased"
		}
		fmt.Fprintf(w, "%-13s %s  %s\n", state, field.Commitment, kernel.Quote(field.Pointer))
	}
	fmt.Fprintf(w, "%d masked\n", len(fields))
	return nil
}

func checkDisclosure(cmd *cobra.Command, f revealFlags, args []string) error {
	if f.key == "" || len(args) > 0 {
		return &kernel.Error{Code: kernel.CodeInput, What: "a disclosure is checked with a key alone", Fix: "give --key, the log's public key, and no log: a key out of the disclosure would prove nothing"}
	}
	file, err := os.Open(f.check)
	if err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "the disclosure cannot be read", Where: kernel.Where{File: f.check}, Why: err.Error(), Fix: "correct its path", Err: err}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxProof))
	if err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "the disclosure cannot be read", Where: kernel.Where{File: f.check}, Why: err.Error(), Fix: "correct its path", Err: err}
	}
	var d host.AuditDisclosure
	if err := kernel.UnmarshalStrict(text, &d); err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "this is no disclosure", Where: kernel.Where{File: f.check}, Why: kernel.Quote(err.Error()), Fix: "pass what 'hexdag audit reveal' printed", Err: err}
	}
	record, err := d.Check(f.key)
	if err != nil {
		return kernel.At(err, kernel.Where{File: f.check})
	}
	value, err := kernel.EncodeJSON(d.Value)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "record %d is in the log, and had %s at %s\n%s\n", d.Proof.Record, kernel.Quote(string(value)), kernel.Quote(d.Pointer), auditLine(record))
	return nil
}

func eraseCommand() *cobra.Command {
	var key, salts, before string
	cmd := &cobra.Command{
		Use:   "erase DIR [RECORD...]",
		Short: "Erase the salts of masked values, which then nobody can prove or find out",
		Long: `Erase the salts of what is masked in the records, and with --before of what was masked
before a time. The values can then not be proven any more, nor found by trying; the log
stays as it was signed, and may be written meanwhile. This cannot be undone. Copies of the file of
salts, as in a backup, are to be erased there.`,
		Example: `hexdag audit erase .hexdag/audit 1042 1043
hexdag audit erase .hexdag/audit --before 2026-01-01T00:00:00Z`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var records []int64
			for _, text := range args[1:] {
				n, err := recordNumber(text)
				if err != nil {
					return err
				}
				records = append(records, n)
			}
			var limit time.Time
			if before != "" {
				var err error
				if limit, err = time.Parse(time.RFC3339, before); err != nil {
					return &kernel.Error{Code: kernel.CodeInput, What: "--before is no time", Why: kernel.Quote(err.Error()), Fix: "write it as 2026-01-31T15:04:05Z", Err: err}
				}
			}
			if len(records) == 0 && before == "" {
				return &kernel.Error{Code: kernel.CodeInput, What: "it is not said what to erase", Fix: "name records, or give --before"}
			}
			n, err := host.EraseAudit(cmd.Context(), args[0], records, limit, salts, host.AuditOptions{VerifierKey: key})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d salts erased\n", n)
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the public key that the log must be signed with")
	cmd.Flags().StringVar(&salts, "salts", "", "the file of salts, DIR.salts by default")
	cmd.Flags().StringVar(&before, "before", "", "erase what was masked before this time, as RFC 3339 has it")
	return cmd
}
