package prices

import "testing"

func TestEveryLineIsAPrice(t *testing.T) {
	models, err := list()
	if err != nil || len(models) < 30 {
		t.Fatalf("%d models, %v", len(models), err)
	}
	for name, e := range models {
		if e.Input <= 0 || e.Output < 0 || e.Input > 100 || e.Output > 1000 || e.Output > 0 && e.Output < e.Input {
			t.Errorf("%s: %+v", name, e)
		}
		if long := e.LongPrompt > 0; long != (e.LongInput > e.Input) || long != (e.LongOutput > e.Output) {
			t.Errorf("%s: a long prompt is to cost more: %+v", name, e)
		}
		if Undated(name) != name && name != "gemini-embedding-001" { // which is its whole name
			t.Errorf("%s: list it without its version", name)
		}
	}
}

func TestOf(t *testing.T) {
	for model, want := range map[string]float64{
		"gpt-4o": 2.5, "gpt-4o-2024-08-06": 2.5, "gpt-4o-mini-2024-07-18": 0.15, "claude-sonnet-4-5-20250929": 3, "claude-sonnet-4-5-latest": 3, "gemini-2.5-pro": 1.25, "gemini-2.5-pro-001": 1.25,
	} {
		if p, known := Of(model); !known || p.InputPerMillion != want {
			t.Errorf("%s: %+v, %v, want %v", model, p, known, want)
		}
	}
	for _, model := range []string{"", "gpt-4o-audio", "llama3:8b", "-latest"} {
		if p, known := Of(model); known {
			t.Errorf("%s: %+v", model, p)
		}
	}
}
