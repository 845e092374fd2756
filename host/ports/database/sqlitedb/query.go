package sqlitedb

import (
	"context"
	"database/sql"
	"iter"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ordinary selects the tables that the port offers.
const ordinary = `t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name <> '` + fenceTable + `' COLLATE NOCASE`

// Tables returns the names of the ordinary tables.
func (d *database) Tables(ctx context.Context) ([]string, error) {
	rows, err := d.reader.QueryContext(ctx, `SELECT t.name FROM pragma_table_list AS t WHERE `+ordinary+` ORDER BY t.name COLLATE BINARY`)
	if err != nil {
		return nil, databaseError(err)
	}
	defer rows.Close()
	names := []string{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, databaseError(err)
		}
		names = append(names, name)
	}
	return names, databaseError(rows.Err())
}

// Describe looks the table up by its exact name, while SQLite itself ignores case.
func (d *database) Describe(ctx context.Context, table string) (*driver.Table, error) {
	rows, err := d.reader.QueryContext(ctx, `
		SELECT c.name, c.type, c."notnull", c.pk
		FROM pragma_table_list AS t JOIN pragma_table_xinfo(t.name, 'main') AS c
		WHERE `+ordinary+` AND t.name = ? COLLATE BINARY AND c.hidden <> 1 ORDER BY c.cid`, table)
	if err != nil {
		return nil, databaseError(err)
	}
	defer rows.Close()
	t := &driver.Table{Name: table}
	for rows.Next() {
		var name, declared string
		var notNull, key int
		if err := rows.Scan(&name, &declared, &notNull, &key); err != nil {
			return nil, databaseError(err)
		}
		t.Columns = append(t.Columns, driver.Column{
			Name: name, Type: affinity(declared), Nullable: notNull == 0 && key == 0, PrimaryKey: key > 0,
		})
	}
	if err := rows.Err(); err != nil {
		return nil, databaseError(err)
	}
	if len(t.Columns) == 0 {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no table " + kernel.Quote(table)}
	}
	return t, nil
}

// affinity is SQLite's rule for a declared type.
func affinity(declared string) driver.Type {
	declared = strings.ToUpper(declared)
	has := func(part string) bool { return strings.Contains(declared, part) }
	switch {
	case has("INT"):
		return driver.Integer
	case has("CHAR"), has("CLOB"), has("TEXT"):
		return driver.Text
	case has("BLOB"):
		return driver.Blob
	case declared == "", declared == "ANY":
		return driver.Any
	case has("REAL"), has("FLOA"), has("DOUB"):
		return driver.Real
	}
	return driver.Numeric
}

// Query selects the rows one by one.
func (d *database) Query(ctx context.Context, q *driver.Query) iter.Seq2[[]driver.Value, error] {
	return func(yield func([]driver.Value, error) bool) {
		if err := d.each(ctx, q, func(row []driver.Value) bool { return yield(row, nil) }); err != nil {
			yield(nil, databaseError(err))
		}
	}
}

// each calls yield with rows until it returns false.
func (d *database) each(ctx context.Context, q *driver.Query, yield func([]driver.Value) bool) error {
	conn, err := d.reader.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := d.limit(conn); err != nil {
		return err
	}
	statement, args := selectSQL(q)
	rows, err := conn.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row := make([]driver.Value, len(q.Columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if !yield(row) {
			return nil
		}
	}
	return rows.Err()
}

// leastLength is room for the schema's own rows.
const leastLength = 64 << 10

// limit keeps SQLite from reading or writing a value above MaxBytes: it has to
// have a value in memory before anyone else can measure it.
func (d *database) limit(conn *sql.Conn) error {
	_, err := sqlite.Limit(conn, sqlite3.SQLITE_LIMIT_LENGTH, max(d.limits.MaxBytes, leastLength))
	return err
}

// selectSQL writes the query. The plus signs are for the client, which turns the
// texts of columns that are declared as dates into something else.
func selectSQL(q *driver.Query) (string, []any) {
	var b strings.Builder
	for i, column := range q.Columns {
		b.WriteString([]string{"SELECT +", ", +"}[min(i, 1)])
		b.WriteString(identifier(column))
	}
	b.WriteString(" FROM main." + identifier(q.Table))
	var args []any
	for i, cell := range q.Where {
		b.WriteString([]string{" WHERE ", " AND "}[min(i, 1)])
		column := identifier(cell.Column)
		// Without its type, 7 would equal '7' in a column of texts.
		switch cell.Value.(type) {
		case nil:
			b.WriteString(column + " IS NULL")
			continue
		case string:
			b.WriteString("typeof(" + column + ") = 'text' AND " + column + " = ?")
		default:
			b.WriteString("typeof(" + column + ") IN ('integer', 'real') AND " + column + " = ?")
		}
		args = append(args, cell.Value)
	}
	if q.OrderBy != "" {
		b.WriteString(" ORDER BY " + identifier(q.OrderBy))
		if q.Descending {
			b.WriteString(" DESC")
		}
	}
	b.WriteString(" LIMIT ?")
	return b.String(), append(args, int64(q.Limit))
}

// Insert adds the row; SQLite makes a statement of its own atomic.
func (d *database) Insert(ctx context.Context, table string, row []driver.Cell, fences []kernel.Fence) error {
	if d.writer == nil {
		return &kernel.Error{Code: kernel.CodeDenied, What: "the database is read-only"}
	}
	conn, err := d.writer.Conn(ctx)
	if err != nil {
		return databaseError(err)
	}
	defer conn.Close()
	if err := d.limit(conn); err != nil {
		return databaseError(err)
	}
	columns, marks, args := make([]string, len(row)), make([]string, len(row)), make([]any, len(row))
	for i, cell := range row {
		columns[i], marks[i], args[i] = identifier(cell.Column), "?", cell.Value
	}
	insert := func() error {
		_, err := conn.ExecContext(ctx, "INSERT INTO main."+identifier(table)+" ("+strings.Join(columns, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", args...)
		return err
	}
	if len(fences) == 0 {
		return databaseError(insert())
	}
	return databaseError(fenced(ctx, conn, fences, insert))
}

// identifier quotes a name, which may hold anything.
func identifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
