package pipeline

import (
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// TelemetrySpec says where spans go, and what they tell. What it leaves out the environment variables OTEL_* say.
type TelemetrySpec struct {
	Endpoint   string // URL of a collector that takes OTLP
	Protocol   string // http/protobuf, http/json or grpc
	Headers    map[string]string
	Sample     *float64 // of the traces that begin here, from 0 to 1
	Service    string
	Attributes map[string]string // of whoever sends

	Content   bool     // what models and tools were told, and what they answered
	Propagate []string // patterns of the hosts that requests of the http port tell the trace
	Where     kernel.Where
}

func (r *reader) readTelemetry(s *source.Section) *TelemetrySpec {
	if s == nil {
		return nil
	}
	t := &TelemetrySpec{
		Where: s.At.Where(), Endpoint: s.Text("endpoint"), Protocol: s.Text("protocol"), Service: s.Text("service"), Sample: s.Bound("sample"),
		Headers: r.readTexts(s.Member("headers")), Attributes: r.readTexts(s.Member("attributes")), Content: s.Flag("content"), Propagate: s.Texts("propagate"),
	}
	if known := []string{"", "http/protobuf", "http/json", "grpc"}; !slices.Contains(known, t.Protocol) {
		r.Add(s.Get("protocol").Errorf(r.Code, kernel.DidYouMean(t.Protocol, known[1:]), "there is no protocol %s", kernel.Quote(t.Protocol)))
	}
	if t.Sample != nil && *t.Sample > 1 {
		r.Add(s.Get("sample").Errorf(r.Code, "write a share from 0 to 1", "sample is %g", *t.Sample))
	}
	s.Rest()
	return t
}

// readTexts reads {name: text}.
func (r *reader) readTexts(s *source.Section) map[string]string {
	if s == nil {
		return nil
	}
	texts := map[string]string{}
	for _, name := range s.M.Names {
		texts[name] = s.Text(name)
	}
	return texts
}
