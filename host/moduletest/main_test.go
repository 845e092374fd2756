package moduletest

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/testenv"
)

// TestMain keeps the tests out of the real home, but for Go's own caches.
func TestMain(m *testing.M) {
	remove, err := testenv.Home()
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}
