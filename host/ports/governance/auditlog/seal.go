package auditlog

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// sealLoop seals the log within l.every of the first record that is not sealed.
// It is the only goroutine of a log; Close ends it.
func (l *Log) sealLoop() {
	defer close(l.stopped)
	for {
		select {
		case <-l.wake:
		case <-l.stop:
			return
		}
		timer := time.NewTimer(l.every)
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
			return
		}
		if l.seal() != nil {
			return // Audit refuses from here on, and Close returns the error
		}
	}
}

// seal makes what was appended durable and signs it. Appending goes on meanwhile.
// After a failure nothing is signed any more: what a failed fsync left on the
// disk is unknown.
func (l *Log) seal() error {
	l.mu.Lock()
	if l.failed == nil {
		l.failed = l.flushHashes()
	}
	tree, failed, salts := l.tree, l.failed, l.salts
	l.mu.Unlock()
	if failed != nil {
		return l.refuse(failed)
	}
	if tree.size == l.sealed {
		return nil
	}
	var err error
	if salts != nil { // what is signed can be proven
		err = salts.Sync()
	}
	if err == nil {
		err = l.sign(&tree)
	}
	if err != nil {
		l.mu.Lock()
		l.failed = err
		l.mu.Unlock()
		return l.refuse(err)
	}
	l.sealed = tree.size
	return nil
}

// sign writes a checkpoint of tree, after everything that it covers.
func (l *Log) sign(tree *frontier) error {
	for _, f := range []file{l.records, l.hashes} {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	root, err := tree.root()
	if err != nil {
		return err
	}
	cp := checkpoint{origin: l.origin, size: tree.size, root: root, signed: time.Now().UTC()}
	msg, err := note.Sign(&note.Note{Text: cp.text()}, l.key.signer)
	if err != nil {
		return err
	}
	return l.dir.replace(checkpointFile, msg)
}

// checkpoint is what is signed: the text of a C2SP checkpoint with one extension
// line, the time of signing.
type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
	signed time.Time
}

const signedPrefix = "signed "

func (c checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n%s%s\n", c.origin, c.size, c.root, signedPrefix, c.signed.Format(timeLayout))
}

// openCheckpoint returns the checkpoint in a note that verifier accepts.
func openCheckpoint(msg []byte, verifier note.Verifier) (checkpoint, error) {
	n, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[3], signedPrefix) {
		return checkpoint{}, fmt.Errorf("a checkpoint is four lines, this note has %d", len(lines)-1)
	}
	c := checkpoint{origin: lines[0]}
	if c.size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.size < 0 {
		return checkpoint{}, fmt.Errorf("the checkpoint's size is no size: %q", lines[1])
	}
	if c.root, err = tlog.ParseHash(lines[2]); err != nil {
		return checkpoint{}, fmt.Errorf("the checkpoint's root: %w", err)
	}
	c.signed, err = time.Parse(timeLayout, strings.TrimPrefix(lines[3], signedPrefix))
	return c, err
}

// newOrigin names a log, so that the checkpoint of one is none of another that
// the same key signs.
func newOrigin() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return "hexdag-audit/" + hex.EncodeToString(id)
}
