package memdb

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// checkEvery is after how many rows a scan looks at its context.
const checkEvery = 1024

func (d *database) Limits() driver.Limits { return d.limits }

func (d *database) Close() error { return nil }

func (d *database) Tables(ctx context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(d.tables)), ctx.Err()
}

func (d *database) Describe(ctx context.Context, name string) (*driver.Table, error) {
	t, err := d.table(name)
	if err != nil {
		return nil, err
	}
	described := t.Table
	return &described, ctx.Err()
}

func (d *database) table(name string) (*table, error) {
	t, ok := d.tables[name]
	if !ok {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no table " + kernel.Quote(name)}
	}
	return t, nil
}

// Query returns the rows in the order of their insertion, or of a column and then that.
func (d *database) Query(ctx context.Context, q *driver.Query) iter.Seq2[[]driver.Value, error] {
	return func(yield func([]driver.Value, error) bool) {
		rows, err := d.find(ctx, q)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (d *database) find(ctx context.Context, q *driver.Query) ([][]driver.Value, error) {
	t, err := d.table(q.Table)
	if err != nil {
		return nil, err
	}
	where, err := t.places(q.Where)
	if err != nil {
		return nil, err
	}
	d.mu.RLock()
	rows := t.rows // rows that come later are not in this slice, and none changes
	d.mu.RUnlock()
	var found [][]driver.Value
	for i, row := range rows {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if matches(row, where, q.Where) {
			found = append(found, row)
		}
	}
	if err := t.order(found, q); err != nil {
		return nil, err
	}
	return t.project(found[:min(q.Limit, len(found))], q.Columns)
}

// place returns where in a row a column is.
func (t *table) place(column string) (int, error) {
	i := slices.IndexFunc(t.Columns, func(c driver.Column) bool { return c.Name == column })
	if i < 0 {
		return 0, &kernel.Error{Code: kernel.CodeArguments, What: "table " + kernel.Quote(t.Name) + " has no column " + kernel.Quote(column)}
	}
	return i, nil
}

func (t *table) places(cells []driver.Cell) ([]int, error) {
	places := make([]int, len(cells))
	for i, cell := range cells {
		var err error
		if places[i], err = t.place(cell.Column); err != nil {
			return nil, err
		}
	}
	return places, nil
}

func matches(row []driver.Value, places []int, cells []driver.Cell) bool {
	for i, place := range places {
		if compare(row[place], cells[i].Value) != 0 {
			return false
		}
	}
	return true
}

func (t *table) order(rows [][]driver.Value, q *driver.Query) error {
	if q.OrderBy == "" {
		return nil
	}
	place, err := t.place(q.OrderBy)
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b []driver.Value) int {
		if q.Descending {
			a, b = b, a
		}
		return compare(a[place], b[place])
	})
	return nil
}

func (t *table) project(rows [][]driver.Value, columns []string) ([][]driver.Value, error) {
	places := make([]int, len(columns))
	for i, column := range columns {
		var err error
		if places[i], err = t.place(column); err != nil {
			return nil, err
		}
	}
	projected := make([][]driver.Value, len(rows))
	for i, row := range rows {
		projected[i] = make([]driver.Value, len(places))
		for j, place := range places {
			projected[i][j] = row[place]
		}
	}
	return projected, nil
}

func (d *database) Insert(ctx context.Context, name string, cells []driver.Cell, fences []kernel.Fence) error {
	t, err := d.table(name)
	if err != nil {
		return err
	}
	places, err := t.places(cells)
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(t.Columns))
	for i, place := range places {
		row[place] = cells[i].Value
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range fences {
		if seen := d.fences[f.Lock]; seen > f.Token {
			return kernel.Stale(f, seen)
		}
	}
	for _, f := range fences {
		d.fences[f.Lock] = f.Token
	}
	t.rows = append(t.rows, row)
	return nil
}

// compare orders values: NULLs, then numbers, then texts.
func compare(a, b driver.Value) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
		return compareMixed(a, b.(float64))
	case float64:
		if b, ok := b.(int64); ok {
			return -compareMixed(b, a)
		}
		return cmp.Compare(a, b.(float64))
	}
	return 0
}

func rank(v driver.Value) int {
	switch v.(type) {
	case nil:
		return 0
	case string:
		return 2
	}
	return 1
}

// compareMixed compares exactly: not every int64 is a float64.
func compareMixed(n int64, f float64) int {
	switch {
	case f >= 1<<63:
		return -1
	case f < -1<<63:
		return 1
	}
	whole := int64(f)
	if c := cmp.Compare(n, whole); c != 0 {
		return c
	}
	return cmp.Compare(float64(whole), f)
}
