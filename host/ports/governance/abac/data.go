package abac

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

// Data is the rules, and what their conditions can look up.
type Data struct {
	Rules      []Rule         `json:"rules"`
	Attributes map[string]any `json:"attributes"`
}

// Rule says what becomes of actions on resources where a condition holds.
type Rule struct {
	ID          string           `json:"id"`
	Effect      kernel.Effect    `json:"effect"`
	Actions     []string         `json:"actions"`
	Resources   []string         `json:"resources"`
	Condition   string           `json:"condition"`
	Message     string           `json:"message"`
	Obligations []map[string]any `json:"obligations"`
	TTLSeconds  int              `json:"ttl_s"` // 0 is for this one request
}

// maxPattern bounds the patterns of the data, in bytes.
const maxPattern = 256

// New returns a driver on data. What is wrong with it is CodeConfig.
func New(data Data) (*Driver, error) {
	d := &Driver{exact: map[string][]*rule{}, attributes: data.Attributes}
	if data.Attributes == nil {
		d.attributes = map[string]any{}
	}
	ids := map[string]bool{}
	for i := range data.Rules {
		r := &data.Rules[i]
		if err := d.add(r); err != nil {
			return nil, invalid(fmt.Errorf("rules[%d]: %w", i, err))
		}
		if ids[r.ID] {
			return nil, invalid(fmt.Errorf("rules[%d]: there is another rule %q", i, r.ID))
		}
		ids[r.ID] = true
	}
	var err error
	if d.revision, err = driver.RevisionOf("abac", data); err != nil {
		return nil, invalid(err)
	}
	return d, nil
}

func invalid(err error) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the data of abac cannot be used", Why: kernel.Quote(err.Error()),
		Fix: "write rules: [{id, effect, actions, resources, condition, message, obligations, ttl_s}] and attributes: {...}", Err: err}
}

func (d *Driver) add(r *Rule) error {
	switch {
	case r.ID == "":
		return errors.New("it has no id")
	case r.Effect != kernel.Allow && r.Effect != kernel.Approve && r.Effect != kernel.Forbid:
		return fmt.Errorf("its effect is %q; there are allow, deny and approve", r.Effect)
	case len(r.Actions) == 0:
		return errors.New("it has no actions")
	case r.TTLSeconds < 0:
		return fmt.Errorf("ttl_s is %d", r.TTLSeconds)
	}
	for _, pattern := range slices.Concat(r.Actions, r.Resources) {
		if pattern == "" || len(pattern) > maxPattern {
			return fmt.Errorf("a pattern has 1 to %d bytes", maxPattern)
		}
	}
	if _, err := obligation.Parse(r.Obligations); err != nil {
		return fmt.Errorf("obligations: %w", err)
	}
	condition, err := d.compile(r.Condition)
	if err != nil {
		return err
	}
	for _, action := range r.Actions {
		compiled := &rule{Rule: r, action: action, condition: condition}
		if strings.Contains(action, "*") {
			d.patterns = append(d.patterns, compiled)
		} else {
			d.exact[action] = append(d.exact[action], compiled)
		}
	}
	return nil
}

// compile reads a condition, whose names have to be those of a request: a typo
// would else be found by the first call.
func (d *Driver) compile(condition string) (*expr.Program, error) {
	if condition == "" {
		return nil, nil
	}
	p, err := expr.Compile(condition)
	if err != nil {
		return nil, fmt.Errorf("condition: %w", err)
	}
	for _, ref := range p.References() {
		if !slices.Contains(names[:], ref.Path[0]) {
			return nil, fmt.Errorf("condition: there is no %s; there are %s", ref.Path[0], strings.Join(names[:], ", "))
		}
		if ref.Path[0] == "context" {
			whole := len(ref.Path) == 1 // or as a value
			d.reads = d.reads.Or(driver.Reads{Usage: whole || ref.Path[1] == "usage", Run: whole || ref.Path[1] == "run_id"})
		}
	}
	return p, nil
}
