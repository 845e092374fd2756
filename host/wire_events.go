package host

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/kafkabus"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
	"github.com/hexdag/hexdag/host/ports/eventbus/natsbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/redisbus"
)

// busConfig is what all adapters of the event bus take.
type busConfig struct {
	eventbus.Options
	NodeEvents bool `json:"node_events"` // the host publishes what becomes of nodes, too
}

type memoryBusConfig struct {
	busConfig
	membus.Config
}

// natsBusConfig: max_bytes is the folder's.
type natsBusConfig struct {
	busConfig
	natsserver.Config
	natsbus.Streams
	MaxAge string `json:"max_age"` // "168h"
	Dedup  string `json:"dedup"`   // "2m"
}

func readBusConfig(config map[string]any, into any, takes string) error {
	if err := kernel.FromValue(config, into); err != nil {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of the event bus cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes max_data_bytes, max_hops, max_per_run, max_per_second, publish_timeout, node_events" + takes, Err: err}
	}
	return nil
}

func openProcessBus(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	var c memoryBusConfig
	if err := readBusConfig(config, &c, ", queue, retain, retain_bytes and dedup_ids"); err != nil {
		return nil, err
	}
	c.Patience = time.Duration(c.PublishTimeout * float64(time.Second))
	return o.keepBus(membus.New(c.Config), c.busConfig)
}

func openNATSBus(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	var c natsBusConfig
	if err := o.natsPaths(config, dir); err != nil {
		return nil, err
	}
	if err := readBusConfig(config, &c, ", url, credentials, ca, folder, sync_always, max_bytes, prefix, replicas, retain_bytes, max_age and dedup"); err != nil {
		return nil, err
	}
	streams := natsbus.Config{Streams: c.Streams}
	for text, into := range map[string]*time.Duration{c.MaxAge: &streams.MaxAge, c.Dedup: &streams.Dedup} {
		var err error
		if *into, err = duration(text); err != nil {
			return nil, err
		}
	}
	server, err := o.host.nats(o.ctx, c.Config)
	if err != nil {
		return nil, err
	}
	bus, err := natsbus.New(server, streams)
	if err != nil {
		return nil, err
	}
	if server.Embedded() {
		o.host.storesIn("eventbus", c.Folder)
	}
	return o.keepBus(bus, c.busConfig)
}

// redisBusConfig and kafkaBusConfig say durations as texts.
type redisBusConfig struct {
	busConfig
	redisbus.Config
	Dedup string `json:"dedup"`
}

func openRedisBus(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	var c redisBusConfig
	if err := readBusConfig(config, &c, ", url, prefix, retain and dedup"); err != nil {
		return nil, err
	}
	var err error
	if c.Config.Dedup, err = duration(c.Dedup); err != nil {
		return nil, err
	}
	bus, err := redisbus.Open(o.ctx, c.Config)
	if err != nil {
		return nil, err
	}
	return o.keepBus(bus, c.busConfig)
}

type kafkaBusConfig struct {
	busConfig
	kafkabus.Config
	MaxAge string `json:"max_age"`
}

func openKafkaBus(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	var c kafkaBusConfig
	if err := readBusConfig(config, &c, ", brokers, prefix, replicas and max_age"); err != nil {
		return nil, err
	}
	var err error
	if c.Config.MaxAge, err = duration(c.MaxAge); err != nil {
		return nil, err
	}
	bus, err := kafkabus.Open(o.ctx, c.Config)
	if err != nil {
		return nil, err
	}
	return o.keepBus(bus, c.busConfig)
}

func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, &kernel.Error{Code: kernel.CodeConfig, What: kernel.Quote(text) + " is no duration", Fix: `write a number with a unit, as in "10m"`, Err: err}
	}
	return d, nil
}

// natsPaths resolves the paths of a NATS configuration; without a cluster the folder is in the
// host's state.
func (o opening) natsPaths(config map[string]any, dir string) error {
	for _, key := range []string{"folder", "credentials", "ca"} {
		if err := o.path(config, key, dir); err != nil {
			return err
		}
	}
	if config["url"] == nil && config["folder"] == nil {
		config["folder"] = filepath.Join(stateOf(o.host.config), "nats")
	}
	return nil
}

// keepBus has a bus closed in the end. There is one, the operator's: what is
// published is the tenant's and not a pipeline's.
func (o opening) keepBus(bus driver.Bus, c busConfig) ([]ports.Op, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	o.host.bus, o.host.busConfig = eventbus.New(bus, c.Options), c
	o.closers.add(func(context.Context) error { return o.host.bus.Close() })
	return o.host.bus.Ops(o.host), nil
}

// checkBus: the bus is the operator's alone, and one.
func checkBus(specs map[string]pipeline.PortSpec, operator bool) error {
	for _, name := range []string{"eventbus", "event_bus"} {
		spec, named := specs[name]
		switch {
		case !named:
		case !operator:
			return place(&kernel.Error{Code: kernel.CodeConfig, What: "a pipeline cannot bring its own event bus", Why: "events are between pipelines", Fix: "have the operator configure it in hexdag.yaml"}, spec.Where)
		case len(spec.Pool) > 0:
			return place(&kernel.Error{Code: kernel.CodeConfig, What: "the event bus cannot be a pool", Why: "who subscribes to one would not see what is published on the other", Fix: "configure one adapter"}, spec.Where)
		}
	}
	return nil
}

// servers are the connections to NATS that ports of one host share.
type servers struct {
	mu   sync.Mutex
	nats map[string]*natsserver.Server
}

// nats returns the connection to the cluster, or the folder, of a configuration; the host closes it.
func (h *Host) nats(ctx context.Context, c natsserver.Config) (*natsserver.Server, error) {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	key := c.URL + "\x00" + c.Folder + "\x00" + c.Credentials
	if s := h.shared.nats[key]; s != nil {
		return s, nil
	}
	s, err := natsserver.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	if h.shared.nats == nil {
		h.shared.nats = map[string]*natsserver.Server{}
	}
	h.shared.nats[key] = s
	h.closers.add(func(context.Context) error { return s.Close() })
	return s, nil
}
