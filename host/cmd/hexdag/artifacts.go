package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"charm.land/lipgloss/v2/table"
	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func artifactsCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use: "artifacts", Short: "See, compare and clear what runs have stored", Args: cobra.NoArgs, RunE: help,
		Long: `See, compare and clear what runs have stored. An artifact is named by its id, or by
its first six digits or more where no other begins so. The host may run meanwhile; where
other processes cannot be kept apart (blob, nats and mlflow without a lock port that they share), gc is for when
none stores.`,
	}
	cmd.PersistentFlags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	with := func(do func(cmd *cobra.Command, store *host.Artifacts, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) (err error) {
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			store, err := host.OpenArtifacts(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			return do(cmd, store, args)
		}
	}
	cmd.AddCommand(artifactsList(with), artifactsGet(with), artifactsPut(with), artifactsRemove(with), artifactsDiff(with), artifactsLineage(with), artifactsVerify(with), artifactsCollect(with), artifactsKeygen())
	return cmd
}

// withStore makes a command's RunE of what it does with the store.
type withStore = func(do func(cmd *cobra.Command, store *host.Artifacts, args []string) error) func(*cobra.Command, []string) error

func artifactsList(with withStore) *cobra.Command {
	var asJSON bool
	var after string
	var limit int
	cmd := &cobra.Command{
		Use: "list [RUN]", Short: "List what a run has stored, or all runs", Args: cobra.MaximumNArgs(1),
		Long: `List what a run has stored, or, without RUN, what all runs have: at most --limit artifacts,
in the order of their ids, beginning behind --after. It fails, after it, if some of them
cannot be read.`,
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, args []string) error {
			var list []*host.Artifact
			var damaged []error
			for artifact, err := range store.Page(cmd.Context(), strings.Join(args, ""), after) {
				if artifact == nil {
					return err
				}
				if len(list)+len(damaged) == limit {
					break
				}
				if err != nil {
					damaged = append(damaged, err)
					continue
				}
				list = append(list, artifact)
			}
			if asJSON {
				return errors.Join(writeJSONValue(cmd.OutOrStdout(), list), errors.Join(damaged...))
			}
			t := table.New().Headers("id", "run", "node", "name", "size", "type", "stored")
			for _, a := range list {
				stored := ""
				if !a.Stored.IsZero() {
					stored = a.Stored.Format(time.DateTime)
				}
				t.Row(shortID(a.ID), kernel.Quote(a.RunID), kernel.Quote(a.Origin.Node), kernel.Quote(a.Name), fmt.Sprint(a.Size), kernel.Quote(a.ContentType), stored)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), t)
			return errors.Join(err, errors.Join(damaged...))
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&after, "after", "", "begin behind this id")
	cmd.Flags().IntVar(&limit, "limit", 1000, "list at most so many")
	return cmd
}

func shortID(id string) string { return strings.TrimPrefix(id, "sha256:")[:12] }

// writeJSONValue writes a Go value as one line of JSON.
func writeJSONValue(w io.Writer, v any) error {
	value, err := kernel.ToValue(v)
	if err != nil {
		return err
	}
	return writeJSON(w, value)
}

func artifactsGet(with withStore) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "get ID", Short: "Write the content of an artifact", Args: cobra.ExactArgs(1),
		Long: `Write the content of an artifact to standard output, or to a file. It is compared with its
digest while it is written; the command fails if it is not what was stored, and a file is
then as it was before.`,
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, args []string) (err error) {
			artifact, err := store.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if file == "" {
				return store.Save(cmd.Context(), artifact.ID, cmd.OutOrStdout())
			}
			return writeWhole(file, func(w io.Writer) error { return store.Save(cmd.Context(), artifact.ID, w) })
		}),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "the file to write; standard output if it is left out")
	return cmd
}

// writeWhole writes a file whole or not at all; what is no file, a pipe for one, as it comes.
func writeWhole(file string, write func(io.Writer) error) error {
	target := file
	if linked, err := filepath.EvalSymlinks(file); err == nil {
		target = linked
	}
	temporary, mode := target+".new-"+rand.Text(), os.FileMode(0o666)
	if info, err := os.Stat(target); err == nil {
		if mode = info.Mode().Perm(); !info.Mode().IsRegular() {
			temporary = target
		}
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE, mode)
	if err != nil {
		return unwritable(file, err)
	}
	err = write(f)
	if closed := f.Close(); err == nil && closed != nil {
		err = unwritable(file, closed)
	}
	if temporary == target {
		return err
	}
	if err == nil {
		if err = os.Rename(temporary, target); err == nil {
			return nil
		}
		err = unwritable(file, err)
	}
	return errors.Join(err, os.Remove(temporary))
}

func unwritable(file string, err error) error {
	return &kernel.Error{Code: kernel.CodeInput, What: "the file cannot be written", Where: kernel.Where{File: file}, Why: err.Error(), Fix: "give another with -o", Err: err}
}

func artifactsPut(with withStore) *cobra.Command {
	var contentType, metadata string
	var parents []string
	cmd := &cobra.Command{
		Use: "put RUN NAME FILE", Short: "Store a file as an artifact of a run", Args: cobra.ExactArgs(3),
		Example: `hexdag artifacts put 0197-... report.csv report.csv --type text/csv --parent 5d41402abc4b`,
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, args []string) (err error) {
			opts := host.StoreOptions{ContentType: contentType}
			for _, short := range parents {
				parent, err := store.Find(cmd.Context(), short)
				if err != nil {
					return err
				}
				opts.Origin.Parents = append(opts.Origin.Parents, parent.ID)
			}
			given, err := readValue(cmd, "metadata", metadata)
			if err != nil {
				return err
			}
			var ok bool
			if opts.Metadata, ok = given.(map[string]any); !ok && given != nil {
				return &kernel.Error{Code: kernel.CodeInput, What: "metadata is no JSON object", Where: kernel.Where{File: "--metadata"}, Fix: "pass one"}
			}
			data := io.NopCloser(cmd.InOrStdin())
			if args[2] != "-" {
				if data, err = os.Open(args[2]); err != nil {
					return &kernel.Error{Code: kernel.CodeInput, What: "the file cannot be read", Where: kernel.Where{File: args[2]}, Why: err.Error(), Fix: "correct its path", Err: err}
				}
			}
			defer func() { err = errors.Join(err, data.Close()) }()
			artifact, err := store.Store.Store(cmd.Context(), args[0], args[1], data, opts)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), artifact.ID)
			return err
		}),
	}
	cmd.Flags().StringVar(&contentType, "type", "", "the media type (default application/octet-stream)")
	cmd.Flags().StringVar(&metadata, "metadata", "", "a JSON object, or @file")
	cmd.Flags().StringArrayVar(&parents, "parent", nil, "an artifact that this one was made from")
	return cmd
}

func artifactsRemove(with withStore) *cobra.Command {
	return &cobra.Command{
		Use: "rm ID...", Short: "Remove artifacts, and their content where no other has it", Args: cobra.MinimumNArgs(1),
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, args []string) error {
			for _, short := range args {
				id, err := store.FindID(cmd.Context(), short) // also of one that is damaged
				if err != nil {
					return err
				}
				if err := store.Delete(cmd.Context(), id); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func artifactsVerify(with withStore) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Read everything and compare it with its digests", Args: cobra.NoArgs,
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, _ []string) error {
			var good, bad int
			var bytes int64
			err := store.Verify(cmd.Context(), func(a *host.Artifact, problem error) error {
				if problem == nil {
					good++
					bytes += a.Size
					return nil
				}
				bad++
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  run %s  %s  %s\n", a.ID, kernel.Quote(a.RunID), kernel.Quote(a.Name), kernel.Quote(problem.Error()))
				return err
			})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%d artifacts of %d bytes are as they were stored, %d are not\n", good, bytes, bad); err != nil {
				return err
			}
			if bad > 0 {
				return exitWith(exitFailed)
			}
			return nil
		}),
	}
}

func artifactsCollect(with withStore) *cobra.Command {
	var opts host.CollectOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "gc", Short: "Remove artifacts that are too old, and content that nothing needs", Args: cobra.NoArgs,
		Long: `Remove artifacts that are older than --keep-for, answers of nodes (cache) whose ttl is over, and content that no artifact needs and
that has been there for a day. What an artifact that stays was made from stays, too. What a store or a
delete that was interrupted has left is put right, and with it what counts for tenant_bytes.`,
		Example: `hexdag artifacts gc --keep-for 2160h --dry-run`,
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, _ []string) error {
			done, err := store.Collect(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSONValue(cmd.OutOrStdout(), done)
			}
			verb := map[bool]string{false: "removed", true: "would remove"}[opts.Try]
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %d artifacts, and %d objects of %d bytes\n", verb, done.Artifacts, done.Objects, done.Bytes)
			if done.Markers > 0 {
				put := map[bool]string{false: "put", true: "would put"}[opts.Try]
				_, problem := fmt.Fprintf(cmd.OutOrStdout(), "%s right %d entries of runs, references and quotas that stores and deletes which did not end had left\n", put, done.Markers)
				err = errors.Join(err, problem)
			}
			for _, id := range done.Corrupt {
				_, problem := fmt.Fprintf(cmd.OutOrStdout(), "%s cannot be read, so that all content stays\n", id)
				err = errors.Join(err, problem)
			}
			return err
		}),
	}
	cmd.Flags().DurationVar(&opts.KeepFor, "keep-for", 0, "how old artifacts may become; 0 keeps all")
	cmd.Flags().BoolVar(&opts.Try, "dry-run", false, "only say what would go")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func artifactsKeygen() *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make a key that artifacts are kept encrypted with", Args: cobra.ExactArgs(1),
		Long: `Make a file with a new key of age, for identities in the configuration of the port artifacts.
Whoever loses it loses the artifacts.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := age.GenerateX25519Identity()
			if err != nil {
				return &kernel.Error{Code: kernel.CodeInternal, What: "no key can be made", Why: err.Error(), Err: err}
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // a key that is there is never written over
			if err == nil {
				_, err = fmt.Fprintf(f, "# public key: %s\n%s\n", key.Recipient(), key)
				err = errors.Join(err, f.Sync(), f.Close())
			}
			if err != nil {
				return &kernel.Error{Code: kernel.CodeInput, What: "the key cannot be written", Where: kernel.Where{File: args[0]}, Why: err.Error(), Fix: "name a file that is not there yet", Err: err}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "public key: %s\n", key.Recipient())
			return err
		},
	}
}
