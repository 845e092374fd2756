package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	maxBatch     = 100 // messages
	sinceNoBatch = "2025-06-18"
	parseError   = -32700 // of JSON-RPC
)

// lines is a transport over standard input and output: a message a line, or a batch of them in versions that have any. A line that
// is no message is answered with an error, and the next is read: the library's own transport would end there.
type lines struct {
	in  io.ReadCloser
	out io.WriteCloser
}

// Connect implements mcp.Transport.
func (l *lines) Connect(context.Context) (mcp.Connection, error) {
	c := &lineConn{in: l.in, out: l.out, incoming: make(chan []jsonrpc.Message), over: make(chan struct{}), closed: make(chan struct{}), batches: map[jsonrpc.ID]*batch{}}
	go c.receive()
	return c, nil
}

type lineConn struct {
	in        io.ReadCloser
	out       io.WriteCloser
	incoming  chan []jsonrpc.Message // of a line
	over      chan struct{}          // there are no more lines
	end       error                  // why, once over is closed
	closed    chan struct{}
	closeOnce sync.Once
	closeErr  error

	queue []jsonrpc.Message // of the one that reads

	mu      sync.Mutex // of what is written, and of what follows
	begun   jsonrpc.ID // of the request that agrees on a version
	version string     // that was agreed on; "" before, and in versions that do not
	batches map[jsonrpc.ID]*batch
}

// batch are messages that are answered together.
type batch struct {
	open    int
	answers []json.RawMessage
}

// receive reads lines until there are no more.
func (c *lineConn) receive() {
	defer close(c.over)
	r := bufio.NewReaderSize(c.in, 64<<10)
	for {
		line, long, err := nextLine(r)
		messages := c.parse(line, long)
		if len(messages) > 0 {
			select {
			case c.incoming <- messages:
			case <-c.closed:
				return
			}
		}
		if err != nil {
			c.end = err
			return
		}
	}
}

// nextLine returns a line without its end; long, in place of one that is longer than a message may be.
func nextLine(r *bufio.Reader) (line []byte, long bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxMessage+1; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(line), long, err
		}
	}
}

// parse returns the messages of a line. What is wrong with it is told to the client.
func (c *lineConn) parse(line []byte, long bool) []jsonrpc.Message {
	switch {
	case long:
		c.refuse(nil, jsonrpc.CodeInvalidRequest, fmt.Sprintf("the line is too long: a message has at most %d bytes (have a tool read what is large by its name)", maxMessage))
		return nil
	case len(line) == 0:
		return nil
	case line[0] == '[':
		return c.batch(line)
	}
	m, err := decode(line)
	if err != nil {
		c.noMessage(line)
		return nil
	}
	if req, ok := m.(*jsonrpc.Request); ok && req.Method == "initialize" {
		c.mu.Lock()
		c.begun = req.ID
		c.mu.Unlock()
	}
	return []jsonrpc.Message{m}
}

// noMessage tells what is wrong with a text that is no message, by its id where it has one.
func (c *lineConn) noMessage(text []byte) {
	if !json.Valid(text) {
		c.refuse(nil, parseError, "the line is no JSON (a message is one line of JSON-RPC 2.0)")
		return
	}
	var of struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(text, &of) != nil || len(of.ID) == 0 || of.ID[0] == '{' || of.ID[0] == '[' {
		of.ID = nil
	}
	c.refuse(of.ID, jsonrpc.CodeInvalidRequest, "the line is no message of JSON-RPC 2.0 (write jsonrpc, id, method and params, as the specification of MCP has them)")
}

func (c *lineConn) batch(line []byte) []jsonrpc.Message {
	var parts []json.RawMessage
	if json.Unmarshal(line, &parts) != nil {
		c.noMessage(line)
		return nil
	}
	c.mu.Lock()
	version := c.version
	c.mu.Unlock()
	refusal := ""
	switch {
	case version == "":
		refusal = "batches of messages are of versions before 2025-06-18, which initialize agrees on (send each message on a line of its own)"
	case version >= sinceNoBatch:
		refusal = "MCP " + version + " has no batches of messages (send each on a line of its own)"
	case len(parts) == 0:
		refusal = "the batch is empty (leave it out)"
	case len(parts) > maxBatch:
		refusal = fmt.Sprintf("the batch has %d messages, the limit is %d (send less at once)", len(parts), maxBatch)
	}
	if refusal != "" {
		c.refuse(nil, jsonrpc.CodeInvalidRequest, refusal)
		return nil
	}
	var messages []jsonrpc.Message
	together := &batch{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, part := range parts {
		m, err := decode(part)
		req, isRequest := m.(*jsonrpc.Request)
		switch {
		case err != nil:
			together.add(refusalOf(nil, jsonrpc.CodeInvalidRequest, "a part of the batch is no message of JSON-RPC 2.0"))
			continue
		case isRequest && req.ID.IsValid() && c.batches[req.ID] != nil:
			together.add(refusalOf(nil, jsonrpc.CodeInvalidRequest, "a part of the batch has the id of another, "+kernel.Quote(fmt.Sprint(req.ID.Raw()))))
			continue
		case isRequest && req.ID.IsValid():
			c.batches[req.ID] = together
			together.open++
		}
		messages = append(messages, m)
	}
	if together.open == 0 && len(together.answers) > 0 {
		c.writeBatch(together)
	}
	return messages
}

func (b *batch) add(answer []byte) { b.answers = append(b.answers, answer) }

func refusalOf(id json.RawMessage, code int, message string) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": message}})
	if err != nil {
		return []byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the error cannot be told"}}`)
	}
	return text
}

// refuse answers a line with an error. That it cannot be told is seen by who writes next.
func (c *lineConn) refuse(id json.RawMessage, code int, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.out.Write(append(refusalOf(id, code, message), '\n'))
}

func (c *lineConn) writeBatch(b *batch) {
	text, err := json.Marshal(b.answers)
	if err != nil {
		text = refusalOf(nil, jsonrpc.CodeInternalError, "the answers of a batch cannot be told")
	}
	_, _ = c.out.Write(append(text, '\n'))
}

// Read implements mcp.Connection.
func (c *lineConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	for len(c.queue) == 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
			return nil, io.EOF
		case c.queue = <-c.incoming:
		case <-c.over:
			return nil, c.end
		}
	}
	next := c.queue[0]
	c.queue = c.queue[1:]
	return next, nil
}

// Write implements mcp.Connection.
func (c *lineConn) Write(ctx context.Context, m jsonrpc.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := m.(*jsonrpc.Response); ok {
		if c.begun.IsValid() && answer.ID == c.begun {
			c.agreed(answer)
		}
		if together := c.batches[answer.ID]; together != nil {
			delete(c.batches, answer.ID)
			together.add(text)
			if together.open--; together.open == 0 {
				c.writeBatch(together)
			}
			return nil
		}
	}
	_, err = c.out.Write(append(text, '\n'))
	return err
}

// agreed notes the version that both speak from now on.
func (c *lineConn) agreed(answer *jsonrpc.Response) {
	var result struct {
		Version string `json:"protocolVersion"`
	}
	if answer.Error == nil && json.Unmarshal(answer.Result, &result) == nil {
		c.version, c.begun = result.Version, jsonrpc.ID{}
	}
}

// Close implements mcp.Connection.
func (c *lineConn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.closeErr = errors.Join(c.in.Close(), c.out.Close())
	})
	return c.closeErr
}

// SessionID implements mcp.Connection.
func (c *lineConn) SessionID() string { return "" }
