package redteam

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// attack is what a case does; it returns what the host answered.
type attack = func(ctx context.Context, s *site) string

// answered names an outcome: an error's code, or what went well.
func answered(err error, well string) string {
	if err != nil {
		return string(kernel.CodeOf(err))
	}
	return well
}

// shown is answered for an error that must hold nothing that a terminal acts on.
func shown(err error) string {
	if err != nil && strings.ContainsFunc(err.Error(), hidden) {
		return "an error that is not escaped: " + kernel.Quote(err.Error())
	}
	return answered(err, "taken")
}

func hidden(r rune) bool { return !unicode.IsPrint(r) }

// loading attacks with what is loaded.
func loading(g guest) attack {
	return func(ctx context.Context, s *site) string {
		_, err := s.load(ctx, g)
		return shown(err)
	}
}

// loadingBytes is loading of bytes that are made when the attack begins.
func loadingBytes(build func() []byte) attack {
	return func(ctx context.Context, s *site) string {
		bytes := build()
		s.begin()
		return loading(guest{wasm: bytes})(ctx, s)
	}
}

// hooking attacks as a hook before test.echo. A module that is refused when it is
// loaded has been answered, too.
func hooking(g guest) attack {
	return func(ctx context.Context, s *site) string {
		m, err := s.load(ctx, g)
		if err != nil {
			return shown(err)
		}
		s.begin()
		v, err := s.hook(ctx, m, nil)
		if err != nil {
			return shown(err)
		}
		return v.Action.String()
	}
}

// hook calls a module's port_before, as if test.echo had been called.
func (s *site) hook(ctx context.Context, m *extension.Module, body []byte) (kernel.Verdict, error) {
	hook, err := m.PortHook()
	if err != nil {
		return kernel.Verdict{}, err
	}
	return hook.BeforePort(attackers(ctx), &kernel.PortCall{Op: "test.echo", Args: map[string]any{"topic": "orders"}, Body: body, Caller: kernel.Caller{Principal: "mallory"}})
}

// hookedDoor is the door with a module's hook around test.echo.
func (s *site) hookedDoor(ctx context.Context, m *extension.Module) (context.Context, *ports.Door, error) {
	hook, err := m.PortHook()
	if err != nil {
		return nil, nil, err
	}
	door := s.door.With()
	door.Hook(ports.Registration{Name: m.Name(), Match: ports.MatchOps([]string{"test.echo"}), Hook: hook})
	return ports.WithDoor(attackers(ctx), door), door, nil
}

// everything is what the probe imports, and so has to request.
func everything() []any {
	return []any{"test.echo", "test.slow", "test.big", "test.panic", abi.OpClock, abi.OpRandom}
}

// theProbe is the probe with every right, and more time than any case takes.
func theProbe() guest {
	return guest{name: "probe", requests: everything(), limits: sandbox.Limits{Deadline: time.Minute}}
}

// probing has the probe do a script and returns the statuses that it was
// answered, each name once where it repeats itself.
func probing(g guest, s *probe.Script) attack {
	return func(ctx context.Context, t *site) string {
		results, _, err := t.probe(ctx, g, s)
		if err != nil {
			return shown(err)
		}
		return statuses(results)
	}
}

// probe loads the probe and has it do a script. What the script appended to
// its output comes back, too.
func (s *site) probe(ctx context.Context, g guest, script *probe.Script) ([]int64, []byte, error) {
	m, err := s.load(ctx, g)
	if err != nil {
		return nil, nil, err
	}
	s.begin()
	v, err := s.hook(ctx, m, script.Image())
	if err != nil {
		return nil, nil, err
	}
	return script.Results(v.Body)
}

// statuses names what imports answered; a positive answer is "ok".
func statuses(results []int64) string {
	var names []string
	for _, r := range results {
		name := abi.Status(min(r, 0)).String()
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
