package examples_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// This file says in Go what the example decides: the mock model's rules, the
// shop's terms and the policy, from the same data and without any of its code.

type ticket struct {
	ID       string
	OrderID  string `json:"order_id"`
	Subject  string
	Message  string
	Customer struct{ Name, Email string }
}

// tickets returns those that can be used.
func (x triage) tickets(t *testing.T) []ticket {
	t.Helper()
	var list []ticket
	for line := range strings.Lines(read(t, x.path("tickets.jsonl"))) {
		var tk ticket
		if json.Unmarshal([]byte(line), &tk) == nil && strings.Count(line, `"id":`) == 1 && tk.Message != "" {
			list = append(list, tk)
		}
	}
	return list
}

type order struct {
	cents, days, refunds int // days is -1 where it was not delivered
	currency, risk       string
}

var orderRow = regexp.MustCompile(`\('(A-\d+)', (\d+)\.(\d\d), '(\w+)', '\w+', (\d+|NULL), (\d+), '(\w+)'\)`)

func (x triage) orders(t *testing.T) map[string]order {
	t.Helper()
	orders := map[string]order{}
	for _, m := range orderRow.FindAllStringSubmatch(read(t, x.path("orders.sql")), -1) {
		o := order{currency: m[4], risk: m[7], cents: number(t, m[2])*100 + number(t, m[3]), days: -1, refunds: number(t, m[6])}
		if m[5] != "NULL" {
			o.days = number(t, m[5])
		}
		orders[m[1]] = o
	}
	return orders
}

func number(t *testing.T, text string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(text, err)
	}
	return n
}

type reply struct{ Category, Wanted, Sentiment string }

// model answers as the rules say.
type model struct {
	Rules []struct {
		Match string
		Reply reply
	}
	Default reply
}

func (x triage) model(t *testing.T) (m model) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, x.path("llm-rules.yaml"))), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m model) classify(text string) reply {
	for _, r := range m.Rules {
		if regexp.MustCompile(r.Match).MatchString(text) {
			return r.Reply
		}
	}
	return m.Default
}

// propose returns the cents that the shop's terms give back.
func propose(category string, o order, found bool) int {
	switch category {
	case "damaged", "wrong_item", "billed_twice", "fraud":
		return o.cents
	case "late":
		return (o.cents*20 + 50) / 100
	case "changed_mind":
		if found && o.days <= 30 {
			return max(0, o.cents-500)
		}
	}
	return 0
}

type limits struct {
	Refunds struct {
		Currency    string
		AllowUpTo   int `json:"allow_up_to"`
		ApproveUpTo int `json:"approve_up_to"`
		AllowDays   int `json:"allow_days"`
		DenyDays    int `json:"deny_days"`
		ManyRefunds int `json:"many_refunds"`
	}
}

func (x triage) limits(t *testing.T) (l limits) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, x.path("policies/data.json"))), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// decide returns the effect and its rules.
func (l limits) decide(category string, cents int, o order) string {
	if cents == 0 {
		return "allow refunds.nothing"
	}
	say := func(effect string, rules map[string]bool) string {
		var ids []string
		for id, applies := range rules {
			if applies {
				ids = append(ids, "refunds."+id)
			}
		}
		slices.Sort(ids)
		if ids == nil {
			return ""
		}
		return effect + " " + strings.Join(ids, ", ")
	}
	if d := say("deny", map[string]bool{
		"not_delivered": o.days < 0, "over_total": cents > o.cents, "over_limit": cents > l.Refunds.ApproveUpTo*100,
		"too_late": o.days > l.Refunds.DenyDays, "high_risk": o.risk == "high", "fraud": category == "fraud",
	}); d != "" {
		return d
	}
	if d := say("approve", map[string]bool{
		"large": cents > l.Refunds.AllowUpTo*100, "currency": o.currency != l.Refunds.Currency, "late": o.days > l.Refunds.AllowDays,
		"medium_risk": o.risk == "medium", "repeated": o.refunds >= l.Refunds.ManyRefunds,
	}); d != "" {
		return d
	}
	return "allow refunds.small"
}

// expectation is what must become of a ticket; tooLong means that the token budget
// keeps it from the model.
type expectation struct {
	category string
	cents    int
	decision string
	tooLong  bool
}

func (x triage) expect(t *testing.T) map[string]expectation {
	t.Helper()
	orders, model, limits := x.orders(t), x.model(t), x.limits(t)
	want := map[string]expectation{}
	for _, tk := range x.tickets(t) {
		o, found := orders[tk.OrderID]
		e := expectation{category: model.classify(tk.Subject + "\n\n" + tk.Message).Category, tooLong: len(tk.Message)/4 > 1000}
		e.cents = propose(e.category, o, found)
		e.decision = limits.decide(e.category, e.cents, o)
		want[tk.ID] = e
	}
	return want
}
