package diff

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/hexdag/hexdag/host/kernel"
)

// table is a CSV file whose first row names its columns.
type table struct {
	columns []string
	rows    [][]string
	byKey   map[string]int // the rows by their first column; nil where it is not unique
}

// compareCSV compares tables row by row. Rows are known by their first column where
// it is a key in both, so that a row may change or move; else they are lines.
func compareCSV(r *Report, before, after Content) error {
	b, err := readTable(before)
	if err != nil {
		return err
	}
	a, err := readTable(after)
	if err != nil {
		return err
	}
	for i, column := range b.columns {
		if !slices.Contains(a.columns, column) {
			r.add(Change{Op: Removed, Path: fmt.Sprintf("column %d", i+1), Old: column})
		}
	}
	for i, column := range a.columns {
		if !slices.Contains(b.columns, column) {
			r.add(Change{Op: Added, Path: fmt.Sprintf("column %d", i+1), New: column})
		}
	}
	if b.byKey == nil || a.byKey == nil || b.columns[0] != a.columns[0] {
		r.lines(b, a)
		return nil
	}
	r.rows(b, a)
	return nil
}

func readTable(c Content) (*table, error) {
	if len(c.Data) > MaxText {
		return nil, fmt.Errorf("%s has %d bytes, tables are compared up to %d", kernel.Quote(c.Name), len(c.Data), MaxText)
	}
	rows, err := csv.NewReader(bytes.NewReader(c.Data)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s is no CSV: %w", kernel.Quote(c.Name), err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no row that names the columns", kernel.Quote(c.Name))
	}
	t := &table{columns: rows[0], rows: rows[1:], byKey: make(map[string]int, len(rows))}
	for i, row := range t.rows {
		if _, taken := t.byKey[row[0]]; taken {
			t.byKey = nil
			break
		}
		t.byKey[row[0]] = i
	}
	return t, nil
}

// rows compares tables whose rows have keys.
func (r *Report) rows(before, after *table) {
	for _, row := range before.rows {
		i, kept := after.byKey[row[0]]
		if !kept {
			r.add(Change{Op: Removed, Path: before.name(row), Old: row})
			continue
		}
		for column, value := range row {
			at := slices.Index(after.columns, before.columns[column])
			if at >= 0 && after.rows[i][at] != value {
				r.add(Change{Op: Changed, Path: before.name(row) + ", " + before.columns[column], Old: value, New: after.rows[i][at]})
			}
		}
	}
	for _, row := range after.rows {
		if _, known := before.byKey[row[0]]; !known {
			r.add(Change{Op: Added, Path: after.name(row), New: row})
		}
	}
}

func (t *table) name(row []string) string { return t.columns[0] + " " + row[0] }

// lines compares tables whose rows have no keys: as sequences.
func (r *Report) lines(before, after *table) {
	text := before.text()
	for _, edit := range udiff.Lines(text, after.text()) {
		for _, row := range parseRows(text[edit.Start:edit.End]) {
			r.add(Change{Op: Removed, Path: "row", Old: row})
		}
		for _, row := range parseRows(edit.New) {
			r.add(Change{Op: Added, Path: "row", New: row})
		}
	}
}

// text writes every row as one line.
func (t *table) text() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	for _, row := range t.rows {
		escaped := make([]string, len(row))
		for i, cell := range row {
			escaped[i] = lineBreaks.Replace(cell)
		}
		_ = w.Write(escaped) // a Builder takes everything
	}
	w.Flush()
	return b.String()
}

// lineBreaks are shown as what they stand for, so that a row is a line.
var lineBreaks = strings.NewReplacer("\n", `\n`, "\r", `\r`)

func parseRows(text string) [][]string {
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil { // not the whole of a row: shown as it is
		return [][]string{{text}}
	}
	return rows
}
