package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/journal/pgjournal"
	"github.com/hexdag/hexdag/host/journal/sqlitejournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// appendOnly is the other choice for one host: a file that grows, with one fsync for all chunks of an Append. It does not look whether
// a chunk may be written, keeps no index and never gives room back: it is as fast as a log can be.
type appendOnly struct {
	driver.Store
	file *os.File
	buf  []byte
}

func (l *appendOnly) Append(_ context.Context, chunks []driver.Chunk) ([]error, error) {
	l.buf = l.buf[:0]
	for _, c := range chunks {
		l.buf = binary.LittleEndian.AppendUint32(l.buf, uint32(len(c.Data)))
		l.buf = append(append(append(l.buf, c.Tenant...), c.Run...), c.Data...)
	}
	if _, err := l.file.Write(l.buf); err != nil {
		return nil, err
	}
	return make([]error, len(chunks)), l.file.Sync()
}

// node appends what one node that calls a port does, and waits before the call where wait is set.
func node(ctx context.Context, r *journal.RunWriter, wait bool, usage *kernel.UsageSnapshot, args, value kernel.Value) error {
	r.Append(journal.Entry{Kind: journal.Enter, Lane: "summarise"})
	r.Append(journal.Entry{
		Kind: journal.Call, Lane: "summarise", Op: "llm.complete", Key: "hx-0123456789abcdef0123456789abcdef",
		Digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Args: args,
	})
	if wait {
		if err := r.Sync(ctx); err != nil {
			return err
		}
	}
	r.Append(journal.Entry{Kind: journal.Reply, Lane: "summarise", Value: value})
	r.Append(journal.Entry{Kind: journal.Done, Lane: "summarise", State: "finished", Value: value, Usage: usage})
	return nil
}

func sqliteStore(b *testing.B) driver.Store {
	b.Helper()
	s, err := sqlitejournal.Open(b.Context(), sqlitejournal.Config{Path: filepath.Join(b.TempDir(), "journal.db")}, "bench")
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func postgresStore(b *testing.B) driver.Store {
	b.Helper()
	_, url := testserver.Postgres(b, "fsync=on")
	s, err := pgjournal.Open(b.Context(), pgjournal.Config{URL: url}, "bench")
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkWaits measures how long it takes to find one run of 20,000 that wait, among as many that are over: by its event, by its time, and, which is what each second costs,
// that none is due. "list" is all of them, as one would have to look through them otherwise.
func BenchmarkWaits(b *testing.B) {
	for name, open := range map[string]func(*testing.B) driver.Store{"sqlite": sqliteStore, "postgres": postgresStore, "memory": func(*testing.B) driver.Store { return memjournal.New() }} {
		b.Run(name, func(b *testing.B) {
			store := open(b)
			defer store.Close()
			const runs = 20_000
			begun := time.Unix(1_700_000_000, 0)
			var chunks []driver.Chunk
			var wg sync.WaitGroup
			for i := range 2 * runs {
				c := driver.Chunk{Tenant: "acme", Run: fmt.Sprint(i), Epoch: 1, First: 1, Count: 1, Data: []byte("x"), Status: "completed"}
				if i%2 == 0 {
					c.Status, c.Waits = driver.Suspended, &driver.Waits{Keys: []string{fmt.Sprint("approval:", i)}, Until: begun.Add(time.Duration(i) * time.Second), Data: bytes.Repeat([]byte("x"), 300)}
				}
				chunks = append(chunks, c)
			}
			for w := range 64 {
				wg.Go(func() {
					for i := w; i < len(chunks); i += 64 {
						if err := store.Create(b.Context(), &driver.Run{ID: chunks[i].Run, Tenant: "acme", Begun: begun}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			for some := range slices.Chunk(chunks, 1000) {
				if errs, err := store.Append(b.Context(), some); errors.Join(append(errs, err)...) != nil {
					b.Fatal(errs, err)
				}
			}
			for _, q := range []struct {
				name  string
				query driver.Query
				found int
			}{
				{"event", driver.Query{Key: "approval:12000"}, 1}, {"due", driver.Query{Due: begun}, 1}, {"none due", driver.Query{Due: begun.Add(-time.Second)}, 0}, {"list", driver.Query{Status: driver.Suspended}, runs},
			} {
				b.Run(q.name, func(b *testing.B) {
					for b.Loop() {
						if found, err := store.Runs(b.Context(), "acme", q.query); err != nil || len(found) != q.found {
							b.Fatal(len(found), err)
						}
					}
				})
			}
		})
	}
}

// BenchmarkStores measures what a node's four entries cost, 64 runs at a time: the time that passes, divided by all nodes. In "calls" each node
// waits for its call to be on the disk before it would be made; in "nodes" nobody waits.
func BenchmarkStores(b *testing.B) {
	for _, s := range []struct {
		name string
		open func(b *testing.B) driver.Store
	}{
		{"sqlite", sqliteStore},
		{"postgres", postgresStore},
		{"log", func(b *testing.B) driver.Store {
			f, err := os.Create(filepath.Join(b.TempDir(), "journal.log"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { f.Close() })
			return &appendOnly{Store: memjournal.New(), file: f}
		}},
		{"none", func(*testing.B) driver.Store { return discard{memjournal.New()} }},
	} {
		b.Run(s.name+"/nodes", func(b *testing.B) { benchmarkStore(b, s.open(b), false) })
		b.Run(s.name+"/calls", func(b *testing.B) { benchmarkStore(b, s.open(b), true) })
	}
}

func benchmarkStore(b *testing.B, store driver.Store, wait bool) {
	const runs = 64
	defer store.Close()
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(b, w)
	usage := &kernel.UsageSnapshot{LLMCalls: 3, InputTokens: 1200, OutputTokens: 300, PortCalls: 7}
	args := map[string]any{"model": "small", "messages": []any{map[string]any{"role": "user", "content": strings.Repeat("Summarise this ticket. ", 20)}}}
	value := map[string]any{"text": strings.Repeat("The customer asks for a refund. ", 10), "usage": map[string]any{"input_tokens": json.Number("120"), "output_tokens": json.Number("80")}}
	var all []*journal.RunWriter
	for i := range runs {
		all = append(all, w.Run(create(b, store, fmt.Sprint(i)), 1))
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, r := range all {
		wg.Go(func() {
			for n := i; n < b.N; n += runs {
				if err := node(context.Background(), r, wait, usage, args, value); err != nil {
					b.Error(err)
					return
				}
			}
			if err := r.Close(context.Background(), "completed"); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "us/node")
}
