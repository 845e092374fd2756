package kernel

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Client is whoever has started a run and can be asked for something while it goes on, as an agent at the other end of
// MCP can. It is safe for concurrent use; nil can be asked for nothing.
type Client struct {
	kinds []string

	mu     sync.Mutex
	lacked map[string]bool
}

// NewClient returns a client that can be asked for these kinds of input.
func NewClient(kinds ...string) *Client { return &Client{kinds: kinds} }

// Takes reports whether the client can be asked for a kind of input.
func (c *Client) Takes(kind string) bool { return c != nil && slices.Contains(c.kinds, kind) }

// Lack notes that something needed a kind of input for which the client cannot be asked.
func (c *Client) Lack(kind string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lacked == nil {
		c.lacked = map[string]bool{}
	}
	c.lacked[kind] = true
}

// Lacked returns the kinds that were noted, sorted.
func (c *Client) Lacked() []string {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.lacked))
}

// InputNeeded is the cause of an error with CodeInputNeeded: what asks goes on once the client has answered.
type InputNeeded struct {
	ID       string
	Requests Value // what is asked, as it was asked
	Expires  time.Time
}

// Error says what is waited for.
func (n *InputNeeded) Error() string { return "waits for input " + n.ID }

// EventKey is what a run that waits for the input waits for: the event's data is the answer.
func (n *InputNeeded) EventKey() string { return InputKey + n.ID }

// Until is when nobody waits for it any more.
func (n *InputNeeded) Until() time.Time { return n.Expires }

// InputKey is how the keys of events begin that are answers of clients.
const InputKey = "hexdag.input:"

// Needed is what something waits for inside of a node: an ApprovalNeeded, or an InputNeeded.
type Needed interface {
	error
	EventKey() string
	Until() time.Time
}

// NeededBy returns what has to come before what failed with err can go on; nil, where nothing helps.
func NeededBy(err error) Needed {
	var approval *ApprovalNeeded
	var input *InputNeeded
	switch code := CodeOf(err); {
	case code == CodeApproval && errors.As(err, &approval):
		return approval
	case code == CodeInputNeeded && errors.As(err, &input):
		return input
	}
	return nil
}

// NeededInside reports whether an event's key is that of something that is needed inside of a node, which then does
// the rest of its work: no wait_node's.
func NeededInside(key string) bool {
	return strings.HasPrefix(key, ApprovalKey) || strings.HasPrefix(key, InputKey)
}
