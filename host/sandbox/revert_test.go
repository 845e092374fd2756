//go:build linux

package sandbox

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Whatever is written to a mapped memory, little or much, scattered or not, grown
// or not: afterwards it is the image again, with and without the system's help.
func TestRevert(t *testing.T) {
	const size, limit = 600 << 10, 2 << 20
	content, err := reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	defer release(content)
	random := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < size; n += 1 + random.IntN(5000) { // some pages are zero
		content[n] = byte(random.Uint32())
	}
	helped, alone := &pageScanner{}, &pageScanner{}
	alone.open.Do(func() {})
	defer helped.close()
	if !helped.works() {
		t.Log("NOT CHECKED: this system does not tell which pages were written")
	}
	for name, scanner := range map[string]*pageScanner{"with": helped, "without": alone} {
		file, err := makeImageFile(content)
		if err != nil {
			t.Fatal(err)
		}
		img := &image{size: size, file: file, scanner: scanner}
		m := &linearMemory{limit: limit}
		m.Reallocate(size)
		if err := file.mapOnto(m, size); err != nil {
			t.Fatal(err)
		}
		for round := range 400 {
			if round%7 == 3 {
				m.Reallocate(size + uint64(random.IntN(limit-size)))
			}
			writes := []int{0, 1, 3, 20, 60, 500}[random.IntN(6)]
			for range writes {
				at := random.IntN(int(m.length))
				if random.IntN(3) == 0 {
					_ = m.region[at] // only read
				} else {
					m.region[at] = byte(random.Uint32())
				}
			}
			if random.IntN(10) == 0 { // all over a stretch
				at := random.IntN(int(m.length))
				clear(m.region[at:m.length])
			}
			if err := m.restore(img); err != nil {
				t.Fatal(err)
			}
			grown := m.region[size:m.length]
			if !bytes.Equal(m.region[:size], content) || bytes.ContainsFunc(grown, func(r rune) bool { return r != 0 }) {
				t.Fatalf("%s help, round %d: the memory is not the image", name, round)
			}
			m.length = size // as the engine shrinks it
		}
		m.Free()
		file.close()
	}
}

// What little was written is copied back and stays present: that is the point.
func TestRevertKeepsWrittenPages(t *testing.T) {
	s := &pageScanner{}
	defer s.close()
	if !s.works() {
		t.Skip("NOT CHECKED: this system does not tell which pages were written")
	}
	const size = 1 << 20
	content, err := reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	defer release(content)
	file, err := makeImageFile(content)
	if err != nil {
		t.Fatal(err)
	}
	defer file.close()
	m := &linearMemory{limit: size}
	m.Reallocate(size)
	defer m.Free()
	if err := file.mapOnto(m, size); err != nil {
		t.Fatal(err)
	}
	img := &image{size: size, file: file, scanner: s}
	written := func() (bytes uint64) {
		t.Helper()
		regions, ok := s.written(m.region[:size], m.regions)
		if !ok {
			t.Fatal("it cannot tell")
		}
		for _, r := range regions {
			bytes += r.end - r.start
		}
		return bytes
	}
	m.regions = make([]pageRegion, maxRegions)
	_ = m.region[500_000] // a page that is only read is not written
	if n := written(); n != 0 {
		t.Errorf("%d bytes are written of a fresh memory", n)
	}
	m.region[5], m.region[300_000], m.region[300_001] = 1, 2, 3
	for range 2 {
		if n := written(); n != 2*4096 {
			t.Errorf("%d bytes are written, want two pages", n)
		}
		if err := m.restore(img); err != nil {
			t.Fatal(err)
		}
	}
	clear(m.region[:maxWritten+4096])
	if err := m.restore(img); err != nil {
		t.Fatal(err)
	}
	if n := written(); n != 0 {
		t.Errorf("%d bytes are kept where much was written", n)
	}
}
