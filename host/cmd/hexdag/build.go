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

The language is known by what is there: *.go, *.c, Cargo.toml (Rust), a package.json that
depends on assemblyscript, *.js (JavaScript), build.zig.zon (Zig) or pom.xml (Java). Where
its toolchain is missing, the error says how to install it. What the module imports is
checked, and its debugging data taken out.`,
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
