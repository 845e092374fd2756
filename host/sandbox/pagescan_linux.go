package sandbox

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageScanner finds the pages of a mapped image that were written: those that are
// no longer the file's (ioctl PAGEMAP_SCAN, Linux 6.7). Without it every page of
// an instance is dropped after a call, and the next one faults in those that it
// needs.
type pageScanner struct {
	open    sync.Once
	pagemap *os.File // nil where the system cannot tell
	images  atomic.Int64
	most    int64 // of images at once
	room    []pageRegion
}

// start finds out what the system can do.
func (s *pageScanner) start() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		s.most = int64(min(limit.Cur, 1<<20) / 4)
	}
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return
	}
	s.pagemap = pagemap
	s.room = make([]pageRegion, 1)
	page, err := reserve(uint64(unix.Getpagesize()))
	if err == nil {
		_, ok := s.scan(page, s.room)
		release(page)
		if ok {
			return
		}
	}
	s.pagemap = nil
	pagemap.Close()
}

// works reports whether the system tells which pages were written.
func (s *pageScanner) works() bool {
	s.open.Do(s.start)
	return s.pagemap != nil
}

// reserve counts one image more, if there may be one.
func (s *pageScanner) reserve() bool {
	s.open.Do(s.start)
	if s.images.Add(1) > s.most {
		s.images.Add(-1)
		return false
	}
	return true
}

// pageRegion is a range of addresses, as the kernel writes it.
type pageRegion struct{ start, end, categories uint64 }

// pageScan is struct pm_scan_arg of linux/fs.h.
type pageScan struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages     uint64
	categoryInverted, categoryMask, categoryAnyOf, categoryBack uint64
}

const (
	pagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

// maxRegions and maxWritten bound what is copied back: past them, dropping the
// pages is cheaper.
const (
	maxRegions = 48
	maxWritten = 256 << 10 // bytes
)

// written returns the ranges of b, a private mapping of a file, that are not the
// file's any more. It reports false where it cannot tell, or they are too many.
func (s *pageScanner) written(b []byte, regions []pageRegion) ([]pageRegion, bool) {
	if !s.works() || len(b) == 0 {
		return nil, false
	}
	return s.scan(b, regions)
}

// scan is the call of the kernel. The regions are on the heap, which does not
// move: the kernel is given their address as a number.
func (s *pageScanner) scan(b []byte, regions []pageRegion) ([]pageRegion, bool) {
	start := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	scan := pageScan{
		start: start, end: start + uint64(len(b)), vec: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(regions)))), vecLen: uint64(len(regions)),
		categoryInverted: pageIsFile, categoryMask: pageIsFile, categoryAnyOf: pageIsPresent | pageIsSwapped, categoryBack: pageIsFile,
	}
	scan.size = uint64(unsafe.Sizeof(scan))
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, s.pagemap.Fd(), pagemapScan, uintptr(unsafe.Pointer(&scan)))
	if errno != 0 || scan.walkEnd != scan.end {
		return nil, false
	}
	return regions[:n], true
}

func (s *pageScanner) close() error {
	s.open.Do(func() {})
	if s.pagemap == nil {
		return nil
	}
	return s.pagemap.Close()
}

// revert puts a mapped memory back to its image: what was written is copied from
// the file where that is little, and dropped where it is much.
func (m *linearMemory) revert(img *image) error {
	if m.length > img.size {
		if err := discard(m.region[img.size:m.length]); err != nil {
			return err
		}
	}
	if m.regions == nil {
		m.regions = make([]pageRegion, maxRegions)
	}
	mapped := m.region[:img.size]
	regions, ok := img.scanner.written(mapped, m.regions)
	total := uint64(0)
	for _, r := range regions {
		total += r.end - r.start
	}
	if !ok || total > maxWritten {
		return discard(mapped)
	}
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mapped))))
	for _, r := range regions {
		copy(mapped[r.start-base:r.end-base], img.file.view[r.start-base:])
	}
	return nil
}
