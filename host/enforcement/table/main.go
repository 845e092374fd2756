// Command table runs the enforcement suites and prints the table of README.md, and the
// injections that get through under each set of policies.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/hexdag/hexdag/host/enforcement"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "enforcement:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "hexdag-enforcement-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report, err := enforcement.RunAll(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Print(report.Table())
	for _, set := range enforcement.Sets()[1:] {
		fmt.Printf("\nThrough %s, of which task:\n%s", set.Name, report.Misses(set.Name))
	}
	return nil
}
