package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
)

func buildCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "build DIR",
		Short: "Compile a module with its language's own toolchain and embed its manifest",
		Long: `Compile the module in DIR with its language's own toolchain and embed DIR/manifest.json.

Go needs nothing but Go; C needs clang and lld.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := out
			if file == "" {
				dir, err := filepath.Abs(args[0])
				if err != nil {
					return err
				}
				file = filepath.Join(dir, filepath.Base(dir)+".wasm")
			}
			if err := host.BuildModule(cmd.Context(), args[0], file, cmd.ErrOrStderr()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), file)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the file to write (default DIR/NAME.wasm)")
	return cmd
}
