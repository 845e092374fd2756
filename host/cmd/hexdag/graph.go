package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func graphCommand() *cobra.Command {
	var env, file string
	var svg bool
	cmd := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw a pipeline or a system",
		Long: `Draw a pipeline or a system: as a tree of text, or with --svg as a picture that
needs nothing beside itself. Nodes stand by wave, and bodies in the nodes that run
them. Nothing of the file runs.`,
		Example: `hexdag graph pipeline.yaml --svg -o pipeline.svg`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := host.Validate(args[0], host.LoadOptions{Environment: env})
			if err != nil {
				return err
			}
			picture := []byte(host.GraphText(f))
			if svg {
				picture = host.GraphSVG(f)
			}
			return writeFile(cmd.OutOrStdout(), file, picture)
		},
	}
	cmd.Flags().BoolVar(&svg, "svg", false, "draw SVG")
	cmd.Flags().StringVar(&env, "env", "", "of several pipelines in FILE, the one with this metadata.namespace")
	cmd.Flags().StringVarP(&file, "output", "o", "", "the file to write; standard output if it is left out")
	return cmd
}

// writeFile writes to a file, or to w without one.
func writeFile(w io.Writer, file string, text []byte) error {
	if file == "" {
		_, err := w.Write(text)
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "the file cannot be written", Where: kernel.Where{File: file}, Why: errors.Unwrap(err).Error(), Fix: "give another with -o", Err: err}
	}
	return nil
}

func schemaCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of pipelines and configurations, for editors",
		Long: `Print the JSON Schema of the documents that a pipeline's file and a configuration
hold. An editor with the YAML language server completes and checks a file that
begins with

# yaml-language-server: $schema=hexdag.schema.json`,
		Example: `hexdag schema -o hexdag.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := host.PipelineSchema()
			if err != nil {
				return err
			}
			return writeFile(cmd.OutOrStdout(), file, text)
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "the file to write; standard output if it is left out")
	return cmd
}
