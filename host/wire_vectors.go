package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/database/pgdb"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/memvectors"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/pgvectors"
)

// vectorsConfig is what the adapters of vector_search have in common.
type vectorsConfig struct {
	vectorsearch.Options
	Metric vectorsearch.Metric `json:"metric"` // cosine if empty
}

func (c *vectorsConfig) check() (err error) {
	c.Metric, err = vectorsearch.CheckMetric(c.Metric)
	return errors.Join(err, c.Check())
}

func vectorsProblem(err error, takes string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of vector_search cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes metric, max_vectors, max_bytes, max_dimension and max_metadata" + takes, Err: err}
}

func openMemoryVectors(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	return o.processVectors(config, memvectors.New)
}

func openGraphVectors(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	return o.processVectors(config, memvectors.NewGraph)
}

func (o opening) processVectors(config map[string]any, open func(driver.Metric) driver.Index) ([]ports.Op, error) {
	var c vectorsConfig
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, vectorsProblem(err, "")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return o.keepVectors(open(c.Metric), c), nil
}

func openPostgresVectors(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	var c struct {
		vectorsConfig
		pgvectors.Config
	}
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, vectorsProblem(err, ", and url, timeout and connections")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if o.own {
		if err := errors.Join(o.reach("Postgres", c.URL), pgdb.Config{URL: c.URL}.CheckOwn()); err != nil {
			return nil, err
		}
	}
	index, err := pgvectors.Open(o.ctx, c.Config, c.Metric)
	if err != nil {
		return nil, err
	}
	return o.keepVectors(index, c.vectorsConfig), nil
}

func (o opening) keepVectors(index driver.Index, c vectorsConfig) []ports.Op {
	vectors := vectorsearch.New(index, c.Metric, c.Options)
	o.closers.add(func(context.Context) error { return vectors.Close() })
	return vectors.Ops()
}
