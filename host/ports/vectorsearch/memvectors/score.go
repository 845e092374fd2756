package memvectors

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
)

func (x *index) norm(v []float32) float64 {
	if x.metric != driver.Cosine {
		return 1
	}
	return math.Sqrt(dot(v, v))
}

// score is the larger the nearer; norm is that of v.
func (x *index) score(v []float32, norm float64, e *entry) float64 {
	switch x.metric {
	case driver.Cosine:
		return dot(v, e.Vector) / (norm * e.norm)
	case driver.Dot:
		return dot(v, e.Vector)
	}
	return 0 - math.Sqrt(squares(v, e.Vector)) // and not -0
}

// dot adds in four lanes, so that the additions do not wait for each other.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s [4]float32
	var i int
	for ; i+4 <= len(a); i += 4 {
		s[0] += a[i] * b[i]
		s[1] += a[i+1] * b[i+1]
		s[2] += a[i+2] * b[i+2]
		s[3] += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s[0] += a[i] * b[i]
	}
	return float64(s[0]) + float64(s[1]) + float64(s[2]) + float64(s[3])
}

func squares(a, b []float32) float64 {
	b = b[:len(a)]
	var s [4]float32
	var i int
	for ; i+4 <= len(a); i += 4 {
		for lane := range s {
			d := a[i+lane] - b[i+lane]
			s[lane] += d * d
		}
	}
	for ; i < len(a); i++ {
		d := a[i] - b[i]
		s[0] += d * d
	}
	return float64(s[0]) + float64(s[1]) + float64(s[2]) + float64(s[3])
}

// matches reports whether all conditions hold for a JSON object.
func matches(metadata []byte, where []driver.Condition) bool {
	if len(where) == 0 {
		return true
	}
	value, err := kernel.DecodeJSON(metadata)
	if err != nil {
		return false
	}
	for _, c := range where {
		at := value
		for _, name := range c.Path {
			object, _ := at.(map[string]any)
			field, there := object[name]
			if !there {
				return false
			}
			at = field
		}
		if !equal(at, c.Value) {
			return false
		}
	}
	return true
}

// maxExponent bounds numbers that are compared by their value.
const maxExponent = 400

func equal(value kernel.Value, want []byte) bool {
	text, err := kernel.EncodeJSON(value)
	if err != nil {
		return false
	}
	if bytes.Equal(text, want) {
		return true
	}
	if _, isNumber := value.(json.Number); !isNumber {
		return false
	}
	a, okA := rational(text)
	b, okB := rational(want)
	return okA && okB && a.Cmp(b) == 0
}

// rational reads a number whose exponent is no bomb.
func rational(text []byte) (*big.Rat, bool) {
	if f, err := json.Number(text).Float64(); err != nil || len(text) > maxExponent || f != 0 && math.Abs(math.Log10(math.Abs(f))) > maxExponent {
		return nil, false
	}
	if _, exponent, found := bytes.Cut(bytes.ToLower(text), []byte("e")); found && len(bytes.TrimLeft(exponent, "+-0")) > 3 {
		return nil, false
	}
	return new(big.Rat).SetString(string(text))
}
