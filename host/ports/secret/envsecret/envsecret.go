// Package envsecret has the secret port's values from this process's environment. A reference is
// a variable's name.
package envsecret

import (
	"context"
	"errors"
	"os"
	"regexp"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/ports/secret/driver"
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

type store struct{ closed atomic.Bool }

// New returns the store.
func New() driver.Store { return &store{} }

// Check implements driver.Store.
func (s *store) Check(ref string) error {
	if !variable.MatchString(ref) {
		return errors.New("it is no name of an environment variable")
	}
	return nil
}

// Get implements driver.Store.
func (s *store) Get(ctx context.Context, ref string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if s.closed.Load() {
		return "", errors.New("the store is closed")
	}
	value, set := os.LookupEnv(ref)
	if !set {
		return "", driver.ErrNotFound
	}
	return value, nil
}

// Close implements driver.Store.
func (s *store) Close() error {
	s.closed.Store(true)
	return nil
}
