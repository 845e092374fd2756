package host

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/executor/temporalexecutor"
	"github.com/hexdag/hexdag/host/kernel"
)

// openExecutor opens what the configuration has runs work on.
func (h *Host) openExecutor() error {
	spec := h.config.Executor
	switch spec.Adapter {
	case "", "local":
		return nil
	case "temporal":
	default:
		return &kernel.Error{Code: kernel.CodeConfig, What: "there is no executor " + kernel.Quote(spec.Adapter), Where: spec.Where, Fix: kernel.DidYouMean(spec.Adapter, []string{"local", "temporal"})}
	}
	if err := h.sharesValues(); err != nil {
		return kernel.At(err, spec.Where)
	}
	config, missing := resolveSecrets(spec.Config, os.LookupEnv)
	if missing != "" {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the environment variable " + missing + " is not set", Where: spec.Where, Fix: "set it: spec.executor names it"}
	}
	if config == nil || config.(map[string]any) == nil {
		config = map[string]any{}
	}
	var c temporalexecutor.Config
	if err := kernel.FromValue(config, &c); err != nil {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of executor temporal cannot be used", Where: spec.Where, Why: kernel.Quote(err.Error()),
			Fix: "it takes address, namespace, task_queue, tls, ca, cert, key, api_key, heartbeat, attempts, max_node_time, worker_timeout, drain and concurrency", Err: err}
	}
	if negative(c.Heartbeat, c.MaxNodeTime, c.WorkerTimeout, c.Drain, float64(c.Attempts), float64(c.Concurrency)) {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of executor temporal cannot be used", Where: spec.Where, Why: "a time or a number is negative", Fix: "leave it out for the default"}
	}
	for _, file := range []*string{&c.CA, &c.Cert, &c.Key} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(h.config.File), *file)
		}
	}
	x, err := temporalexecutor.Open(c, spec.Where, h.log)
	if err != nil {
		return err
	}
	h.executor, h.values = x, executor.NewValues(h.artifacts)
	h.elsewhere.host = h
	h.closers.add(func(ctx context.Context) error {
		err := h.elsewhere.close(ctx)
		x.Close()
		return err
	})
	return nil
}

func negative(numbers ...float64) bool {
	return slices.ContainsFunc(numbers, func(n float64) bool { return n < 0 })
}

// sharesValues refuses an executor where workers could not see what runs are told, and warns of ports that
// each process has for itself.
func (h *Host) sharesValues() error {
	adapter := orElse(h.config.Ports["artifacts"].Adapter, "file")
	if h.artifacts == nil || adapter == "memory" {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the executor needs artifacts that all its processes see", Why: "what nodes are given and answer, modules and pipelines travel as artifacts, and these are in the memory of one process",
			Fix: "configure ports: {artifacts: {adapter: blob, nats or mlflow}}, or file where all processes see one folder"}
	}
	var own []string
	for _, port := range []string{"memory", "lock", "eventbus"} {
		spec := h.config.Ports[port]
		if port == "eventbus" && spec.Adapter == "" {
			spec = h.config.Ports["event_bus"]
		}
		if name := spec.Adapter; name == "" || name == "memory" || strings.Contains(strings.ToLower(name), "inmemory") || name == "in_memory_memory" {
			own = append(own, port)
		}
	}
	if len(own) > 0 {
		h.log.Warn("these ports are in the memory of each worker: nodes of one run see different ones", "ports", strings.Join(own, ", "), "fix", "configure adapters that processes share")
	}
	return nil
}
