// Package natsstream has what all that is built on JetStream asks of it alike: answers that are waited for as long as they may come,
// attempts that are made again, and reads that know what was written.
package natsstream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// EachRequest returns a context that ends when ctx does, and has no deadline to tell. Up to a context's deadline the client waits for
// each answer, and for five seconds where there is none; what was on its way to a server that dies is never answered.
func EachRequest(ctx context.Context) context.Context { return undated{ctx} }

type undated struct{ context.Context }

// Deadline tells of none.
func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

// Patience is for how long a server that does not answer is asked again: a cluster that has lost its leader, or begins, has one by then.
const Patience = 20 * time.Second

// Insist does what fails until it does not, for as long as another attempt may help. do may be done twice.
func Insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || !Passing(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// noPeers is the code of a stream that is to be made while too few servers are there.
const noPeers = 10005

// inProcess is the code of an id whose event is not kept yet, and may never be: its leader has changed.
const inProcess = 10158

// Passing reports whether an error may be gone with the next attempt.
func Passing(err error) bool {
	for _, e := range []error{context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting, jetstream.ErrNoStreamResponse} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == 503 || api.ErrorCode == inProcess || api.ErrorCode == noPeers) // no leader yet
}

// ReadFromLeader has reads of a replicated stream answered by its leader, and reports whether that was otherwise: who made the
// bucket on top of it binds it again then. The client makes buckets that any replica answers for, also one that does not know
// yet what was just written.
func ReadFromLeader(ctx context.Context, js jetstream.JetStream, stream string) (changed bool, err error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return false, err
	}
	config := s.CachedInfo().Config
	if config.Replicas < 2 || !config.AllowDirect {
		return false, nil
	}
	config.AllowDirect = false
	_, err = js.UpdateStream(ctx, config)
	return err == nil, err
}
