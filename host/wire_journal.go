package host

import (
	"context"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// openJournal opens what the configuration says of the journal.
func (h *Host) openJournal(context.Context) (driver.Store, error) {
	return nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no journal"}
}
