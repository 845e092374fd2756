package natsservertest

import (
	"testing"

	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/testenv"
)

// Embedded returns a server in this process, which ends with the test.
func Embedded(t testing.TB, sync bool) *natsserver.Server {
	t.Helper()
	return Open(t, natsserver.Config{Folder: t.TempDir(), SyncAlways: &sync})
}

// Open connects until the test ends.
func Open(t testing.TB, c natsserver.Config) *natsserver.Server {
	t.Helper()
	testenv.NeedServer(t, "NATS")
	s, err := natsserver.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
