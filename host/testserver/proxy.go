package testserver

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy passes connections on to a server, and can be cut: then nothing passes, and connections
// stay open, as when a cable is pulled.
type Proxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	open  sync.WaitGroup
}

// NewProxy starts a proxy, which ends with the test.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.open.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Address returns host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Cut has nothing pass.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
}

// Heal ends Cut. Connections that lack a part of what was sent are closed.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.Heal()
	p.open.Wait()
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.open.Go(func() { p.pass(in, out) })
		p.open.Go(func() { p.pass(out, in) })
	}
}

func (p *Proxy) pass(to, from net.Conn) {
	_, _ = io.Copy(dropper{p, to}, from) // it ends when either does
	for _, c := range []net.Conn{to, from} {
		_ = c.Close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}
}

// dropper writes nothing while the proxy is cut.
type dropper struct {
	p  *Proxy
	to net.Conn
}

func (d dropper) Write(b []byte) (int, error) {
	d.p.mu.Lock()
	cut := d.p.cut
	d.p.mu.Unlock()
	if cut {
		return len(b), nil
	}
	return d.to.Write(b)
}
