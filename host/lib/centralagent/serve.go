package centralagent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// goalID is the goal that stands for a key.
func goalID(tenant, key string) string {
	sum := sha256.Sum256([]byte("goal\x00" + tenant + "\x00" + key))
	return "g-" + hex.EncodeToString(sum[:16])
}

// ServeOptions say how a host works on goals.
type ServeOptions struct {
	Tenant      string
	Concurrency int           // goals at once; 16
	Every       time.Duration // how often it is looked for goals of which nobody told, and for those that can go on; 2 s
	Drain       time.Duration // how long those under way have when the context ends; 30 s
	Log         *slog.Logger  // may be nil
	// Lead does something while this host is the one of the tenant's that works on goals.
	Lead func(ctx context.Context, do func(context.Context) error) error
	// Drive works on a goal until it is over, waits, or cannot go on now; g is as it was a moment ago. begin is told the run that
	// does, before it begins. Once left is closed the run stops where it is, for whoever works on it next.
	Drive func(ctx context.Context, g *Goal, begin func(run string, tries int) error, left <-chan struct{}) Driven
	// Told, if set, is told of goals that begin, wait and end, from several goroutines.
	Told func(*Goal)
	// Idle, if set, is called when nothing is left that could go on by itself, at most once each time that this comes to be so.
	Idle func()
}

// Driven is what came of working on a goal.
type Driven struct {
	Status  Status // Running: it is looked at again later
	Waits   []string
	Outcome string
	Summary string
	Err     error
}

// Serve works on the tenant's goals, while this host leads, until ctx ends; then it waits for those under way, and leaves what they have not
// ended to whoever leads next. A host that no longer leads ends what it has begun: nobody else takes that from it while it lives.
func (l *Library) Serve(ctx context.Context, opts ServeOptions) error {
	opts.Concurrency, opts.Every, opts.Drain = cmp.Or(opts.Concurrency, 16), cmp.Or(opts.Every, 2*time.Second), cmp.Or(opts.Drain, 30*time.Second)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{l: l, goals: l.Goals(), opts: opts, driving: map[string]*drive{}, later: map[string]time.Time{}, done: make(chan struct{}, 1), left: make(chan struct{})}
	err := opts.Lead(ctx, s.lead)
	s.drain()
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// server is one call of Serve.
type server struct {
	l     *Library
	goals *Goals
	opts  ServeOptions
	left  chan struct{}
	done  chan struct{} // one has ended
	all   sync.WaitGroup

	mu      sync.Mutex
	driving map[string]*drive
	later   map[string]time.Time // when those are looked at again that could not go on
	idle    bool
}

// drive is a goal that is worked on.
type drive struct{ cancel context.CancelCauseFunc }

// lead is one term.
func (s *server) lead(ctx context.Context) error {
	heard := s.l.events.hear(ctx, s.opts.Tenant, "")
	defer heard.stop()
	tick := time.NewTicker(s.opts.Every)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.opts.Log.Error("goals cannot be looked at", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-heard.ring:
		case <-s.done:
		case <-tick.C:
		}
	}
}

// sweep has every goal go on that can.
func (s *server) sweep(ctx context.Context) error {
	live, err := s.goals.live(ctx, s.opts.Tenant)
	if err != nil {
		return err
	}
	busy := false
	for _, g := range live {
		if ctx.Err() != nil {
			break
		}
		busy = busy || g.Status != Waiting
		s.mu.Lock()
		d := s.driving[g.ID]
		full := len(s.driving) >= s.opts.Concurrency || time.Now().Before(s.later[g.ID])
		s.mu.Unlock()
		switch {
		case d != nil && g.Cancel:
			d.cancel(&kernel.Error{Code: kernel.CodeCanceled, What: "the goal was cancelled"})
		case d != nil:
		case g.Cancel && (g.Status == Queued || g.Status == Waiting):
			_, err := s.goals.Change(ctx, s.opts.Tenant, g.ID, func(g *Goal) { g.Status = Cancelled })
			s.tell(ctx, g.ID)
			if err != nil {
				return err
			}
		case !full:
			s.begin(g)
		}
	}
	s.mu.Lock()
	busy = busy || len(s.driving) > 0
	tell := !busy && !s.idle && ctx.Err() == nil
	s.idle = !busy
	s.mu.Unlock()
	if tell && s.opts.Idle != nil {
		s.opts.Idle()
	}
	return nil
}

// begin works on a goal, in a goroutine of its own.
func (s *server) begin(g *Goal) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.mu.Lock()
	s.driving[g.ID] = &drive{cancel}
	s.mu.Unlock()
	s.all.Go(func() {
		defer cancel(nil)
		s.work(ctx, g)
		s.mu.Lock()
		delete(s.driving, g.ID)
		s.mu.Unlock()
		select {
		case s.done <- struct{}{}:
		default:
		}
	})
}

func (s *server) work(ctx context.Context, g *Goal) {
	was := g.Status
	began := func(run string, tries int) error {
		changed, err := s.goals.Change(context.WithoutCancel(ctx), s.opts.Tenant, g.ID, func(g *Goal) { g.Status, g.Run, g.Tries, g.Waits = Running, run, tries, nil })
		if err == nil && s.opts.Told != nil {
			s.opts.Told(changed)
		}
		return err
	}
	driven, err := kernel.Guarded(func() (Driven, error) { return s.opts.Drive(ctx, g, began, s.left), nil })
	if err != nil {
		driven = Driven{Status: Failed, Err: err}
	}
	s.mu.Lock()
	if delete(s.later, g.ID); driven.Status == Running || driven.Status == Waiting {
		s.later[g.ID] = time.Now().Add(s.opts.Every / 2)
	}
	s.mu.Unlock()
	if driven.Status == Running || driven.Status == was && was == Waiting {
		return // it is looked at again
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		_, err := s.goals.Change(context.WithoutCancel(ctx), s.opts.Tenant, g.ID, func(g *Goal) {
			g.Status, g.Waits, g.Outcome, g.Summary, g.Error = driven.Status, driven.Waits, driven.Outcome, clip(driven.Summary, maxText), ""
			if driven.Err != nil {
				g.Error = clip(driven.Err.Error(), maxText)
			}
		})
		if err == nil {
			s.tell(ctx, g.ID)
			return
		}
		s.opts.Log.Error("what came of a goal cannot be kept", "goal", g.ID, "error", err.Error())
		select {
		case <-time.After(pause):
		case <-s.left: // whoever is next finds out by the run
			return
		}
	}
}

func (s *server) tell(ctx context.Context, id string) {
	if s.opts.Told == nil {
		return
	}
	if g, err := s.goals.Get(context.WithoutCancel(ctx), s.opts.Tenant, id); err == nil {
		s.opts.Told(g)
	}
}

// drain waits for the goals under way, and then has them stop where they are.
func (s *server) drain() {
	ended := make(chan struct{})
	go func() {
		s.all.Wait()
		close(ended)
	}()
	timer := time.NewTimer(s.opts.Drain)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	close(s.left)
	<-ended
}
