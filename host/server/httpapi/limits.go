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
	told    *rate.Limiter // of what is refused: a flood of requests is none of records
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
	return p.known(who, now).limiter.AllowN(now, 1)
}

// tell reports whether what is refused of who calls is to be put on record.
func (p *paces) tell(who Identity, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known(who, now).told.AllowN(now, 1)
}

// known is called with the lock.
func (p *paces) known(who Identity, now time.Time) *pace {
	who.Expires = time.Time{}
	known := p.of[who]
	if known == nil {
		if len(p.of) >= maxPaces {
			p.forget(now)
		}
		if p.of == nil {
			p.of = map[Identity]*pace{}
		}
		known = &pace{limiter: rate.NewLimiter(rate.Limit(p.each), int(p.each)), told: rate.NewLimiter(1, 5)}
		p.of[who] = known
	}
	known.seen = now
	return known
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
			s.refuse(w, r, 0, &kernel.Error{Code: kernel.CodeLimit, What: "too many requests", Why: "a principal may send " + itoa(int64(s.opts.PerSecond)) + " a second", Fix: "send fewer; events of a run come by themselves: GET /v1/runs/{run_id}/events", RetryAfter: time.Second})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers a request that no handler sees. It is on record in the tenant's audit log, or, where nobody knows who calls, in the server's log:
// some a second each, however many there are.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, why error) {
	if who := identityFrom(r.Context()); who == nil {
		if s.unknown.Allow() {
			s.log.WarnContext(r.Context(), "a request was refused", "from", r.RemoteAddr, "path", kernel.Quote(r.URL.Path), "error", why.Error())
		}
	} else if s.paces.tell(*who, time.Now()) {
		if err := s.tenants[who.Tenant].host.Refused(r.Context(), who.Principal, "http.request", why); err != nil {
			s.log.ErrorContext(r.Context(), "a request that was refused is not on record", "tenant", who.Tenant, "error", err.Error())
		}
	}
	writeProblem(w, status, why)
}
