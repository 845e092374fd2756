package toolchain

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"slices"
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

// uncoloured passes on what a compiler says without the colours of a terminal, which
// Maven's has even where it is told not to.
type uncoloured struct {
	to    io.Writer
	begun []byte // of a sequence whose end has not come
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

const maxColour = 32 // bytes of a sequence

func (u *uncoloured) Write(p []byte) (int, error) {
	text := colour.ReplaceAll(slices.Concat(u.begun, p), nil)
	u.begun = nil
	if i := bytes.LastIndexByte(text, '\x1b'); i >= 0 && len(text)-i < maxColour && bytes.IndexFunc(text[i+1:], isEnd) < 0 {
		text, u.begun = text[:i], bytes.Clone(text[i:])
	}
	_, err := u.to.Write(text)
	return len(p), err
}

// isEnd reports whether a character cannot be within a sequence.
func isEnd(r rune) bool { return r != '[' && r != ';' && (r < '0' || r > '9') }

func run(ctx context.Context, cmd *exec.Cmd, dir string, log io.Writer) error {
	cmd.Dir = dir
	return runTo(ctx, cmd, log, true)
}

// runTo runs a compiler. What it says goes to log: on both of its streams, or on
// standard error alone where its output is the caller's.
func runTo(ctx context.Context, cmd *exec.Cmd, log io.Writer, both bool) error {
	var said bytes.Buffer
	cmd.Stderr = &uncoloured{to: io.MultiWriter(log, &said)}
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
