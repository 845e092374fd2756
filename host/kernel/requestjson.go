package kernel

import (
	"maps"
	"slices"
	"strconv"
)

// Appender is a value that writes itself as compact JSON: what json.Marshal makes of it, but for the order of members.
type Appender interface {
	AppendJSON(dst []byte) ([]byte, error)
}

// AppendJSON implements Appender: by hand, because a policy is asked with the text about all that all runs do.
func (r *AccessRequest) AppendJSON(dst []byte) ([]byte, error) {
	dst = appendMember(append(dst, `{"subject":{`...), "type", r.Subject.Type)
	dst = appendMember(append(dst, ','), "id", r.Subject.ID)
	dst = appendMember(append(dst, ','), "tenant", r.Subject.Tenant)
	dst = appendTexts(dst, "on_behalf_of", r.Subject.Chain)
	dst = appendMember(append(dst, `},"action":{`...), "name", r.Action.Name)
	if len(r.Action.Args) > 0 {
		args, err := r.Action.Text.For(r.Action.Args).JSON()
		if err != nil {
			return dst, err
		}
		dst = append(append(dst, `,"args":`...), args...)
	}
	dst = appendMember(append(dst, `},"resource":{`...), "type", r.Resource.Type)
	dst = appendMember(append(dst, ','), "id", r.Resource.ID)
	dst = r.Context.append(append(dst, `},"context":`...))
	return append(dst, '}'), nil
}

func (s *Scope) append(dst []byte) []byte {
	dst = append(dst, '{')
	for _, m := range [...]struct{ name, text string }{{"run_id", s.RunID}, {"pipeline", s.Pipeline}, {"node", s.Node}} {
		if m.text != "" {
			dst = append(appendMember(dst, m.name, m.text), ',')
		}
	}
	if len(s.Labels) > 0 {
		dst = append(dst, `"labels":{`...)
		for i, name := range slices.Sorted(maps.Keys(s.Labels)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(append(AppendString(dst, name), ':'), s.Labels[name])
		}
		dst = append(dst, `},`...)
	}
	u := &s.Usage
	dst = append(dst, `"usage":{`...)
	for i, m := range [...]struct {
		name string
		n    int64
	}{{"llm_calls", u.LLMCalls}, {"input_tokens", u.InputTokens}, {"output_tokens", u.OutputTokens}, {"tool_calls", u.ToolCalls}, {"port_calls", u.PortCalls}} {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(AppendString(dst, m.name), ':'), m.n, 10)
	}
	return append(appendTexts(append(dst, '}'), "sources", s.Sources), '}')
}

func appendMember(dst []byte, name, text string) []byte {
	return AppendString(append(AppendString(dst, name), ':'), text)
}

// appendTexts appends a member behind another, unless there are none.
func appendTexts(dst []byte, name string, texts []string) []byte {
	if len(texts) == 0 {
		return dst
	}
	dst = append(AppendString(append(dst, ','), name), `:[`...)
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, text)
	}
	return append(dst, ']')
}
