package membus

import (
	"iter"
	"time"

	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// log is the latest events of a tenant.
type log struct {
	max      int
	maxBytes int64

	ring  []*driver.Event // grows to max
	first int             // the oldest
	count int
	bytes int64
	last  uint64
}

// envelopeBytes is about what an event takes beside its data.
const envelopeBytes = 256

func size(e *driver.Event) int64 { return int64(len(e.Data)) + envelopeBytes }

func (l *log) next() uint64 { return l.last + 1 }

// add keeps an event, and gives it its sequence.
func (l *log) add(e *driver.Event) {
	l.last++
	e.Sequence = l.last
	l.bytes += size(e)
	for l.count > 0 && (l.count >= l.max || l.bytes > l.maxBytes) {
		l.bytes -= size(l.ring[l.first])
		l.ring[l.first] = nil
		l.first = (l.first + 1) % len(l.ring)
		l.count--
	}
	if l.count == len(l.ring) {
		l.grow()
	}
	i := l.first + l.count
	if i >= len(l.ring) {
		i -= len(l.ring)
	}
	l.ring[i] = e
	l.count++
}

func (l *log) grow() {
	ring := make([]*driver.Event, min(max(2*len(l.ring), 64), l.max))
	for i := range l.count {
		ring[i] = l.ring[(l.first+i)%len(l.ring)]
	}
	l.ring, l.first = ring, 0
}

// from returns what is kept from a position on, oldest first.
func (l *log) from(s driver.Start) iter.Seq[*driver.Event] {
	return func(yield func(*driver.Event) bool) {
		for i := range l.count {
			e := l.ring[(l.first+i)%len(l.ring)]
			if e.Sequence >= s.Sequence && !e.Time.Before(s.Time) && !yield(e) {
				return
			}
		}
	}
}

// ids are those that were published within a window, and are not published again.
type ids struct {
	window time.Duration
	max    int
	known  map[string]published
	order  []string
	head   int
}

type published struct {
	sequence uint64
	at       time.Time
}

func (s *ids) find(id string) (sequence uint64, known bool) {
	p, ok := s.known[id]
	return p.sequence, ok && time.Since(p.at) < s.window
}

func (s *ids) add(id string, sequence uint64) {
	if s.known == nil {
		s.known = map[string]published{}
	}
	now := time.Now()
	for s.head < len(s.order) && (len(s.known) >= s.max || now.Sub(s.known[s.order[s.head]].at) >= s.window) {
		delete(s.known, s.order[s.head])
		s.order[s.head] = ""
		s.head++
	}
	if s.head > len(s.order)/2 {
		s.order = append(s.order[:0], s.order[s.head:]...)
		s.head = 0
	}
	s.order = append(s.order, id)
	s.known[id] = published{sequence, now}
}
