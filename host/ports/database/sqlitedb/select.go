package sqlitedb

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

var _ driver.Reader = (*database)(nil)

// Select implements driver.Reader. The readers' connections can change nothing: the file is open for reading (mode=ro) with query_only, and
// nothing can be attached. A statement that does anything but read is refused before, since a PRAGMA could change the connection.
func (d *database) Select(ctx context.Context, statement string, parameters []driver.Value, limit int, each func([]string, []kernel.Value) bool) error {
	if d.reader == d.writer {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the database takes no SQL", Why: "in memory it has one connection, which writes", Fix: "set read_only"}
	}
	if err := readsOnly(statement); err != nil {
		return err
	}
	conn, err := d.reader.Conn(ctx)
	if err != nil {
		return statementError(err)
	}
	defer conn.Close()
	if err := d.limit(conn); err != nil {
		return databaseError(err)
	}
	if _, err := sqlite.Limit(conn, sqlite3.SQLITE_LIMIT_ATTACHED, 0); err != nil {
		return databaseError(err)
	}
	rows, err := conn.QueryContext(ctx, statement, parameters...)
	if err != nil {
		return statementError(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return statementError(err)
	}
	for n := 0; n < limit && rows.Next(); n++ {
		row, into := make([]driver.Value, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return statementError(err)
		}
		values := make([]kernel.Value, len(row))
		for i, v := range row {
			if values[i], err = jsonOf(columns[i], v); err != nil {
				return err
			}
		}
		if !each(columns, values) {
			return nil
		}
	}
	return statementError(rows.Err())
}

// jsonOf is a value as JSON has it.
func jsonOf(column string, v driver.Value) (kernel.Value, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), nil
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return json.Number(strconv.FormatFloat(v, 'g', -1, 64)), nil
		}
	case bool:
		return v, nil
	case time.Time: // what a column that is declared as a time holds
		return v.Format(time.RFC3339Nano), nil
	case string:
		return strings.ToValidUTF8(v, string(utf8.RuneError)), nil
	}
	return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: "column " + kernel.Quote(column) + " holds what JSON has not", Why: "it is a BLOB, or a number that is not finite", Fix: "select hex(" + kernel.Quote(column) + "), or another column"}
}

// readsOnly refuses what is no single statement that reads. It is for the words: the connection refuses what it does not.
func readsOnly(statement string) error {
	words := strings.Fields(uncommented(statement))
	known := []string{"SELECT", "WITH", "VALUES", "EXPLAIN"}
	first := ""
	if len(words) > 0 {
		first = strings.ToUpper(strings.TrimLeft(words[0], "("))
		first, _, _ = strings.Cut(first, "(")
	}
	if !slices.Contains(known, first) {
		return &kernel.Error{Code: kernel.CodeDenied, What: "the statement is not one that reads", Why: "it begins with " + kernel.Quote(first), Fix: "begin it with SELECT, WITH, VALUES or EXPLAIN"}
	}
	if _, rest, more := strings.Cut(uncommented(statement), ";"); more && strings.TrimSpace(strings.ReplaceAll(rest, ";", "")) != "" {
		return &kernel.Error{Code: kernel.CodeArguments, What: "there are several statements", Fix: "pass one"}
	}
	return nil
}

// uncommented is a statement without comments, and with x in place of what is quoted.
func uncommented(statement string) string {
	var b strings.Builder
	for s := statement; s != ""; {
		var end string
		skip := 1
		switch {
		case strings.HasPrefix(s, "--"):
			end, skip = "\n", 2
		case strings.HasPrefix(s, "/*"):
			end, skip = "*/", 2
		case strings.ContainsRune("'\"`", rune(s[0])):
			end = s[:1]
			b.WriteString("x")
		case s[0] == '[':
			end = "]"
			b.WriteString("x")
		default:
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		b.WriteString(" ")
		_, rest, closed := strings.Cut(s[skip:], end)
		if !closed {
			break
		}
		s = rest
	}
	return b.String()
}

// statementError is databaseError for who wrote the statement, and so may see what SQLite says of it.
func statementError(err error) error {
	err = databaseError(err)
	var e *kernel.Error
	var said *sqlite.Error
	if errors.As(err, &e) && errors.As(err, &said) && e.Code == kernel.CodeFailed {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the database does not take the statement", Why: kernel.Quote(said.Error()), Fix: "correct it; list_tables and describe_table tell what there is", Err: err}
	}
	return err
}
