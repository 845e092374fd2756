package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func artifactsDiff(with withStore) *cobra.Command {
	var runs, asJSON bool
	var pipeline string
	cmd := &cobra.Command{
		Use: "diff A B", Short: "Compare two artifacts, two runs, or two versions of a pipeline", Args: cobra.ExactArgs(2),
		Long: `Compare two artifacts in the terms of what they are: JSON by paths, CSV by rows, images by
pixels, text by lines, everything else by bytes. With --runs, A and B are runs, and what each node
stored is compared by its name. With --pipeline, they are versions of that pipeline, by the first
digits of their digests, and the last run of each is compared.`,
		Example: `hexdag artifacts diff 5d41402abc4b 7d793037a076
hexdag artifacts diff --pipeline report 9f86d081 60303ae2`,
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, args []string) error {
			if pipeline != "" {
				for i, version := range args {
					run, err := store.LastRun(cmd.Context(), pipeline, version)
					if err != nil {
						return err
					}
					args[i] = run
				}
			}
			if runs || pipeline != "" {
				return diffRuns(cmd, store, args[0], args[1], asJSON)
			}
			ids := make([]string, 2)
			for i, short := range args {
				artifact, err := store.Find(cmd.Context(), short)
				if err != nil {
					return err
				}
				ids[i] = artifact.ID
			}
			d, err := store.Diff(cmd.Context(), ids[0], ids[1])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSONValue(cmd.OutOrStdout(), d)
			}
			return d.WriteText(cmd.OutOrStdout())
		}),
	}
	cmd.Flags().BoolVar(&runs, "runs", false, "A and B are runs")
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "A and B are versions of this pipeline")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("runs", "pipeline")
	return cmd
}

func diffRuns(cmd *cobra.Command, store *host.Artifacts, before, after string, asJSON bool) error {
	list, err := store.DiffRuns(cmd.Context(), before, after)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if asJSON {
		return writeJSONValue(w, list)
	}
	if _, err := fmt.Fprintf(w, "--- run %s\n+++ run %s\n", kernel.Quote(before), kernel.Quote(after)); err != nil {
		return err
	}
	for i := range list {
		d := &list[i]
		if _, err := fmt.Fprintf(w, "\nnode %s, %s\n", kernel.Quote(d.Node), kernel.Quote(d.Name)); err != nil {
			return err
		}
		switch {
		case d.Before == "":
			_, err = fmt.Fprintln(w, "only in the second")
		case d.After == "":
			_, err = fmt.Fprintln(w, "only in the first")
		default:
			err = d.Diff.WriteText(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func artifactsLineage(with withStore) *cobra.Command {
	var svg, asJSON bool
	var file string
	cmd := &cobra.Command{
		Use: "lineage ID", Short: "Draw what an artifact was made from, and what was made from it", Args: cobra.ExactArgs(1),
		RunE: with(func(cmd *cobra.Command, store *host.Artifacts, args []string) error {
			artifact, err := store.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			list, err := store.Lineage(cmd.Context(), artifact.ID)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSONValue(cmd.OutOrStdout(), list)
			}
			drawing := host.Provenance(artifact.Name, list)
			if svg {
				return writeFile(cmd.OutOrStdout(), file, drawing.SVG())
			}
			return writeFile(cmd.OutOrStdout(), file, []byte(drawing.Text()))
		}),
	}
	cmd.Flags().BoolVar(&svg, "svg", false, "draw SVG")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVarP(&file, "output", "o", "", "the file to write; standard output if it is left out")
	cmd.MarkFlagsMutuallyExclusive("svg", "json")
	return cmd
}
