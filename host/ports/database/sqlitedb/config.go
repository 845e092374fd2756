package sqlitedb

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// inMemory is the path of a database that is in no file.
const inMemory = ":memory:"

// Config names the file and sets the limits.
type Config struct {
	// Path is the database's file, or ":memory:" for one that lives as long as it is
	// open. A file that does not exist is made only if there is a seed.
	Path string `json:"path"`
	// Seed is a file of SQL that is run once, into a database without tables, in one
	// transaction; so it holds no BEGIN and no COMMIT. It is the operator's: it may do
	// what SQL may. A seed runs also if ReadOnly is set.
	Seed     string `json:"seed"`
	ReadOnly bool   `json:"read_only"`
	MaxRows  int    `json:"max_rows"`  // of one answer; 1000 if 0
	MaxBytes int    `json:"max_bytes"` // of one answer, and of one value; 1 MiB if 0
}

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(ctx context.Context, config map[string]any) (driver.Database, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, configError(err, "it takes path, seed, read_only, max_rows, max_bytes", "%s", kernel.Quote(err.Error()))
	}
	return New(ctx, cfg)
}

func (cfg Config) check() error {
	switch {
	case cfg.Path == "":
		return configError(nil, `name a file, or ":memory:"`, "path is missing")
	case cfg.MaxRows < 0 || cfg.MaxBytes < 0:
		return configError(nil, "", "max_rows and max_bytes are at least 1")
	case cfg.Path == inMemory:
		return nil
	}
	info, err := os.Stat(cfg.Path)
	switch {
	case os.IsNotExist(err) && cfg.Seed != "":
		return nil
	case err != nil:
		return configError(err, "correct path, or give a seed to make it from", "path: %s", kernel.Quote(err.Error()))
	case !info.Mode().IsRegular():
		return configError(nil, "correct path", "path %s is no file", kernel.Quote(cfg.Path))
	}
	return nil
}

// access is what a connection may do.
type access int

const (
	reading access = iota
	writing
	seeding // as writing, and makes the file
)

// dsn returns the name that opens the database. Whatever access it gives: the
// schema's own text cannot call functions with side effects, a misspelled name
// is no text, and nothing can make SQLite corrupt its file.
func (cfg Config) dsn(a access) (string, error) {
	q := url.Values{
		"_busy_timeout": {"5000"}, "_foreign_keys": {"1"}, "_defensive": {"1"}, "_dqs": {"0"},
		"_pragma": {"trusted_schema(0)"}, "_txlock": {"immediate"},
	}
	if cfg.Path == inMemory {
		return "file::memory:?" + q.Encode(), nil
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return "", configError(err, "", "path: %s", kernel.Quote(err.Error()))
	}
	switch a {
	case reading:
		q.Set("mode", "ro")
		q.Set("_query_only", "1")
	case writing:
		q.Set("mode", "rw")
		q.Set("_journal_mode", "WAL") // so that readers do not wait for the writer
	case seeding:
		q.Set("mode", "rwc")
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String(), nil
}

func configError(cause error, fix, format string, args ...any) error {
	return &kernel.Error{
		Code: kernel.CodeConfig, What: "the sqlite database's configuration: " + fmt.Sprintf(format, args...), Fix: fix, Err: cause,
	}
}
