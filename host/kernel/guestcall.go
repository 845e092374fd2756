package kernel

import (
	"context"
	"strconv"
	"sync"
)

// GuestCall is one call of a module, as what it calls sees it. The zero value is for WithGuestCall.
type GuestCall struct {
	Depth   int             // of guests that call guests, from 1
	Context context.Context // of the call; it outlives those of the calls that it makes

	mu   sync.Mutex
	last int
	open map[string]Handle
}

// Handle is something that a module's call has open. Close gives it up where the module has not.
type Handle interface{ Close() }

// maxHandles is how many handles a call of a module has open at once.
const maxHandles = 16

type guestCallKey struct{}

// WithGuestCall returns the context of a call that begins.
func WithGuestCall(ctx context.Context, c *GuestCall) context.Context {
	c.Context = context.WithValue(ctx, guestCallKey{}, c)
	return c.Context
}

// GuestCallFrom returns the innermost call of a module that ctx is of, or nil.
func GuestCallFrom(ctx context.Context) *GuestCall {
	c, _ := ctx.Value(guestCallKey{}).(*GuestCall)
	return c
}

// Open keeps a handle under a name until it is taken back or the call ends. It reports
// false where there are too many.
func (c *GuestCall) Open(h Handle) (name string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) == maxHandles {
		return "", false
	}
	if c.open == nil {
		c.open = map[string]Handle{}
	}
	c.last++
	name = strconv.Itoa(c.last)
	c.open[name] = h
	return name, true
}

// Handle returns the handle of that name, or nil.
func (c *GuestCall) Handle(name string) Handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[name]
}

// Take takes the handle of that name back, or returns nil. It is not closed.
func (c *GuestCall) Take(name string) Handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.open[name]
	delete(c.open, name)
	return h
}

// End closes what is still open.
func (c *GuestCall) End() {
	c.mu.Lock()
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for _, h := range open {
		h.Close()
	}
}
