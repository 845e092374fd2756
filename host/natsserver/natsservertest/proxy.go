package natsservertest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to an address, and can drop what is sent.
type proxy struct {
	listener net.Listener
	to       string

	mu      sync.Mutex
	dropped bool
	conns   map[net.Conn]struct{}
	open    sync.WaitGroup
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.open.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) cut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropped = cut
	if !cut { // a stream that lacks a part is of no use
		for c := range p.conns {
			c.Close()
		}
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.cut(false)
	p.open.Wait()
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.open.Go(func() { p.pass(in, out) })
		p.open.Go(func() { p.pass(out, in) })
	}
}

func (p *proxy) pass(to, from net.Conn) {
	_, _ = io.Copy(dropper{p, to}, from) // it ends when either does
	for _, c := range []net.Conn{to, from} {
		c.Close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}
}

// dropper writes nothing while the proxy is cut.
type dropper struct {
	p  *proxy
	to net.Conn
}

func (d dropper) Write(b []byte) (int, error) {
	d.p.mu.Lock()
	dropped := d.p.dropped
	d.p.mu.Unlock()
	if dropped {
		return len(b), nil
	}
	return d.to.Write(b)
}
