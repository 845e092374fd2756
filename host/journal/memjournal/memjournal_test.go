package memjournal_test

import (
	"testing"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/journaltest"
	"github.com/hexdag/hexdag/host/journal/memjournal"
)

func TestConformance(t *testing.T) {
	journaltest.Backend{Shared: true, New: func(*testing.T) journaltest.Harness {
		server := memjournal.NewServer()
		return func(_ *testing.T, host string) driver.Store { return server.Open(host) }
	}}.Run(t)
}
