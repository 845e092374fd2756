package sqlitefile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/host/sqlitefile"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a file?#%.db") // a name that a URL would read otherwise
	if err := sqlitefile.Create(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	db, err := sqlitefile.Open(path, 1, nil, "user_version(7)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (a)"); err != nil {
		t.Fatal(err)
	}
	reader, err := sqlitefile.Open(path, 1, sqlitefile.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var tables, version int
	if err := reader.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM sqlite_schema), (SELECT user_version FROM pragma_user_version)").Scan(&tables, &version); err != nil || tables != 1 || version != 7 {
		t.Errorf("%d tables, version %d: %v", tables, version, err)
	}
	if _, err := reader.ExecContext(t.Context(), "INSERT INTO t VALUES (1)"); err == nil {
		t.Error("a reader writes")
	}
	if _, err := reader.ExecContext(t.Context(), "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = ''"); err == nil {
		t.Error("the schema can be written")
	}
}
