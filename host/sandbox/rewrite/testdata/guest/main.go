// Command guest is a Go module of ordinary size with something to compute.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

func main() {}

//go:wasmexport spin
func spin(n uint64) uint64 {
	x := uint64(88172645463325252)
	for i := uint64(0); i < n; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

//go:wasmexport matmul
func matmul(n uint32) float64 {
	a := make([]float64, n*n)
	b := make([]float64, n*n)
	c := make([]float64, n*n)
	for i := range a {
		a[i], b[i] = float64(i%7), float64(i%5)
	}
	for i := uint32(0); i < n; i++ {
		for j := uint32(0); j < n; j++ {
			s := 0.0
			for k := uint32(0); k < n; k++ {
				s += a[i*n+k] * b[k*n+j]
			}
			c[i*n+j] = s
		}
	}
	return c[n+1]
}

//go:wasmexport sha
func sha(n uint32) uint32 {
	h := sha256.Sum256(make([]byte, n))
	return uint32(len(hex.EncodeToString(h[:])))
}

//go:wasmexport json
func marshal(n uint32) uint32 {
	m := map[string]any{}
	for i := uint32(0); i < n; i++ {
		m[hex.EncodeToString([]byte{byte(i), byte(i >> 8)})] = []any{i, "abc", 1.5, map[string]any{"k": i}}
	}
	d, _ := json.Marshal(m)
	var v map[string]any
	if json.Unmarshal(d, &v) != nil {
		return 0
	}
	return uint32(len(d) + len(v))
}
