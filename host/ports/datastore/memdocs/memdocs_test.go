package memdocs_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/datastore/datastoretest"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
	"github.com/hexdag/hexdag/host/ports/datastore/memdocs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	datastoretest.Run(t, func(*testing.T) driver.Store { return memdocs.New() })
}
