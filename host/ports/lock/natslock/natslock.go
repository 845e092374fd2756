// Package natslock keeps locks in a key-value bucket of NATS JetStream: a key for each permit, with
// a TTL of its own.
//
// Who holds a permit is decided by conditional writes alone, never by reads, which may be stale. To
// renew, the value is published again with its TTL: an update through the key-value API has no TTL, and
// a lock that was renewed by one would never end. The fence is the sequence of the first write.
package natslock

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsstream"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

const maxPermits = 256

// markerTTL is how long the server remembers that a key has ended, for those who watch.
const markerTTL = time.Minute

// Config says where the locks are. The JSON form is what an operator configures.
type Config struct {
	Bucket   string `json:"bucket"`   // made if need be; hexdag-locks
	Replicas int    `json:"replicas"` // of a bucket that is made, 1, 3 or 5; 1
}

// Store is a driver.Store over a bucket.
type Store struct {
	js       jetstream.JetStream
	kv       jetstream.KeyValue
	issuer   string
	replicas int
	onClose  func() error
	closed   atomic.Bool
}

var _ driver.Store = (*Store)(nil)

var bucketName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// Open makes the bucket where it is not there. onClose, which may be nil, is called by Close. The error
// has CodeConfig or CodeUnavailable.
func Open(ctx context.Context, js jetstream.JetStream, c Config, onClose func() error) (*Store, error) {
	c.Bucket, c.Replicas = cmp.Or(c.Bucket, "hexdag-locks"), cmp.Or(c.Replicas, 1)
	bad := func(why string) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the locks' bucket cannot be used", Why: why, Fix: "name another one, or delete it"}
	}
	if !bucketName.MatchString(c.Bucket) || c.Replicas < 1 || c.Replicas > 5 {
		return nil, bad("bucket is letters, digits, _ and -, and replicas is from 1 to 5")
	}
	kv, err := bucket(ctx, js, c)
	if err != nil {
		return nil, failed(ctx, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, failed(ctx, err)
	}
	if status.LimitMarkerTTL() == 0 {
		return nil, bad("keys of bucket " + c.Bucket + " have no TTL of their own: it has no limit_marker_ttl")
	}
	s := &Store{js: js, kv: kv, onClose: onClose, issuer: "nats-" + c.Bucket, replicas: c.Replicas}
	if known, ok := status.(*jetstream.KeyValueBucketStatus); ok { // a bucket that is made anew counts anew
		s.issuer += "-" + strconv.FormatInt(known.StreamInfo().Created.UnixMilli(), 36)
		s.replicas = known.StreamInfo().Config.Replicas
	}
	return s, nil
}

// bucket finds the bucket, or makes it once enough servers of a cluster are there.
func bucket(ctx context.Context, js jetstream.JetStream, c Config) (kv jetstream.KeyValue, err error) {
	within, cancel := context.WithTimeout(ctx, natsstream.Patience)
	defer cancel()
	ctx = natsstream.EachRequest(ctx)
	err = natsstream.Insist(within, func() (err error) {
		kv, err = js.KeyValue(ctx, c.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: c.Bucket, History: 1, Replicas: c.Replicas, Storage: jetstream.FileStorage, LimitMarkerTTL: markerTTL, Description: "locks of hexdag"})
			if errors.Is(err, jetstream.ErrBucketExists) { // another came first
				kv, err = js.KeyValue(ctx, c.Bucket)
			}
		}
		if err != nil {
			return err
		}
		changed, err := natsstream.ReadFromLeader(ctx, js, "KV_"+c.Bucket) // a revision that is not the last is no use
		if err == nil && changed {
			kv, err = js.KeyValue(ctx, c.Bucket)
		}
		return err
	})
	return kv, err
}

// Promises implements driver.Store.
func (s *Store) Promises() driver.Promises {
	p := driver.Promises{Issuer: s.issuer, Scope: "server", Durable: true, MinTTL: time.Second, MaxPermits: maxPermits, Caveat: "One server decides."}
	if s.replicas > 1 {
		p.Scope, p.Quorum, p.Caveat = "cluster", true, "A new leader ends leases by its own clock: the servers' clocks have to agree within a sixteenth of the TTL."
	}
	return p
}

// key is of a permit. Its segments are the tenant, the name and the permit's number.
func key(k driver.Key, permit int) string {
	return driver.Escape(k.Tenant) + "." + driver.Escape(k.Name) + "." + strconv.Itoa(permit)
}

// Acquire implements driver.Store.
func (s *Store) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	h := &held{store: s, request: r, id: rand.Text(), seconds: max(1, (r.TTL+time.Second-1)/time.Second) * time.Second}
	first, err := h.attempt(ctx)
	for r.Wait && errors.Is(err, errSilent) {
		first, err = h.attempt(ctx)
	}
	if !r.Wait || !errors.Is(err, driver.ErrHeld) {
		return first, err
	}
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	wake, err := s.watch(watched, r.Key)
	if err != nil {
		return nil, err
	}
	return driver.Poll(ctx, r, wake, func(ctx context.Context) (driver.Held, error) {
		held, err := h.attempt(ctx)
		if errors.Is(err, errSilent) {
			return nil, &driver.HeldError{After: conflictPause}
		}
		return held, err
	})
}

// attemptTime is how long an attempt waits for answers. What was on its way when a server died is never answered.
const attemptTime = 3 * time.Second

var errSilent = errors.New("no answer came")

// attempt is acquire within attemptTime. What it wrote without hearing of it, the next attempt finds.
func (h *held) attempt(ctx context.Context) (driver.Held, error) {
	begun := time.Now()
	bounded, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	held, err := h.acquire(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		if h.silent.IsZero() {
			h.silent = begun
		}
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "the locks' JetStream does not answer", Why: "no answer came within " + attemptTime.String(), Fix: "see whether it runs, and a cluster has a majority of its servers", Err: errSilent}
	}
	return held, err
}

// watch returns a channel that gets something when a permit of a lock may be free, until the context ends.
func (s *Store) watch(ctx context.Context, k driver.Key) (<-chan struct{}, error) {
	var w jetstream.KeyWatcher
	if err := natsstream.Insist(ctx, func() (err error) {
		w, err = s.kv.Watch(natsstream.EachRequest(ctx), driver.Escape(k.Tenant)+"."+driver.Escape(k.Name)+".*", jetstream.UpdatesOnly(), jetstream.MetaOnly())
		return err
	}); err != nil {
		return nil, failed(ctx, err)
	}
	wake := make(chan struct{}, 1)
	go func() {
		defer func() { _ = w.Stop() }()
		for {
			select {
			case <-ctx.Done():
				return
			case entry, ok := <-w.Updates():
				if !ok {
					return
				}
				if entry == nil || entry.Operation() == jetstream.KeyValuePut {
					continue
				}
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		}
	}()
	return wake, nil
}

// entries returns the permits of a pattern of keys that are held, as far as the server that answers knows.
func (s *Store) entries(ctx context.Context, pattern string) ([]jetstream.KeyValueEntry, error) {
	w, err := s.kv.Watch(ctx, pattern, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, failed(ctx, err)
	}
	defer func() { _ = w.Stop() }()
	var list []jetstream.KeyValueEntry
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case entry, ok := <-w.Updates():
			if !ok {
				return nil, failed(ctx, errors.New("the connection was closed"))
			}
			if entry == nil { // that is all
				return list, nil
			}
			list = append(list, entry)
		}
	}
}

// Holders implements driver.Store.
func (s *Store) Holders(ctx context.Context, tenant, name string, limit int) ([]driver.Holder, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pattern := driver.Escape(tenant) + ".*.*"
	if name != "" {
		pattern = driver.Escape(tenant) + "." + driver.Escape(name) + ".*"
	}
	entries, err := s.entries(ctx, pattern)
	if err != nil {
		return nil, err
	}
	var list []driver.Holder
	for _, e := range entries {
		segments := strings.Split(e.Key(), ".")
		note := driver.ReadNote(e.Value())
		fence := note.Fence
		if fence == 0 { // it was not renewed yet
			fence = e.Revision()
		}
		list = append(list, driver.Holder{Key: driver.Key{Tenant: tenant, Name: driver.Unescape(segments[1])}, Owner: note.Owner, Fence: fence, Permits: note.Permits, Left: max(left(e), time.Millisecond)})
	}
	return driver.Sorted(list, limit), nil
}

// Close implements driver.Store.
func (s *Store) Close() error {
	if s.closed.Swap(true) || s.onClose == nil {
		return nil
	}
	return s.onClose()
}

var errClosed = errors.New("the store is closed")

// failed gives an error of the client its code.
func failed(ctx context.Context, err error) error {
	var api *jetstream.APIError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &api) && api.Code < 500:
		return fmt.Errorf("JetStream: %s", api.Description)
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the locks' JetStream does not answer", Why: kernel.Quote(err.Error()), Fix: "see whether it runs, and a cluster has a majority of its servers", Err: err}
}

// held is a permit: a key whose value has this id.
type held struct {
	store   *Store
	request *driver.Request
	id      string
	seconds time.Duration // the TTL, in the whole seconds that the server takes
	silent  time.Time     // when the first attempt began to which no answer came
	key     string
	fence   uint64

	changing sync.Mutex // held while the key is written
	revision uint64

	mu   sync.Mutex
	from time.Time
}

var _ driver.Held = (*held)(nil)

// acquire tries once. Of several permits it tries those that seem to be free.
func (h *held) acquire(ctx context.Context) (driver.Held, error) {
	if h.request.Permits == 1 {
		return h.create(ctx, 0)
	}
	entries, err := h.store.entries(ctx, driver.Escape(h.request.Tenant)+"."+driver.Escape(h.request.Name)+".*")
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, e := range entries {
		if note := driver.ReadNote(e.Value()); note.Permits != h.request.Permits {
			return nil, driver.ErrPermits
		}
		taken[e.Key()] = left(e) > -late
	}
	order := mathrand.Perm(h.request.Permits)
	for _, permit := range append([]int{0}, order...) { // the first is always used, so that another number of permits shows
		if taken[key(h.request.Key, permit)] {
			continue
		}
		held, err := h.create(ctx, permit)
		if !errors.Is(err, driver.ErrHeld) {
			return held, err
		}
		taken[key(h.request.Key, permit)] = true
	}
	return nil, driver.ErrHeld
}

// create takes a permit that nobody has.
func (h *held) create(ctx context.Context, permit int) (driver.Held, error) {
	h.key = key(h.request.Key, permit)
	h.from = time.Now()
	revision, err := h.store.kv.Create(ctx, h.key, h.request.Encode(h.id), jetstream.KeyTTL(h.seconds))
	switch {
	case err == nil:
		h.fence, h.revision = revision, revision
		return h, nil
	case errors.Is(err, jetstream.ErrKeyExists):
	case isConflict(err): // in a cluster, of somebody whose write is under way
		return nil, &driver.HeldError{After: conflictPause}
	default:
		return nil, failed(ctx, err)
	}
	entry, err := h.store.kv.Get(ctx, h.key)
	if err != nil { // it has ended meanwhile
		return nil, driver.ErrHeld
	}
	note := driver.ReadNote(entry.Value())
	if note.ID == h.id { // an attempt of its own, whose answer did not come
		h.from, h.fence, h.revision = h.silent, entry.Revision(), entry.Revision()
		return h, nil
	}
	if note.Permits != h.request.Permits {
		return nil, driver.ErrPermits
	}
	if left(entry) <= -late {
		return h.replace(ctx, entry)
	}
	return nil, &driver.HeldError{After: max(time.Millisecond, left(entry))}
}

// conflictPause is when to look again where another wrote at the same time.
const conflictPause = 10 * time.Millisecond

// late is how much later than its time a key may be removed: the server looks every so often.
const late = time.Second

// left is how much of its time a key has, by the clock of this process.
func left(e jetstream.KeyValueEntry) time.Duration {
	ttl := time.Duration(driver.ReadNote(e.Value()).TTL) * time.Millisecond
	return time.Until(e.Created().Add(max(time.Second, ttl)))
}

// replace takes a permit whose time is over, and which the server has not removed: nats-server 2.15.2 was seen to
// keep for minutes what it found when it started after a kill. That the time is over is by the server's clock.
func (h *held) replace(ctx context.Context, old jetstream.KeyValueEntry) (driver.Held, error) {
	status, err := h.store.kv.Status(ctx)
	if err != nil {
		return nil, failed(ctx, err)
	}
	known, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return nil, driver.ErrHeld
	}
	ends := old.Created().Add(max(time.Second, time.Duration(driver.ReadNote(old.Value()).TTL)*time.Millisecond) + late)
	if known.StreamInfo().TimeStamp.Before(ends) {
		return nil, driver.ErrHeld
	}
	h.from = time.Now()
	ack, err := h.publish(ctx, h.request.Encode(h.id), old.Revision())
	switch {
	case isConflict(err): // another came first, or the holder was not dead
		return nil, driver.ErrHeld
	case err != nil:
		return nil, failed(ctx, err)
	}
	h.fence, h.revision = ack.Sequence, ack.Sequence
	return h, nil
}

// publish writes a key with its TTL, if it is as it was.
func (h *held) publish(ctx context.Context, value []byte, revision uint64) (*jetstream.PubAck, error) {
	m := nats.NewMsg("$KV." + h.store.kv.Bucket() + "." + h.key)
	m.Data = value
	return h.store.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithMsgTTL(h.seconds))
}

// Fence implements driver.Held.
func (h *held) Fence() uint64 { return h.fence }

// From implements driver.Held.
func (h *held) From() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.from
}

// Renew implements driver.Held.
func (h *held) Renew(ctx context.Context) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	from := time.Now()
	err := h.change(ctx, func(ctx context.Context, revision uint64) error {
		ack, err := h.publish(ctx, h.request.EncodeRenewed(h.id, h.fence), revision)
		if err == nil {
			h.revision = ack.Sequence
		}
		return err
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from = from
	return nil
}

// Release implements driver.Held.
func (h *held) Release(ctx context.Context) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	return h.change(ctx, func(ctx context.Context, revision uint64) error {
		return h.store.kv.Purge(ctx, h.key, jetstream.LastRevision(revision), jetstream.PurgeTTL(markerTTL))
	})
}

// change writes if the key is still this permit's, or returns ErrLost. A renewal whose answer did not come may have
// been done: then the revision is another, and the value this permit's.
func (h *held) change(ctx context.Context, write func(ctx context.Context, revision uint64) error) error {
	if h.store.closed.Load() {
		return errClosed
	}
	ctx = natsstream.EachRequest(ctx)
	err := write(ctx, h.revision)
	if !isConflict(err) {
		return lost(ctx, err)
	}
	entry, err := h.store.kv.Get(ctx, h.key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return driver.ErrLost
	case err != nil:
		return failed(ctx, err)
	case driver.ReadNote(entry.Value()).ID != h.id:
		return driver.ErrLost
	}
	h.revision = entry.Revision()
	return lost(ctx, write(ctx, h.revision))
}

func lost(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case isConflict(err):
		return driver.ErrLost
	}
	return failed(ctx, err)
}

// isConflict reports whether a key was not as it was expected to be.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
