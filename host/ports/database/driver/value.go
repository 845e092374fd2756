package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Scalar makes a JSON value, or a Go number, a value that a driver takes: a
// number without point or exponent an int64, any other a float64, true and false
// 1 and 0.
func Scalar(v kernel.Value) (Value, error) {
	switch v := v.(type) {
	case nil, string, int64:
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int:
		return int64(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("it must be finite")
		}
		return v, nil
	case json.Number:
		return numberScalar(string(v))
	}
	return nil, errors.New("it must be null, a boolean, a number or a text")
}

func numberScalar(text string) (Value, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("the number %s does not fit 64 bits", kernel.Quote(text))
		}
		return f, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the integer %s does not fit 64 bits", kernel.Quote(text))
	}
	return n, nil
}
