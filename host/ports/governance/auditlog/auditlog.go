// Package auditlog is the audit log: an append-only file of records whose Merkle
// tree is signed at short intervals, so that an edited, removed, moved, cut or
// added record is found, and where.
//
// A log is a directory:
//
//	records.jsonl  the records, one JSON object a line
//	hashes         the tree's stored hashes, 32 bytes each, in tlog's order
//	checkpoint     the last signed checkpoint: origin, size, root, time of signing
//	verifier       the public key, as a note verifier key
//	lock           held by the process that appends
//
// A leaf of the tree is the hash of a line without its line break. The private
// key lies elsewhere; whoever has it can rewrite history, so an auditor keeps a
// checkpoint now and then and gives it to Verify as Known.
//
// # What a crash can lose
//
// Audit returns once the operating system has the record, so a killed process
// loses nothing that was acknowledged. A machine that loses power can lose the
// records of the last Options.SyncEvery and of the fsync under way. Records that
// no checkpoint covers yet are kept by the next Open, which records that it found
// them unsigned.
package auditlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hexdag/hexdag/host/kernel"
)

// The files of a log.
const (
	recordsFile    = "records.jsonl"
	hashesFile     = "hashes"
	checkpointFile = "checkpoint"
	verifierFile   = "verifier"
	lockFile       = "lock"
)

const (
	defaultSyncEvery = 200 * time.Millisecond
	// maxPending is how many bytes of hashes wait in memory. Unlike records they
	// can: a crash loses nothing that the records do not tell.
	maxPending = 64 << 10
)

// Options says how a log is kept. The zero value is usable.
type Options struct {
	// KeyFile holds the private key; it is made when absent. It must lie outside
	// the log. Empty means hexdag/audit.key in the user's configuration directory.
	KeyFile string
	// SyncEvery is the longest time that a record waits for fsync and signature;
	// 0 means 200 ms.
	SyncEvery time.Duration
	// SaltsFile keeps the salts that open commitments to what is masked. It must lie outside the
	// log, and is made with the first. Empty means the log's directory with ".salts" after it.
	SaltsFile string
}

// Log is an audit log that this process appends to. Its methods may be called
// from several goroutines.
type Log struct {
	dir       folder
	lock      *os.File
	key       *key
	origin    string
	every     time.Duration
	saltsFile string

	mu      sync.Mutex
	records file
	hashes  file
	length  int64 // of the whole lines in records, in bytes
	tree    frontier
	pending []byte // hashes that are not written yet
	salts   file   // nil until something is masked
	failed  error  // why nothing is accepted or signed any more
	closed  bool

	sealed int64 // records under the last checkpoint; only the sealing goroutine uses it

	wake      chan struct{} // there is something to seal
	stop      chan struct{}
	stopped   chan struct{}
	closeOnce sync.Once
	closeErr  error
}

// file is what the log needs of a file that it appends to.
type file interface {
	Write(p []byte) (int, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

var errClosed = errors.New("the log is closed")

// Open opens the log in dir for appending and makes it if there is none. It
// reads the whole log and checks it first, in time linear in its size. The
// caller closes the log.
//
// Errors: CodeAuditTampered if what a checkpoint covers is not as it was signed,
// CodeUnavailable if another process has the log open, CodeConfig if the key
// cannot be used, CodeAudit if a file cannot be read or written.
func Open(dir string, opts Options) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, unusable(dir, err)
	}
	l := &Log{
		dir:     folder{root: root, name: dir},
		every:   opts.SyncEvery,
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if l.every <= 0 {
		l.every = defaultSyncEvery
	}
	if l.saltsFile = opts.SaltsFile; l.saltsFile == "" {
		l.saltsFile = SaltsFile(filepath.Clean(dir))
	}
	if inside(l.saltsFile, dir) {
		l.release()
		return nil, badKey(l.saltsFile, "the salts of the audit log lie in the log", "whoever is given the log could try out what is masked", "name a file outside "+dir)
	}
	if err := l.open(opts.KeyFile); err != nil {
		l.release()
		return nil, err
	}
	go l.sealLoop()
	return l, nil
}

// open takes the lock and brings the log into the state that appending starts from.
func (l *Log) open(keyFile string) error {
	lock, err := l.dir.lock()
	if err != nil {
		return err
	}
	l.lock = lock
	exists, err := l.dir.exists()
	if err != nil {
		return err
	}
	if l.key, err = loadKey(keyFile, l.dir.name, !exists); err != nil {
		return err
	}
	if !exists {
		return l.create()
	}
	return l.resume()
}

// create lays down an empty log; its checkpoint comes last and makes it one.
func (l *Log) create() error {
	l.origin = newOrigin()
	if err := l.dir.replace(verifierFile, []byte(l.key.verifier+"\n")); err != nil {
		return unusable(l.dir.name, err)
	}
	if err := l.openFiles(); err != nil {
		return err
	}
	if err := l.sign(&l.tree); err != nil {
		return unusable(l.dir.name, err)
	}
	return nil
}

// resume checks the log against its checkpoint and takes up what lies behind it.
func (l *Log) resume() error {
	verifier, err := l.dir.verifierKey()
	if err != nil {
		return err
	}
	if verifier != l.key.verifier {
		return l.dir.tampered(verifierFile, 0, "the audit log has another key",
			fmt.Sprintf("its verifier is %s, the key in use is %s", kernel.Quote(verifier), l.key.verifier),
			"name the key file that this log was made with")
	}
	cp, err := l.dir.checkpoint(verifier)
	if err != nil {
		return err
	}
	covered, err := l.dir.check(context.Background(), cp, nil, nil)
	if err != nil {
		return err
	}
	if err := l.openFiles(); err != nil {
		return err
	}
	l.origin, l.tree, l.length, l.sealed = cp.origin, covered.tree, covered.bytes, cp.size
	return l.recover()
}

func (l *Log) openFiles() error {
	records, err := l.dir.root.OpenFile(recordsFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return unusable(l.dir.name, err)
	}
	l.records = records
	hashes, err := l.dir.root.OpenFile(hashesFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return unusable(l.dir.name, err)
	}
	l.hashes = hashes
	return nil
}

// Audit appends record, with the time of the call if it has none. It does not
// look at ctx's end: what became of a cancelled action is recorded too. The
// record is of at most 1 MiB, with a kind and an action. After a failed write the log accepts
// nothing until it is opened again; every such error has CodeAudit.
func (l *Log) Audit(_ context.Context, record *kernel.AuditRecord) error {
	line, err := encode(record, time.Now())
	if err != nil {
		return l.refuse(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.refuse(errClosed)
	}
	if l.failed != nil {
		return l.refuse(l.failed)
	}
	if err = l.keep(record.Openings); err == nil {
		err = l.append(line)
	}
	if err != nil {
		l.failed = err
		return l.refuse(err)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// keep writes down what opens the commitments of a record. A record whose masked values
// could not be proven any more is not written.
func (l *Log) keep(openings []kernel.Opening) error {
	if len(openings) == 0 {
		return nil
	}
	lines, err := appendSalts(nil, openings, time.Now())
	if err != nil {
		return err
	}
	if l.salts == nil {
		if l.salts, err = openSalts(l.saltsFile); err != nil {
			return err
		}
	}
	_, err = l.salts.Write(lines)
	return err
}

// append writes a record's line, line break included. Its caller holds the mutex.
// The write comes last of what can fail: a record that is refused is not in the file.
func (l *Log) append(line []byte) error {
	if len(l.pending) >= maxPending {
		if err := l.flushHashes(); err != nil {
			return err
		}
	}
	hashes, err := l.tree.append(tlog.RecordHash(line[:len(line)-1]))
	if err != nil {
		return err
	}
	if _, err := l.records.Write(line); err != nil {
		// Leave no half line behind. If that fails too, the next Open does it.
		return errors.Join(err, l.records.Truncate(l.length))
	}
	l.length += int64(len(line))
	l.addHashes(hashes)
	return nil
}

func (l *Log) addHashes(hashes []tlog.Hash) {
	for _, h := range hashes {
		l.pending = append(l.pending, h[:]...)
	}
}

func (l *Log) flushHashes() error {
	_, err := l.hashes.Write(l.pending)
	l.pending = l.pending[:0]
	return err
}

// VerifierKey returns the key that the log's checkpoints are checked with. Who
// verifies the log should get it by another way than the log's directory.
func (l *Log) VerifierKey() string { return l.key.verifier }

// Close seals what was appended and closes the log. It returns the first error
// that kept a record from being written or sealed; calling it again returns the same.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.mu.Lock()
		l.closed = true // before the last seal, so that it covers whatever was accepted
		l.mu.Unlock()
		close(l.stop)
		<-l.stopped
		l.closeErr = l.seal()
		if err := l.release(); l.closeErr == nil {
			l.closeErr = err
		}
	})
	return l.closeErr
}

// release closes whatever is open. The lock goes last.
func (l *Log) release() error {
	var errs []error
	for _, f := range []file{l.records, l.hashes, l.salts} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	errs = append(errs, l.dir.root.Close())
	if l.lock != nil {
		errs = append(errs, unlock(l.lock))
	}
	return errors.Join(errs...)
}

// refuse is the error of an action that must not happen for want of a record.
func (l *Log) refuse(cause error) error {
	return &kernel.Error{
		Code:  kernel.CodeAudit,
		What:  "the audit record could not be written",
		Where: kernel.Where{File: filepath.Join(l.dir.name, recordsFile)},
		Why:   cause.Error(),
		Fix:   "an audited action is refused without its record: remove the cause, then open the log again",
		Err:   cause,
	}
}

// unusable is the error of a log that cannot be opened or read for another
// reason than what it holds.
func unusable(dir string, cause error) error {
	return &kernel.Error{
		Code:  kernel.CodeAudit,
		What:  "the audit log cannot be used",
		Where: kernel.Where{File: dir},
		Why:   cause.Error(),
		Err:   cause,
	}
}
