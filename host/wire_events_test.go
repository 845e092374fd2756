package host_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/kafkabus"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
	"github.com/hexdag/hexdag/host/ports/eventbus/natsbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/redisbus"
)

// README's table of what the backends cannot promise is what the suite holds them to.
func TestReadmeHasTheBusTable(t *testing.T) {
	table := eventbustest.Table(
		eventbustest.Backend{Name: "memory", Capabilities: (&membus.Bus{}).Capabilities()},
		eventbustest.Backend{Name: "nats", Capabilities: (&natsbus.Bus{}).Capabilities()},
		eventbustest.Backend{Name: "redis", Capabilities: (&redisbus.Bus{}).Capabilities()},
		eventbustest.Backend{Name: "kafka", Capabilities: (&kafkabus.Bus{}).Capabilities()},
	)
	if !strings.Contains(readFile(t, "../README.md"), table) {
		t.Errorf("README.md lacks this table:\n%s", table)
	}
}
