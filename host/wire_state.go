package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/pgdb"
)

func openPostgres(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	cfg, err := pgdb.FromConfig(config)
	if err != nil {
		return nil, err
	}
	if o.own {
		if err := errors.Join(o.reach("Postgres", cfg.URL), cfg.CheckOwn()); err != nil {
			return nil, err
		}
	}
	d, err := pgdb.New(o.ctx, cfg)
	if err != nil {
		return nil, err
	}
	port := database.New(d)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}
