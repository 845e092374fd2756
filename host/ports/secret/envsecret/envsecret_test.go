package envsecret_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/secret/driver"
	"github.com/hexdag/hexdag/host/ports/secret/envsecret"
	"github.com/hexdag/hexdag/host/ports/secret/secrettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	ref := func(name string) string { return "HEXDAG_TEST_" + name }
	secrettest.Run(t, func(t *testing.T, secrets map[string]string) (driver.Store, func(string) string, func(name, value string)) {
		for name, value := range secrets {
			t.Setenv(ref(name), value)
		}
		return envsecret.New(), ref, func(name, value string) {
			if err := os.Setenv(ref(name), value); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	for _, ref := range []string{"", "A-B", "A B", "1A", "A=B", "${A}", "A\x00"} {
		if envsecret.New().Check(ref) == nil {
			t.Errorf("%q is a name", ref)
		}
	}
}
