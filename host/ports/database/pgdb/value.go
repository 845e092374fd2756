package pgdb

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// kind is what the driver makes of a type.
type kind int

const (
	other kind = iota // as Postgres writes it
	integer
	boolean
	float
	numeric
	text
	keyed // as other, with an order and an equality that indexes have
	blob
)

func kindOf(typname string) kind {
	switch typname {
	case "int2", "int4", "int8":
		return integer
	case "bool":
		return boolean
	case "float4", "float8":
		return float
	case "numeric":
		return numeric
	case "text", "varchar":
		return text
	case "uuid", "date", "timestamp", "timestamptz":
		return keyed
	case "bytea":
		return blob
	}
	return other
}

// port returns the port's type.
func (k kind) port() driver.Type {
	switch k {
	case integer, boolean:
		return driver.Integer
	case float:
		return driver.Real
	case numeric:
		return driver.Numeric
	case blob:
		return driver.Blob
	}
	return driver.Text
}

// sized reports whether a value may be of any size.
func (k kind) sized() bool { return k == text || k == other || k == numeric }

// value reads what Postgres wrote.
func (k kind) value(written string) (driver.Value, error) {
	switch k {
	case integer:
		return strconv.ParseInt(written, 10, 64)
	case boolean:
		if written == "t" {
			return int64(1), nil
		}
		return int64(0), nil
	case float:
		return strconv.ParseFloat(written, 64)
	case numeric:
		return numericValue(written), nil
	case blob:
		return []byte{}, nil
	}
	return written, nil
}

// numericValue is a number if it has the same digits, else the text.
func numericValue(written string) driver.Value {
	digits := strings.TrimPrefix(written, "-")
	if whole, fraction, _ := strings.Cut(digits, "."); strings.Trim(fraction, "0") == "" {
		if n, err := strconv.ParseInt(written[:len(written)-len(digits)]+whole, 10, 64); err == nil {
			if fraction == "" {
				return n
			}
			if f := float64(n); int64(f) == n && f != math.MaxInt64 {
				return f // 7.00 is a real
			}
			return written
		}
	}
	f, err := strconv.ParseFloat(written, 64)
	if err != nil && !math.IsNaN(f) {
		return written
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return f
	}
	if strings.TrimRight(strconv.FormatFloat(f, 'f', -1, 64), "0") == strings.TrimRight(written, "0") {
		return f
	}
	return written
}

// write is a value as Postgres reads it; nil is NULL.
func write(v driver.Value) any {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return v
	}
	return nil
}

// uuid is how Postgres writes one.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// condition returns what makes a column equal a value, which bind makes a parameter. No
// function is around the column where an index can help.
func (c column) condition(v driver.Value, bind func(written any) string) string {
	name := identifier(c.Name)
	equals := func(typname string, v driver.Value) string {
		return name + " = CAST(" + bind(write(v)) + " AS " + typname + ")"
	}
	switch v := v.(type) {
	case nil:
		return name + " IS NULL"
	case string:
		return c.textCondition(name, v, equals, bind)
	case int64:
		switch {
		case c.kind == integer:
			return equals("int8", v)
		case c.kind == boolean && (v == 0 || v == 1):
			return equals("bool", v)
		case c.kind == numeric:
			return equals("numeric", v)
		case c.kind == float && exact(v):
			return equals("float8", v)
		}
	case float64:
		switch c.kind {
		case float:
			return equals("float8", v)
		case numeric:
			return equals("numeric", v)
		}
		if n := int64(v); float64(n) == v && v < math.MaxInt64 {
			return c.condition(n, bind)
		}
	}
	return "false"
}

// exact reports whether a float has the integer's value.
func exact(n int64) bool {
	f := float64(n)
	return f < math.MaxInt64 && int64(f) == n
}

func (c column) textCondition(name, v string, equals func(string, driver.Value) string, bind func(any) string) string {
	written := name + "::text = "
	switch {
	case !isText(v):
	case c.kind == text:
		return name + " = " + bind(v)
	case c.kind == other:
		return written + bind(v)
	case c.kind == keyed && (c.cast != "uuid" || uuid.MatchString(v)):
		return equals(c.cast, v) + " AND " + written + bind(v)
	case c.kind == numeric && isDecimal(v) && numericValue(v) == driver.Value(v):
		return equals("numeric", v) + " AND " + written + bind(v)
	}
	return "false"
}

// isDecimal reports whether a text is digits with at most a sign before them and a point.
func isDecimal(s string) bool {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	return whole != "" && strings.Trim(whole+fraction, "0123456789") == ""
}
