package host

import (
	"context"
	"path/filepath"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/databasetools"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/database/driver"
	"github.com/hexdag/hexdag/host/ports/database/pgdb"
	"github.com/hexdag/hexdag/host/ports/database/sqlitedb"
)

// openDatabaseTools opens the database that may be queried with SQL, if the operator has configured one. It is read-only, whatever the
// configuration says.
func (h *Host) openDatabaseTools() ([]ports.Op, error) {
	spec := h.config.Libraries.DatabaseTools
	if spec == nil {
		return nil, nil
	}
	ctx := context.Background()
	o := opening{host: h, ctx: ctx, closers: &h.closers, file: h.config.File}
	config, err := o.secrets(spec.Config)
	if err != nil {
		return nil, place(err, spec.Where)
	}
	var d driver.Database
	timeout := 30 * time.Second
	switch spec.Adapter {
	case "sqlite":
		for _, key := range []string{"path", "seed"} {
			if err := o.path(config, key, filepath.Dir(h.config.File)); err != nil {
				return nil, place(err, spec.Where)
			}
		}
		config["read_only"] = true
		d, err = sqlitedb.FromConfig(ctx, config)
	case "postgres":
		var c pgdb.Config
		if c, err = pgdb.FromConfig(config); err == nil {
			c.ReadOnly = true
			if c.Timeout > 0 {
				timeout = time.Duration(c.Timeout * float64(time.Second))
			}
			d, err = pgdb.New(ctx, c)
		}
	default:
		err = &kernel.Error{Code: kernel.CodeConfig, What: "database_tools has no adapter " + kernel.Quote(spec.Adapter), Fix: "known are postgres, sqlite"}
	}
	if err != nil {
		return nil, place(err, spec.Where)
	}
	tools, err := databasetools.New(d, timeout)
	if err != nil {
		return nil, place(err, spec.Where)
	}
	h.closers.add(func(context.Context) error { return tools.Close() })
	return tools.Ops(), nil
}
