package scheduler

import (
	"context"
	"testing"

	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Keep keeps tasks as they are.
func Keep(t testing.TB, store *datastore.Store, tasks ...*Task) {
	t.Helper()
	var writes []driver.Write
	for i, task := range tasks {
		d, err := task.document()
		if err != nil {
			t.Fatal(err)
		}
		if writes = append(writes, driver.Write{Document: d, If: driver.Any}); len(writes) < datastore.MaxBatch && i < len(tasks)-1 {
			continue
		}
		if _, err := store.Save(t.Context(), "acme", collection, writes...); err != nil {
			t.Fatal(err)
		}
		writes = nil
	}
}

// Register keeps a run's id, and reports whether it is new, as a registry does.
func Register(ctx context.Context, store *datastore.Store, run string) (bool, error) {
	return store.Put(ctx, "acme", "runs", driver.Document{Key: run}, driver.Absent)
}
