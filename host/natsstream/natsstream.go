// Package natsstream sets what the buckets on top of streams of JetStream leave to their makers.
package natsstream

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

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
