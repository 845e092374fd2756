package database

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// rowValue makes a driver's row an object, and says about how many bytes it is as JSON.
func rowValue(table string, columns []string, row []driver.Value) (map[string]kernel.Value, int, error) {
	object := make(map[string]kernel.Value, len(columns))
	size := len("{},")
	for i, name := range columns {
		value, bytes, err := cellValue(row[i])
		if err != nil {
			return nil, 0, &kernel.Error{
				Code: kernel.CodeUnsupported, What: fmt.Sprintf("column %s of table %s holds %s", kernel.Quote(name), kernel.Quote(table), err),
				Why: "JSON has no such value", Fix: "name other columns",
			}
		}
		object[name] = value
		size += len(name) + len(`"":,`) + bytes
	}
	return object, size, nil
}

func cellValue(v driver.Value) (kernel.Value, int, error) {
	switch v := v.(type) {
	case nil:
		return nil, len("null"), nil
	case int64:
		text := strconv.FormatInt(v, 10)
		return json.Number(text), len(text), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, 0, errors.New("a number that is not finite")
		}
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return json.Number(text), len(text), nil
	case string:
		return strings.ToValidUTF8(v, string(utf8.RuneError)), len(v) + len(`""`), nil
	}
	return nil, 0, errors.New("a BLOB")
}
