package httpapi

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/hexdag/hexdag/host/kernel"
)

// paces hold principals to so many requests a second each.
type paces struct {
	each float64
	mu   sync.Mutex
	of   map[Identity]*pace
}

type pace struct {
	limiter *rate.Limiter
	seen    time.Time
}

// maxPaces is how many principals are remembered; those that were not seen for a while are forgotten first.
const (
	maxPaces    = 10_000
	forgetAfter = time.Minute
)

func (p *paces) allow(who Identity, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	who.Expires = time.Time{}
	known := p.of[who]
	if known == nil {
		if len(p.of) >= maxPaces {
			p.forget(now)
		}
		if p.of == nil {
			p.of = map[Identity]*pace{}
		}
		known = &pace{limiter: rate.NewLimiter(rate.Limit(p.each), int(p.each))}
		p.of[who] = known
	}
	known.seen = now
	return known.limiter.AllowN(now, 1)
}

func (p *paces) forget(now time.Time) {
	for who, known := range p.of {
		if now.Sub(known.seen) > forgetAfter {
			delete(p.of, who)
		}
	}
}

// paced refuses requests of who sends too many.
func (s *Server) paced(next http.Handler, open map[string]bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if who := identityFrom(r.Context()); !open[r.URL.Path] && who != nil && !s.paces.allow(*who, time.Now()) {
			writeProblem(w, 0, &kernel.Error{Code: kernel.CodeLimit, What: "too many requests", Why: "a principal may send " + itoa(int64(s.opts.PerSecond)) + " a second", Fix: "send fewer; events of a run come by themselves: GET /v1/runs/{run_id}/events", RetryAfter: time.Second})
			return
		}
		next.ServeHTTP(w, r)
	})
}
