package main

import (
	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

// What the suite has tools ask their client for.
const (
	nameForm  = `{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`
	colorForm = `{"type":"object","properties":{"color":{"type":"string"}},"required":["color"]}`
	okForm    = `{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}`
	userForm  = `{"type":"object","properties":{"username":{"type":"string","description":"User's response"},"email":{"type":"string","description":"User's email address"}},"required":["username","email"]}`
	about     = `{"type":"object","properties":{"context":{"type":"string"}},"required":["context"]}`
	defaults  = `{"type":"object","properties":{"name":{"type":"string","default":"John Doe"},"age":{"type":"integer","default":30},"score":{"type":"number","default":95.5},"status":{"type":"string","enum":["active","inactive","pending"],"default":"active"},"verified":{"type":"boolean","default":true}}}`
	choices   = `{"type":"object","properties":{"untitledSingle":{"type":"string","enum":["option1","option2","option3"]},"titledSingle":{"type":"string","oneOf":[{"const":"value1","title":"First Option"},{"const":"value2","title":"Second Option"}]},"legacyEnum":{"type":"string","enum":["opt1","opt2","opt3"],"enumNames":["Option One","Option Two","Option Three"]},"untitledMulti":{"type":"array","items":{"type":"string","enum":["option1","option2","option3"]}},"titledMulti":{"type":"array","items":{"anyOf":[{"const":"value1","title":"First Choice"},{"const":"value2","title":"Second Choice"}]}}}}`
)

// asked is a call that asks the client for several things at once.
type asked struct{ *hexdag.Call }

func ask() asked { return asked{hexdag.NewCall("client.ask")} }

func (a asked) form(name, message, schema string) asked {
	a.String("/requests/"+name+"/kind", "elicit").String("/requests/"+name+"/message", message).JSON("/requests/"+name+"/schema", schema)
	return a
}

func (a asked) model(name, prompt string, tokens int64) asked {
	a.String("/requests/"+name+"/kind", "complete").JSON("/requests/"+name+"/messages", `[{}]`).Int("/requests/"+name+"/max_tokens", tokens)
	a.String("/requests/"+name+"/messages/0/role", "user").String("/requests/"+name+"/messages/0/content", prompt)
	return a
}

func (a asked) roots(name string) asked {
	a.String("/requests/"+name+"/kind", "roots")
	return a
}

// answer has the client asked, and says what it has answered. Where it has to be waited for, the host has this tool called again, and what
// it did before is not done twice.
func (a asked) answer(c *hexdag.ToolCall, before, path string) hexdag.Verdict {
	reply, err := a.Do()
	if err != nil {
		return hexdag.FailWith(err)
	}
	return text(c, before+reply.Raw(path))
}

// asks calls a tool that asks its client for something.
func asks(c *hexdag.ToolCall) (v hexdag.Verdict, known bool) {
	switch c.Tool() {
	case "test_sampling", "test_input_required_result_sampling", "test_missing_capability":
		prompt := c.Args().String("/prompt")
		if prompt == "" {
			prompt = "What is the capital of France?"
		}
		return ask().model("capital_question", prompt, 100).answer(c, "LLM response: ", "/capital_question/content"), true
	case "test_elicitation":
		return ask().form("user", c.Args().String("/message"), userForm).answer(c, "User response: ", "/user"), true
	case "test_elicitation_sep1034_defaults":
		return ask().form("form", "Who are you?", defaults).answer(c, "Elicitation completed: ", "/form"), true
	case "test_elicitation_sep1330_enums":
		return ask().form("form", "Choose.", choices).answer(c, "Elicitation completed: ", "/form"), true
	case "test_input_required_result_elicitation":
		return ask().form("user_name", "What is your name?", nameForm).answer(c, "Hello, ", "/user_name/content/name"), true
	case "test_input_required_result_list_roots":
		return ask().roots("client_roots").answer(c, "Roots: ", "/client_roots/roots"), true
	case "test_input_required_result_request_state":
		return ask().form("confirm", "Please confirm", okForm).answer(c, "state-ok: ", "/confirm"), true
	case "test_input_required_result_tampered_state":
		return ask().form("confirm", "Please confirm", okForm).answer(c, "confirmed: ", "/confirm"), true
	case "test_input_required_result_multiple_inputs":
		return ask().form("user_name", "What is your name?", nameForm).model("greeting", "Generate a greeting", 50).roots("client_roots").answer(c, "All answers: ", ""), true
	case "test_input_required_result_multi_round":
		reply, err := ask().form("step1", "Step 1: What is your name?", nameForm).Do()
		if err != nil {
			return hexdag.FailWith(err), true
		}
		name := reply.String("/step1/content/name")
		return ask().form("step2", "Step 2: What is your favorite color?", colorForm).answer(c, name+" likes ", "/step2/content/color"), true
	case "test_input_required_result_capabilities":
		return capable(c), true
	case "prompt_with_context":
		reply, err := ask().form("user_context", "What context should the prompt use?", about).Do()
		if err != nil {
			return hexdag.FailWith(err), true
		}
		return text(c, "Use this context: "+reply.String("/user_context/content/context")), true
	}
	return hexdag.Continue(), false
}

// capable asks for what the client takes, and for nothing else.
func capable(c *hexdag.ToolCall) hexdag.Verdict {
	takes, err := hexdag.NewCall("client.describe").Do()
	if err != nil {
		return hexdag.FailWith(err)
	}
	elicits, completes := takes.Bool("/elicit", false), takes.Bool("/complete", false)
	a := ask()
	if elicits {
		a.form("user_name", "What is your name?", nameForm)
	}
	if completes {
		a.model("greeting", "Generate a greeting", 50)
	}
	if !elicits && !completes {
		return text(c, "The client takes no requests.")
	}
	return a.answer(c, "Answers: ", "")
}
