package pgtables_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/pgtables"
)

func TestConfig(t *testing.T) {
	config, err := pgtables.Config("postgres://u:secret@localhost/db", "my_table", "hexdag-test")
	if err != nil {
		t.Fatal(err)
	}
	if got := config.ConnConfig.RuntimeParams; got["application_name"] != "hexdag-test" || got["synchronous_commit"] != "on" {
		t.Errorf("%v", got)
	}
	for _, c := range []struct{ url, table, want string }{
		{"", "t", "url is not set"},
		{"postgres://u:secret@host:port/db", "t", "url is not one of PostgreSQL's"},
		{"postgres://u@localhost/db", "drop table", "table has to be at most 40 lower-case letters, digits and _"},
		{"postgres://u@localhost/db", strings.Repeat("a", 41), "table has to be at most 40 lower-case letters, digits and _"},
	} {
		if _, err := pgtables.Config(c.url, c.table, "hexdag-test"); err == nil || err.Error() != c.want {
			t.Errorf("%q %q: %v", c.url, c.table, err)
		}
	}
}
