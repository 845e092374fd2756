package host

import (
	"context"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// OpenJournal opens the journals that a configuration names, without the host.
func OpenJournal(ctx context.Context, cfg *Config) (driver.Store, func() error, error) {
	return nil, nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no journal"}
}

// openJournal opens what the configuration says of the journal.
func (h *Host) openJournal(context.Context) (driver.Store, error) {
	return nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no journal"}
}
