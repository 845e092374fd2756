package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strconv"

	"github.com/hexdag/hexdag/host/kernel"
)

// FenceDir is the folder of the files that Fences keeps. No path that package filestorage lets through names it.
const FenceDir = ".hexdag-fences"

// maxToken bounds the text of a token.
const maxToken = 32

// Fences compares tokens with the largest that a storage has seen, which are files of its own, and keeps those
// that are larger. Its caller lets no other in before the write is done.
func Fences(ctx context.Context, s Storage, folder string, fences []kernel.Fence) error {
	for _, f := range fences {
		sum := sha256.Sum256([]byte(folder + "\x00" + f.Lock))
		path := FenceDir + "/" + hex.EncodeToString(sum[:])
		seen, err := seen(ctx, s, path, f)
		switch {
		case err != nil:
			return err
		case seen > f.Token:
			return kernel.Stale(f, seen)
		case seen == f.Token:
			continue
		}
		w, err := s.Create(ctx, path, CreateOptions{})
		if err != nil {
			return err
		}
		if _, err = w.Write(strconv.AppendUint(nil, f.Token, 10)); err == nil {
			err = w.Commit(ctx)
		}
		w.Abort()
		if err != nil {
			return err
		}
	}
	return nil
}

// seen returns the largest token that was seen of a lock; 0 if none was.
func seen(ctx context.Context, s Storage, path string, f kernel.Fence) (uint64, error) {
	r, _, err := s.Open(ctx, path, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxToken))
	if err = errors.Join(err, r.Close()); err != nil {
		return 0, err
	}
	token, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil { // fail closed: nobody can say who is stale
		return 0, &kernel.Error{Code: kernel.CodeFailed, What: "the token of the lock " + kernel.Quote(f.Lock) + " cannot be read", Why: "it is not what was stored", Fix: "restore " + FenceDir + " of the storage from a copy"}
	}
	return token, nil
}
