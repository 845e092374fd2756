package main

import (
	"testing"

	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

func TestParseMoney(t *testing.T) {
	for text, want := range map[string]money{
		"0": 0, "84.9": 8490, "84.90": 8490, "84.900": 8490, "0.01": 1, "100": 10000, "7.": 700, "999999999999.99": 99999999999999,
	} {
		if got, ok := parseMoney(text); !ok || got != want {
			t.Errorf("%q gave %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1e3", "1.005", ".5", "1,50", "1.5.0", "null", " 1", "12345678901234567890", "1.x"} {
		if got, ok := parseMoney(text); ok {
			t.Errorf("%q was taken for %d", text, got)
		}
	}
}

func TestMoneyText(t *testing.T) {
	for m, want := range map[money]string{0: "0.00", 5: "0.05", 50: "0.50", 8490: "84.90", 100000: "1000.00"} {
		if got := m.String(); got != want {
			t.Errorf("%d is written %s, want %s", m, got, want)
		}
	}
}

func TestPercentRoundsHalfUp(t *testing.T) {
	for m, want := range map[money]money{8490: 1698, 2: 0, 3: 1, 1232: 246, 1233: 247} {
		if got := m.percent(20); got != want {
			t.Errorf("20 %% of %d is %d, want %d", m, got, want)
		}
	}
}

func input(category, wanted, order string) string {
	return `{"input":{"classification":{"category":"` + category + `","wanted":"` + wanted + `"},"order":` + order + `}}`
}

const delivered = `{"found":true,"order_id":"A-1","total":84.9,"currency":"EUR","days_since_delivery":12,"prior_refunds":1,"customer_risk":"low"}`

func TestRules(t *testing.T) {
	const old = `{"found":true,"order_id":"A-1","total":"84.90","currency":"EUR","days_since_delivery":31}`
	const cheap = `{"found":true,"order_id":"A-1","total":3,"currency":"EUR","days_since_delivery":null}`
	const none = `{"found":false,"order_id":"A-9"}`
	for _, tc := range []struct{ category, wanted, order, rule, amount string }{
		{"damaged", "refund", delivered, "damaged", "84.90"},
		{"wrong_item", "", delivered, "wrong_item", "84.90"},
		{"billed_twice", "refund", delivered, "billed_twice", "84.90"},
		{"late", "refund", delivered, "late", "16.98"},
		{"changed_mind", "refund", delivered, "changed_mind", "79.90"},
		{"changed_mind", "refund", old, "return_too_late", "0.00"},
		{"changed_mind", "refund", cheap, "changed_mind", "0.00"},
		{"damaged", "refund", old, "damaged", "84.90"},
		{"damaged", "replacement", delivered, "no_money_wanted", "0.00"},
		{"late", "information", delivered, "no_money_wanted", "0.00"},
		{"question", "refund", delivered, "no_claim", "0.00"},
		{"praise", "", none, "no_claim", "0.00"},
		{"damaged", "refund", none, "no_order", "0.00"},
		{"spam", "refund", delivered, "no_rule", "0.00"},
	} {
		got := hexdagtest.New(t).NodeRun(propose, input(tc.category, tc.wanted, tc.order))
		if got.Verdict != "continue" || got.Result("/rule") != tc.rule || got.Result("/amount") != tc.amount || got.Result("/explanation") == "" {
			t.Errorf("%+v: got %+v", tc, got)
		}
	}
}

func TestProposal(t *testing.T) {
	got := hexdagtest.New(t).NodeRun(propose, input("damaged", "refund", delivered))
	want := `{"amount":84.90,"category":"damaged","currency":"EUR","customer_risk":"low","days_since_delivery":12,` +
		`"explanation":"arrived damaged: the full total","order_id":"A-1","order_total":84.90,"prior_refunds":1,"rule":"damaged"}`
	if got.Output != want {
		t.Errorf("got %s", got.Output)
	}
}

func TestConfiguredTerms(t *testing.T) {
	host := hexdagtest.New(t)
	host.Config(`{"late_percent":50,"restocking_fee":"0.90","return_days":3}`)
	if got := host.NodeRun(propose, input("late", "", delivered)); got.Result("/amount") != "42.45" {
		t.Errorf("late: %+v", got)
	}
	if got := host.NodeRun(propose, input("changed_mind", "", delivered)); got.Result("/rule") != "return_too_late" {
		t.Errorf("changed mind: %+v", got)
	}
}

func TestRefusesWhatItCannotRead(t *testing.T) {
	for _, tc := range []struct{ name, config, payload string }{
		{"no category", `{}`, `{"input":{"order":` + delivered + `}}`},
		{"no input", `{}`, `{"input":null}`},
		{"a total that is no sum", `{}`, input("late", "", `{"found":true,"total":1e3}`)},
		{"a negative total", `{}`, input("late", "", `{"found":true,"total":-5}`)},
		{"no total", `{}`, input("late", "", `{"found":true}`)},
		{"percent above 100", `{"late_percent":101}`, input("late", "", delivered)},
		{"percent as text", `{"late_percent":"20"}`, input("late", "", delivered)},
		{"negative days", `{"return_days":-1}`, input("late", "", delivered)},
		{"a fee that is no sum", `{"restocking_fee":"five"}`, input("late", "", delivered)},
		{"a fee as a number", `{"restocking_fee":5}`, input("late", "", delivered)},
	} {
		host := hexdagtest.New(t)
		host.Config(tc.config)
		if got := host.NodeRun(propose, tc.payload); got.Verdict != "error" {
			t.Errorf("%s: got %+v", tc.name, got)
		}
	}
}
