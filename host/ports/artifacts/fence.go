package artifacts

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strconv"

	"github.com/hexdag/hexdag/host/kernel"
)

// fenceKey is of the largest token that was seen of a lock.
func fenceKey(lock string) string { return "fences/" + hexOf(digest([]byte(lock))) }

// maxFence bounds the text of a token.
const maxFence = 32

// begin takes the bucket's lock for a change: alone, where tokens are to be checked, too, so that between the check and
// the change nobody comes with a larger one. What is done under a lock that is lost, or by a stale holder, is refused.
func (s *Store) begin(ctx context.Context, exclusive bool) (unlock func(), err error) {
	fences, err := kernel.FencesFrom(ctx)
	if err != nil {
		return nil, err
	}
	if unlock, err = s.bucket.Lock(ctx, exclusive || len(fences) > 0); err != nil {
		return nil, err
	}
	for _, f := range fences {
		if err := s.check(ctx, f); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// check compares a token with the largest that was seen, and remembers it.
func (s *Store) check(ctx context.Context, f kernel.Fence) error {
	seen, err := s.seen(ctx, f.Lock)
	switch {
	case err != nil:
		return err
	case seen > f.Token:
		return kernel.Stale(f, seen)
	case seen == f.Token:
		return nil
	}
	return s.put(ctx, fenceKey(f.Lock), strconv.AppendUint(nil, f.Token, 10))
}

// seen returns the largest token that was seen of a lock; 0 if none was.
func (s *Store) seen(ctx context.Context, lock string) (uint64, error) {
	r, _, err := s.bucket.Open(ctx, fenceKey(lock))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFence))
	if err = errors.Join(err, r.Close()); err != nil {
		return 0, err
	}
	token, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil { // fail closed: nobody can say who is stale
		return 0, &kernel.Error{Code: kernel.CodeFailed, What: "the token of the lock " + kernel.Quote(lock) + " cannot be read", Why: "it is not what was stored", Fix: "restore the bucket from a copy", Err: ErrCorrupt}
	}
	return token, nil
}
