package toolchain

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

func find(lang, fix string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", missing("no compiler for "+lang, "there is no "+strings.Join(names, " or ")+" on the PATH", fix)
}

// errMissing marks that a toolchain is not installed.
var errMissing = errors.New("not installed")

func missing(what, why, fix string) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: what, Why: why, Fix: fix, Err: errMissing}
}

// IsMissing reports whether a build failed because a toolchain is not installed.
func IsMissing(err error) bool { return errors.Is(err, errMissing) }

// maxShown bounds how much of what a compiler said an error repeats.
const maxShown = 2000

func run(ctx context.Context, cmd *exec.Cmd, dir string, log io.Writer) error {
	cmd.Dir = dir
	return runTo(ctx, cmd, log, true)
}

// runTo runs a compiler. What it says goes to log: on both of its streams, or on
// standard error alone where its output is the caller's.
func runTo(ctx context.Context, cmd *exec.Cmd, log io.Writer, both bool) error {
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(log, &said)
	if both {
		cmd.Stdout = cmd.Stderr // one writer: the process's two streams take turns
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return failed(cmd.Dir, "the build was stopped", context.Cause(ctx))
	}
	if err != nil {
		text := strings.ToValidUTF8(said.String(), "\uFFFD")
		return invalid(cmd.Dir, "the guest does not compile", strings.TrimSpace(text[:min(len(text), maxShown)])+" ("+err.Error()+")", "mend its source")
	}
	return nil
}
