package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/hexdag/hexdag/host/kernel"
)

// folder is the directory of a log.
type folder struct {
	root *os.Root
	name string
}

// exists reports whether there is a log: a checkpoint, or records that once had one.
func (d folder) exists() (bool, error) {
	for _, name := range []string{checkpointFile, recordsFile} {
		info, err := d.root.Stat(name)
		switch {
		case err == nil && (name == checkpointFile || info.Size() > 0):
			return true, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return false, unusable(d.name, err)
		}
	}
	return false, nil
}

// replace writes a small file so that a crash leaves the old one or the new one.
func (d folder) replace(name string, data []byte) error {
	temp := name + ".tmp"
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.root.Rename(temp, name); err != nil {
		return err
	}
	return d.sync()
}

// sync makes the directory's entries durable.
func (d folder) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// verifierKey returns the key in the directory.
func (d folder) verifierKey() (string, error) {
	text, err := d.root.ReadFile(verifierFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", d.tampered(verifierFile, 0, "the audit log's verifier key is missing", "every log is made with one", "restore the file")
	}
	if err != nil {
		return "", unusable(d.name, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// checkpoint returns the log's last checkpoint if the verifier key accepts it.
func (d folder) checkpoint(verifierKey string) (checkpoint, error) {
	verifier, err := note.NewVerifier(verifierKey)
	if err != nil {
		return checkpoint{}, badKey("", "the verifier key cannot be used", err.Error(), "give the key as the log's file \"verifier\" has it")
	}
	msg, err := d.root.ReadFile(checkpointFile)
	if errors.Is(err, fs.ErrNotExist) {
		return checkpoint{}, d.tampered(checkpointFile, 0, "the audit log's checkpoint is missing", "there are records, and a log has a checkpoint before its first record", "restore the file")
	}
	if err != nil {
		return checkpoint{}, unusable(d.name, err)
	}
	cp, err := openCheckpoint(msg, verifier)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return checkpoint{}, d.tampered(checkpointFile, 0, "the checkpoint is signed with another key",
			fmt.Sprintf("it has no signature of %s", verifierKey), "check with the key that the log was made with; if this is it, the checkpoint was replaced")
	}
	if err != nil {
		return checkpoint{}, d.tampered(checkpointFile, 0, "the checkpoint was changed", err.Error(), "restore the file")
	}
	return cp, nil
}

// tampered is the error of a log that is not what was written. Line, from 1, is
// the record; 0 if the error is not about one.
func (d folder) tampered(file string, line int, what, why, fix string) error {
	return &kernel.Error{
		Code:  kernel.CodeAuditTampered,
		What:  what,
		Where: kernel.Where{File: filepath.Join(d.name, file), Line: line},
		Why:   why,
		Fix:   fix,
	}
}

// locked is the error of a log that another process appends to.
func (d folder) locked(cause error) error {
	return &kernel.Error{
		Code:  kernel.CodeUnavailable,
		What:  "the audit log is open in another process",
		Where: kernel.Where{File: filepath.Join(d.name, lockFile)},
		Why:   "one process at a time appends to a log",
		Fix:   "wait for the other to end, or use another directory",
		Err:   cause,
	}
}
