package host

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/pgjournal"
	"github.com/hexdag/hexdag/host/journal/sqlitejournal"
	"github.com/hexdag/hexdag/host/kernel"
)

// journalKept is for how long journals are kept where the configuration does not say.
const journalKept = 30 * 24 * time.Hour

// Journal is the journals of a configuration's tenant, open to look into and to clear up. See package journal.
type Journal struct {
	driver.Store
	Tenant string
	Policy journal.Policy
}

// OpenJournal opens the journals of a configuration, whether or not its host runs. The caller closes it. CodeNotFound where nothing was recorded yet.
func OpenJournal(ctx context.Context, cfg *Config) (*Journal, error) {
	h := &Host{config: cfg, state: stateOf(cfg)}
	store, err := h.journalStore(ctx, false)
	if err != nil {
		return nil, err
	}
	return &Journal{Store: store, Tenant: h.tenant(), Policy: journalPolicy(cfg)}, nil
}

// openJournal opens the store that this host records its runs in. The caller closes it.
func (h *Host) openJournal(ctx context.Context) (driver.Store, error) {
	return h.journalStore(ctx, true)
}

// journalPolicy says which journals the configuration has kept.
func journalPolicy(cfg *Config) journal.Policy {
	spec := cfg.Journal
	return journal.Policy{Keep: cmp.Or(spec.Keep, journalKept), KeepFailed: spec.KeepFailed, Max: spec.MaxRuns}
}

// journalStore opens the configured store: to work on runs, or as a visitor.
func (h *Host) journalStore(ctx context.Context, work bool) (driver.Store, error) {
	spec := h.config.Journal
	config, err := (opening{host: h, ctx: ctx, closers: &h.closers, file: h.config.File}).secrets(spec.Config)
	if err != nil {
		return nil, place(err, spec.Where)
	}
	var store driver.Store
	switch spec.Adapter {
	case "", "sqlite":
		store, err = h.sqliteJournal(ctx, config, work)
	case "postgres":
		store, err = postgresJournal(ctx, config, work)
	default: // of a configuration that no file says
		err = &kernel.Error{Code: kernel.CodeConfig, What: "the journal has no adapter " + kernel.Quote(spec.Adapter), Fix: "known are postgres, sqlite"}
	}
	if err != nil {
		return nil, place(err, spec.Where)
	}
	return store, nil
}

func (h *Host) sqliteJournal(ctx context.Context, config map[string]any, work bool) (driver.Store, error) {
	var c sqlitejournal.Config
	if err := take("the journal", config, &c, "for the adapter sqlite it takes path"); err != nil {
		return nil, err
	}
	c.Path = h.journalPath(c)
	if !work {
		return storeOr(sqlitejournal.Visit(ctx, c))
	}
	return storeOr(sqlitejournal.Open(ctx, c, hostName()))
}

func (h *Host) journalPath(c sqlitejournal.Config) string {
	if c.Path != "" {
		return h.besideConfig(c.Path)
	}
	return filepath.Join(h.state, "journal.db")
}

// journalIsThere reports whether anything may have been recorded yet: a file that is not there has nothing.
func (h *Host) journalIsThere() bool {
	spec := h.config.Journal
	if spec.Adapter != "" && spec.Adapter != "sqlite" {
		return true
	}
	config, err := (opening{host: h}).secrets(spec.Config)
	if err != nil { // whoever opens it says what is wrong
		return true
	}
	var c sqlitejournal.Config
	c.Path, _ = config["path"].(string)
	_, err = os.Stat(h.journalPath(c))
	return !errors.Is(err, fs.ErrNotExist)
}

func postgresJournal(ctx context.Context, config map[string]any, work bool) (driver.Store, error) {
	var c pgjournal.Config
	if err := take("the journal", config, &c, "for the adapter postgres it takes url, table and ttl"); err != nil {
		return nil, err
	}
	if !work {
		return storeOr(pgjournal.Visit(ctx, c))
	}
	return storeOr(pgjournal.Open(ctx, c, hostName()))
}

// storeOr is a store, or nil where there is an error.
func storeOr[S driver.Store](s S, err error) (driver.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
