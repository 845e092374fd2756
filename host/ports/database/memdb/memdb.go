// Package memdb is a database in memory, for tests and small data. Its tables are
// given as rows and live as long as the database. It is for one process.
package memdb

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// Config is the data and the limits.
type Config struct {
	// Tables are rows by the table's name. A table's columns are those that any of
	// its rows has, sorted; what a row lacks is NULL. Values are null, booleans,
	// which become 1 and 0, numbers and texts.
	Tables   map[string][]map[string]any `json:"tables"`
	ReadOnly bool                        `json:"read_only"`
	MaxRows  int                         `json:"max_rows"`  // of one answer; 1000 if 0
	MaxBytes int                         `json:"max_bytes"` // of one answer; 1 MiB if 0
}

type database struct {
	limits driver.Limits

	mu     sync.RWMutex
	tables map[string]*table
	fences map[string]uint64 // the largest token that was seen, by lock
}

// table only grows: a row, once in it, never changes.
type table struct {
	driver.Table
	rows [][]driver.Value
}

// New returns a database that holds a copy of the tables, or a CodeConfig error.
func New(cfg Config) (driver.Database, error) {
	if cfg.MaxRows < 0 || cfg.MaxBytes < 0 {
		return nil, configError("max_rows and max_bytes are at least 1")
	}
	d := &database{
		limits: driver.Limits{ReadOnly: cfg.ReadOnly, MaxRows: cfg.MaxRows, MaxBytes: cfg.MaxBytes}.OrDefault(),
		tables: map[string]*table{}, fences: map[string]uint64{},
	}
	for name, rows := range cfg.Tables {
		t, err := newTable(name, rows)
		if err != nil {
			return nil, err
		}
		d.tables[name] = t
	}
	return d, nil
}

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(config map[string]any) (driver.Database, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, configError("%s", kernel.Quote(err.Error()))
	}
	return New(cfg)
}

func configError(format string, args ...any) error {
	return &kernel.Error{
		Code: kernel.CodeConfig, What: "the memory database's configuration: " + fmt.Sprintf(format, args...),
		Fix: "it takes tables, a list of rows for each name; and read_only, max_rows, max_bytes",
	}
}

func newTable(name string, rows []map[string]any) (*table, error) {
	columns := map[string]bool{}
	for _, row := range rows {
		for column := range row {
			columns[column] = true
		}
	}
	if name == "" || len(columns) == 0 || columns[""] {
		return nil, configError("table %q must have a name, and a row with named columns", kernel.Quote(name))
	}
	t := &table{Table: driver.Table{Name: name}}
	for _, column := range slices.Sorted(maps.Keys(columns)) {
		t.Columns = append(t.Columns, driver.Column{Name: column, Type: driver.Any, Nullable: true})
	}
	for i, row := range rows {
		values := make([]driver.Value, len(t.Columns))
		for j, c := range t.Columns {
			var err error
			if values[j], err = driver.Scalar(row[c.Name]); err != nil {
				return nil, configError("table %s, row %d, column %s: %v", kernel.Quote(name), i+1, kernel.Quote(c.Name), err)
			}
		}
		t.rows = append(t.rows, values)
	}
	return t, nil
}
