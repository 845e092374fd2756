// The work of kernels.c in Go.
package main

import "crypto/sha256"

func spin(n uint32) uint32 {
	x := uint32(2463534242)
	for range n {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
	}
	return x
}

const side = 96

var a, b, c [side * side]float64

func matmul() uint32 {
	for i := range a {
		a[i], b[i] = float64(i%7), float64(i%5)
	}
	for i := range side {
		for j := range side {
			sum := 0.0
			for k := range side {
				sum += a[i*side+k] * b[k*side+j]
			}
			c[i*side+j] = sum
		}
	}
	sum := 0.0
	for _, v := range c {
		sum += v
	}
	return uint32(sum)
}

var text [1 << 16]byte

func hash() uint32 {
	for i := range text {
		text[i] = byte(i)
	}
	sum := sha256.Sum256(text[:])
	return uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
}

const record = "{\"id\":12345,\"name\":\"a \\\"b\\\" c\",\"tags\":[\"x\",\"y\",true,null],\"n\":-1.5e3},\n"

func json() uint32 {
	for i := range text {
		text[i] = record[i%len(record)]
	}
	var strings, numbers, depth, deepest uint32
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case ch == '"':
			strings++
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case ch == '{' || ch == '[':
			depth++
			deepest = max(deepest, depth)
		case ch == '}' || ch == ']':
			depth--
		case ch == '-' || ch >= '0' && ch <= '9':
			numbers++
			for i+1 < len(text) && (text[i+1] == '.' || text[i+1] == 'e' || text[i+1] >= '0' && text[i+1] <= '9') {
				i++
			}
		}
	}
	return strings<<16 ^ numbers<<4 ^ deepest
}

var composite [200000]bool

func sieve() uint32 {
	clear(composite[:])
	count := uint32(0)
	for i := 2; i < len(composite); i++ {
		if composite[i] {
			continue
		}
		count++
		for j := 2 * i; j < len(composite); j += i {
			composite[j] = true
		}
	}
	return count
}

//go:wasmexport node_run
func nodeRun(which uint32) uint64 {
	var sum uint32
	switch which {
	case 1:
		sum = spin(1000000)
	case 2:
		sum = matmul()
	case 3:
		sum = hash()
	case 4:
		sum = json()
	case 5:
		sum = sieve()
	}
	return uint64(sum) << 32
}

func main() {}
