package sandbox

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// console is what a command has in the place of imports of its own: the message
// on standard input, the answer on standard output. It runs once in an instance.
type console struct {
	in     []byte // what is still to read
	out    []byte
	said   []byte // the end of what went to stderr
	exited bool   // it called proc_exit
	code   uint32 // with this
}

// runCommand is one call of a program, from start to exit, with the message.
func (i *instance) runCommand(message []byte, out *Outcome) error {
	a := &i.state
	c := &console{in: message}
	i.console = c
	// How it ended is the host's own knowledge: an exit also looks like an error.
	if err := i.entry(a.call.Point).CallWithStack(&a.context, nil); err != nil && !c.exited {
		return a.ending(err)
	}
	a.flushLines()
	if err := a.settle(); err != nil {
		return err
	}
	if c.code != 0 {
		a.failed(out, fmt.Sprintf("exit code %d: %s", c.code, strings.TrimSpace(string(c.said))))
		return nil
	}
	return a.interpret(c.out, out)
}

// maxSaid is how much of stderr an error tells; all of it is in the log.
const maxSaid = 1 << 10

// write takes what a guest writes: a command's answer, or log lines.
func (a *activation) write(fd uint32, text []byte) {
	c := a.instance.console
	switch {
	case c != nil && fd == 1:
		if len(c.out)+len(text) > a.limits.Document {
			a.stopWith(a.tooLarge("the command's output", len(c.out)+len(text)))
		}
		c.out = append(c.out, text...)
		a.out(len(text))
		return
	case c != nil:
		c.said = append(c.said, text...)
		c.said = append(c.said[:0], c.said[max(0, len(c.said)-maxSaid):]...)
	}
	a.print(int(fd-1), text)
}

// fdRead gives a command its message; there is nothing else to read.
func (a *activation) fdRead(mem memory, stack []uint64) uint32 {
	c := a.instance.console
	if c == nil || uint32(stack[0]) != 0 {
		return errnoBadf
	}
	count := uint32(stack[2])
	if count > maxVectors {
		return errnoInval
	}
	vectors, ok := view(mem, stack[1], uint64(count)*8)
	if !ok {
		return errnoFault
	}
	total := 0
	for ; len(vectors) > 0 && total < len(c.in); vectors = vectors[8:] {
		room := binary.LittleEndian.Uint32(vectors[4:])
		part := c.in[total:]
		part = part[:min(uint64(len(part)), uint64(room))]
		if !mem.write(binary.LittleEndian.Uint32(vectors), part) {
			return errnoFault
		}
		total += len(part)
	}
	if errno := writeU32(mem, stack[3], uint32(total)); errno != errnoSuccess {
		return errno
	}
	c.in = c.in[total:]
	a.usage.BytesIn += int64(total)
	a.work += total
	return errnoSuccess
}

// procExit ends a command as it is meant to end, and any other guest without a
// verdict.
func (a *activation) procExit(_ memory, stack []uint64) {
	code := uint32(stack[0])
	if c := a.instance.console; c != nil {
		c.exited, c.code = true, code
		panic(stop{})
	}
	a.stopWith(a.errorf(kernel.CodeTrap, fmt.Sprintf("the guest ended itself in %s", a.call.Point), fmt.Sprintf("it called proc_exit(%d)", code), "return a verdict instead; its log lines may say more"))
}
