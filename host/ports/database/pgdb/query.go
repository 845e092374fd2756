package pgdb

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// statement is a text of SQL and its parameters.
type statement struct {
	text strings.Builder
	args []any
}

// bind adds a parameter, a text or NULL, and returns what stands for it.
func (s *statement) bind(written any) string {
	s.args = append(s.args, written)
	return "$" + strconv.Itoa(len(s.args)) + "::text"
}

// Query implements driver.Database.
func (d *database) Query(ctx context.Context, q *driver.Query) iter.Seq2[[]driver.Value, error] {
	return func(yield func([]driver.Value, error) bool) {
		if err := d.each(ctx, q, func(row []driver.Value) bool { return yield(row, nil) }); err != nil {
			yield(nil, databaseError(ctx, err))
		}
	}
}

// each calls yield with rows until it returns false.
func (d *database) each(ctx context.Context, q *driver.Query, yield func([]driver.Value) bool) error {
	columns, err := d.columns(ctx, q.Table)
	if err != nil {
		return err
	}
	kinds := make([]kind, len(q.Columns))
	for i, name := range q.Columns {
		kinds[i] = columns[name].kind
	}
	s := d.selection(q, columns)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := d.pool.Query(ctx, s.text.String(), s.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for n := 1; rows.Next(); n++ {
		row, err := d.row(q, kinds, rows.RawValues())
		if err == nil && yield(row) {
			continue
		}
		if n < q.Limit {
			cancel() // rather lose the connection than read to the end
		}
		return err
	}
	return rows.Err()
}

// row reads the columns, and the last value, which is whether one was too large to send.
func (d *database) row(q *driver.Query, kinds []kind, raw [][]byte) ([]driver.Value, error) {
	if string(raw[len(kinds)]) == "t" {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "a value of table " + kernel.Quote(q.Table) + " is too large", Why: "it has more than " + strconv.Itoa(d.limits.MaxBytes) + " bytes", Fix: "name other columns, or raise max_bytes in the database's configuration"}
	}
	row := make([]driver.Value, len(kinds))
	for i, k := range kinds {
		if raw[i] == nil {
			continue
		}
		var err error
		if row[i], err = k.value(string(raw[i])); err != nil {
			return nil, err
		}
	}
	return row, nil
}

// selection writes the query. A value above the limit stays on the server: who receives it has
// it in memory before it can be measured.
func (d *database) selection(q *driver.Query, columns map[string]column) *statement {
	s := &statement{}
	limit := strconv.Itoa(d.limits.MaxBytes)
	var large []string
	s.text.WriteString("SELECT ")
	for _, name := range q.Columns {
		id := identifier(name)
		switch k := columns[name].kind; {
		case k == blob:
			s.text.WriteString("CASE WHEN " + id + " IS NOT NULL THEN '' END, ") // which it is, is all that is asked
		case k.sized():
			written := id + "::text"
			s.text.WriteString("CASE WHEN octet_length(" + written + ") <= " + limit + " THEN " + written + " END, ")
			large = append(large, "coalesce(octet_length("+written+") > "+limit+", false)")
		case k == keyed:
			s.text.WriteString(id + "::text, ")
		default:
			s.text.WriteString(id + ", ")
		}
	}
	s.text.WriteString(strings.Join(append(large, "false"), " OR "))
	s.text.WriteString(" FROM " + identifier(d.schema) + "." + identifier(q.Table))
	for i, cell := range q.Where {
		s.text.WriteString([]string{" WHERE ", " AND "}[min(i, 1)])
		s.text.WriteString(columns[cell.Column].condition(cell.Value, s.bind))
	}
	if q.OrderBy != "" {
		s.text.WriteString(" ORDER BY " + identifier(d.schema) + "." + identifier(q.Table) + "." + identifier(q.OrderBy) + []string{" NULLS FIRST", " DESC NULLS LAST"}[toInt(q.Descending)])
	}
	s.text.WriteString(" LIMIT " + strconv.Itoa(q.Limit))
	return s
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Insert implements driver.Database. A statement of its own is atomic.
func (d *database) Insert(ctx context.Context, table string, row []driver.Cell, fences []kernel.Fence) error {
	columns, err := d.columns(ctx, table)
	if err != nil {
		return err
	}
	s := &statement{}
	s.text.WriteString("INSERT INTO " + identifier(d.schema) + "." + identifier(table) + " (")
	for i, cell := range row {
		s.text.WriteString([]string{"", ", "}[min(i, 1)] + identifier(cell.Column))
	}
	s.text.WriteString(") VALUES (")
	for i, cell := range row {
		if v, ok := cell.Value.(string); ok && !isText(v) {
			return &kernel.Error{Code: kernel.CodeArguments, What: "the table does not take the row", Why: "a text of Postgres is valid UTF-8 without NUL"}
		}
		s.text.WriteString([]string{"", ", "}[min(i, 1)])
		s.text.WriteString("CAST(" + s.bind(write(cell.Value)) + " AS " + columns[cell.Column].cast + ")")
	}
	s.text.WriteString(")")
	if len(fences) > 0 {
		return databaseError(ctx, d.fenced(ctx, fences, s))
	}
	_, err = d.pool.Exec(ctx, s.text.String(), s.args...)
	return databaseError(ctx, err)
}
