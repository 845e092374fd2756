package memartifacts_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	artifactstest.RunConformanceTests(t, func(*testing.T) driver.Bucket { return memartifacts.NewBucket() })
}

func TestAsBlob(t *testing.T) {
	artifactstest.RunBlobTests(t, func(*testing.T) driver.Bucket { return memartifacts.NewBucket() })
}
