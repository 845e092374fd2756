// Package sqlitefile opens SQLite databases in files that are this program's own.
package sqlitefile

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
)

// Create makes the file, for its owner alone, if there is none.
func Create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Open returns a pool of that many connections, which are there once they are used. What is in the file is trusted with nothing, a
// transaction begins as one that writes, and who comes second waits for five seconds. The query is the driver's, and adds to that; so do the pragmas.
func Open(path string, connections int, query url.Values, pragmas ...string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_busy_timeout": {"5000"}, "_defensive": {"1"}, "_txlock": {"immediate"}, "_pragma": append([]string{"trusted_schema(0)"}, pragmas...)}
	for name, values := range query {
		q[name] = values
	}
	name := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// ReadOnly is the query of connections that write nothing.
func ReadOnly() url.Values { return url.Values{"mode": {"ro"}, "_query_only": {"1"}} }
