package host

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// OpenBus opens the event bus of a configuration without the rest of a host, beside
// hosts that use it. It returns the bus, whose events are of the tenant's, and what closes it.
// A bus that is in the memory of one process cannot be opened by another: CodeConfig.
func OpenBus(ctx context.Context, cfg *Config) (bus *eventbus.Bus, tenant string, closeBus func() error, err error) {
	h := &Host{config: cfg, log: slog.New(slog.DiscardHandler), stores: map[string]string{}, state: stateOf(cfg)}
	spec := cfg.Ports["eventbus"]
	if named, ok := cfg.Ports["event_bus"]; ok {
		spec = named
	}
	if spec.Adapter == "" || spec.Adapter == "memory" {
		return nil, "", nil, &kernel.Error{Code: kernel.CodeConfig, What: "the event bus is in the memory of each process", Where: kernel.Where{File: cfg.File},
			Why: "what one process publishes no other sees", Fix: "add ports: {eventbus: {adapter: nats}} to spec: events are then kept in " + kernel.Quote(filepath.Join(h.state, "nats"))}
	}
	closeAll := func() error { return h.closers.close(context.WithoutCancel(ctx)) }
	if err := h.openFolder(h.state); err != nil {
		return nil, "", nil, err
	}
	specs := maps.Clone(cfg.Ports)
	maps.DeleteFunc(specs, func(name string, _ pipeline.PortSpec) bool {
		return !slices.Contains([]string{"eventbus", "event_bus"}, name)
	})
	if _, err := (opening{host: h, ctx: ctx, closers: &h.closers, file: cfg.File}).ports(specs); err != nil {
		return nil, "", nil, errors.Join(err, closeAll())
	}
	return h.bus, h.tenant(), closeAll, nil
}
