package journal_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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

// BenchmarkStores measures what a node's four entries cost, 64 runs at a time: the time that passes, divided by all nodes. In "calls" each node
// waits for its call to be on the disk before it would be made; in "nodes" nobody waits.
func BenchmarkStores(b *testing.B) {
	for _, s := range []struct {
		name string
		open func(b *testing.B) driver.Store
	}{
		{"sqlite", func(b *testing.B) driver.Store {
			s, err := sqlitejournal.Open(b.Context(), sqlitejournal.Config{Path: filepath.Join(b.TempDir(), "journal.db")}, "bench")
			if err != nil {
				b.Fatal(err)
			}
			return s
		}},
		{"postgres", func(b *testing.B) driver.Store {
			_, url := testserver.Postgres(b, "fsync=on")
			s, err := pgjournal.Open(b.Context(), pgjournal.Config{URL: url}, "bench")
			if err != nil {
				b.Fatal(err)
			}
			return s
		}},
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
