// Package driver is what a backend of the journal does. Users of the journal call package journal.
package driver

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

// ErrInUse is the error of opening journals that one process has open at a time, while another has.
var ErrInUse = errors.New("another process has the journals open")

// ErrFenced is the error of a write, or of the renewal of a claim, by a host whose run another host has taken over.
var ErrFenced = errors.New("the run was taken over by another host")

// ErrExists is the error of Create where there is a journal of the run already.
var ErrExists = errors.New("there is a journal of the run already")

// ErrNotFound is the error where there is no journal of the run, or no blob of the digest.
var ErrNotFound = errors.New("there is none")

// ErrGap is the error of a chunk that does not begin with the entry after those that are there.
var ErrGap = errors.New("entries before it are missing")

// ErrDamaged is the error of a chunk that the storage has lost, or cannot read.
var ErrDamaged = errors.New("the storage is damaged there")

// Status is where a run stands.
type Status string

// The statuses beside those that a run ends with, which are the engine's.
const (
	Running   Status = "running" // somebody works on it, or its host has died
	Suspended Status = "suspended"
)

// Run is a journal's head: what there is to know of a run without reading its entries.
type Run struct {
	ID       string
	Parent   string // the run that started it; "" where none did
	Tenant   string
	Pipeline string
	Version  string // "sha256:..." of the pipeline's files
	Status   Status
	Owner    string // the host that works on it, or did
	// Epoch is the fencing token of whoever works on it, from 1: each claim has the next.
	Epoch   uint64
	Begun   time.Time
	Touched time.Time // when something was written last
	Entries uint64    // how many
	Bytes   int64     // of all its chunks
	Free    bool      // it runs, and whoever worked on it has gone: it may be claimed
	Waits   *Waits    // while it is Suspended, as the chunk said that had it be so
}

// Chunk is a part of one run's journal: consecutive entries in the form of package journal,
// which the backend does not look into. It keeps Data as it is.
type Chunk struct {
	Tenant string
	Run    string
	Epoch  uint64
	First  uint64 // the number of its first entry, from 1
	Count  uint64
	Data   []byte
	// Status, if set, is where the run stands after these entries; a status other than Running gives the claim up.
	Status Status
	Waits  *Waits // with Suspended: what the run waits for; nil where its journal alone does not have it go on
}

// Query picks journals. Zero members pick all.
type Query struct {
	Pipeline string
	Status   Status
	Free     bool      // those that run, and may be claimed, alone
	Before   time.Time // those last touched before
	Key      string    // those that wait for this event alone
	Due      time.Time // those alone that wait until then at the latest
	Limit    int       // 0: no limit
}

// Picks reports whether q picks a run, Limit aside.
func (q *Query) Picks(r *Run) bool {
	return (q.Pipeline == "" || r.Pipeline == q.Pipeline) && (q.Status == "" || r.Status == q.Status) && (!q.Free || r.Free) &&
		(q.Before.IsZero() || r.Touched.Before(q.Before)) && (q.Key == "" || r.Waits != nil && slices.Contains(r.Waits.Keys, q.Key)) &&
		(q.Due.IsZero() || r.Waits != nil && !r.Waits.Until.IsZero() && !r.Waits.Until.After(q.Due))
}

// Store keeps journals. It is safe for concurrent use.
//
// # Durability
//
// What Append has returned nil for is there after a crash of the process and of the machine. A chunk is
// there as a whole or not at all.
//
// # Claims
//
// A run is worked on by one host at a time, named by Options of the backend. Create and Claim make it this host's until a chunk
// with another status than Running is appended. A backend that several processes share renews its host's claims
// itself for as long as it is open, by the clock of the server; one that a single process has open at a
// time takes every run that another owner has left as free.
type Store interface {
	// Create begins a journal, claimed by this host. Of run it takes what is not the backend's: ID, Parent,
	// Tenant, Pipeline, Version, Begun. The epoch is 1. ErrExists.
	Create(ctx context.Context, run *Run) error
	// Claim takes over a run that is Suspended, or Running and free, or one that this host has already; it is Running then.
	// It returns the head with its new epoch, after which writes of an earlier one are fenced. ErrNotFound; a *Taken where somebody works on it,
	// unless force takes it away; *Over where it has ended.
	Claim(ctx context.Context, tenant, run string, force bool) (*Run, error)
	// Wake is Claim of a run that is Suspended as it was in an epoch. ErrNotFound; ErrFenced where it has gone on since, or waits anew.
	Wake(ctx context.Context, tenant, run string, epoch uint64) (*Run, error)
	// Append adds chunks of any number of runs, all together. The error of a chunk that is fenced, follows a gap (ErrGap), or whose run is not
	// there, is in errs at its index (nil: it is durable), and does not keep the others from being written; err is of all of them. One that is
	// there already, with its status, stays as it is, so that whoever does not know how an Append has ended may ask again. A chunk
	// without entries is of its status alone.
	Append(ctx context.Context, chunks []Chunk) (errs []error, err error)
	// Chunks returns the chunks of a run in order. The iteration ends with an error as its last pair, or ErrNotFound as its only one; a chunk that cannot be
	// read is one with ErrDamaged, and those after it follow where they can be.
	Chunks(ctx context.Context, tenant, run string) iter.Seq2[Chunk, error]
	// Last returns the last chunk of a run. ErrNotFound where there is none; ErrDamaged.
	Last(ctx context.Context, tenant, run string) (Chunk, error)
	// Truncate removes the chunks of a run that begin at entry first or later, by whoever has claimed it in this epoch. ErrFenced.
	Truncate(ctx context.Context, tenant, run string, epoch, first uint64) error
	// Rewrite puts chunks in the place of all those of a run that nobody works on, which then holds them or, after a crash, what
	// it held. ErrNotFound; *Taken; ErrGap where they do not follow each other from entry 1.
	Rewrite(ctx context.Context, tenant, run string, chunks []Chunk) error
	// Get returns the head of a run. ErrNotFound.
	Get(ctx context.Context, tenant, run string) (*Run, error)
	// Runs returns heads, those that were begun last first.
	Runs(ctx context.Context, tenant string, q Query) ([]*Run, error)
	// Delete removes the journal of a run that nobody works on. ErrNotFound; *Taken.
	Delete(ctx context.Context, tenant, run string) error

	// PutBlob keeps bytes under their digest, "sha256:...", of a tenant. Those that are there count as put now.
	PutBlob(ctx context.Context, tenant, digest string, data []byte) error
	// Blob returns them. ErrNotFound.
	Blob(ctx context.Context, tenant, digest string) ([]byte, error)
	// Sweep removes the blobs of a tenant that were put before a time and that keep does not name, and returns how many.
	Sweep(ctx context.Context, tenant string, before time.Time, keep map[string]bool) (int, error)
	// Compact gives storage back that is free.
	Compact(ctx context.Context) error
	// Close gives up what is claimed, so that another host may take it at once, and closes the backend.
	Close() error
}

// Consecutive returns ErrGap unless chunks follow each other from entry 1.
func Consecutive(chunks []Chunk) error {
	next := uint64(1)
	for i := range chunks {
		if chunks[i].First != next || chunks[i].Count == 0 {
			return ErrGap
		}
		next += chunks[i].Count
	}
	return nil
}

// Taken is the error of a claim of a run that another host works on.
type Taken struct {
	Owner string
	Until time.Time // when its claim ends unless it is renewed; zero where the backend cannot tell
}

// Error says who works on it.
func (t *Taken) Error() string { return "host " + t.Owner + " works on it" }

// Over is the error of a claim of a run that has ended.
type Over struct{ Status Status }

// Error says how it ended.
func (o *Over) Error() string { return "it has ended: " + string(o.Status) }

// Known reports whether err is one of this package's, which a backend returns as it is.
func Known(err error) bool {
	var taken *Taken
	var over *Over
	return errors.Is(err, ErrFenced) || errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrGap) || errors.Is(err, ErrDamaged) ||
		errors.As(err, &taken) || errors.As(err, &over)
}
