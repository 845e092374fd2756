package journal

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// fill gives every member of v that JSON has a value of its own: one that the encoder leaves out is missed.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, *n, time.UTC)))
		return
	case *kernel.Labels:
		l, _ := kernel.NewLabels(kernel.Untrusted, kernel.Secret, fmt.Sprint("source ", *n))
		v.Set(reflect.ValueOf(l))
		return
	case json.RawMessage:
		v.SetBytes(fmt.Appendf(nil, `{"raw":%d}`, *n))
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"n": json.Number(fmt.Sprint(*n)), "text": "<a>\u2028\x00\"\\\n"}))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				fill(v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		item := reflect.New(v.Type().Elem()).Elem()
		fill(item, n)
		v.SetMapIndex(reflect.ValueOf(fmt.Sprint("key ", *n)), item)
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.125)
	default:
		panic(v.Kind())
	}
}

func full(seq uint64) *Entry {
	e, n := &Entry{}, int(seq)
	fill(reflect.ValueOf(e).Elem(), &n)
	e.Seq = seq
	return e
}

// What the encoder writes is what encoding/json would, and reads as what it was.
func TestEncode(t *testing.T) {
	for name, e := range map[string]*Entry{
		"full": full(1), "small": {Seq: 1, Kind: Enter}, "empty parts": {
			Seq: 1, Kind: Done, Decided: &kernel.Decision{Reasons: []kernel.Reason{}}, Event: &kernel.Event{}, Usage: &kernel.UsageSnapshot{},
			Cached: &kernel.Cached{}, Failed: &kernel.Error{}, Value: "", Args: map[string]any{},
		},
		"numbers": {Seq: 1, Kind: Told, Event: &kernel.Event{DurationMS: 1e300, Used: -3, Limit: 0.1}, Value: []any{json.Number("1e400"), true, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := appendEntry(nil, e)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			ours, err1 := kernel.DecodeJSON(text)
			want, err2 := kernel.DecodeJSON(theirs)
			if err1 != nil || err2 != nil || !reflect.DeepEqual(ours, want) {
				t.Errorf("%v %v\n%s\nis not\n%s", err1, err2, text, theirs)
			}
			read, err := decodeLines(append(text, '\n'), 1)
			if err != nil || len(read) != 1 || !reflect.DeepEqual(read[0], e) {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// No value breaks out of its line.
func TestEncodeLine(t *testing.T) {
	for _, e := range []*Entry{{Value: json.Number("1\n2")}, {Asked: json.RawMessage("{")}, {Value: func() {}}} {
		if text, err := appendLine(nil, e); kernel.CodeOf(err) != kernel.CodeInternal {
			t.Errorf("%q %v", text, err)
		}
	}
	text, err := appendEntry(nil, &Entry{Asked: json.RawMessage("{\n\"a\":\n1}"), Value: "a\nb"})
	if err != nil || strings.Contains(string(text), "\n") {
		t.Errorf("%q %v", text, err)
	}
	if _, err := appendLine(nil, &Entry{Body: make([]byte, maxEntry)}); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}
}

// typical are the entries of a node that calls a port, as one of many writes them.
func typical() []*Entry {
	at := time.Now()
	usage := &kernel.UsageSnapshot{LLMCalls: 3, InputTokens: 1200, OutputTokens: 300, PortCalls: 7}
	return []*Entry{
		{Seq: 1, Kind: Enter, Time: at, Lane: "summarise"},
		{Seq: 2, Kind: Call, Time: at, Lane: "summarise", Op: "llm.complete", Key: "hx-0123456789abcdef0123456789abcdef", Digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Args: map[string]any{"model": "small", "messages": []any{map[string]any{"role": "user", "content": strings.Repeat("Summarise this ticket. ", 20)}}}},
		{Seq: 3, Kind: Reply, Time: at, Lane: "summarise", Value: map[string]any{"text": strings.Repeat("The customer asks for a refund. ", 10), "usage": map[string]any{"input_tokens": json.Number("120"), "output_tokens": json.Number("80")}}},
		{Seq: 4, Kind: Done, Time: at, Lane: "summarise", State: "finished", Value: map[string]any{"summary": strings.Repeat("The customer asks for a refund. ", 10)}, Usage: usage},
	}
}

func BenchmarkEncode(b *testing.B) {
	entries := typical()
	run := func(name string, encode func(dst []byte, e *Entry) ([]byte, error)) {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			var err error
			for b.Loop() {
				dst = dst[:0]
				for _, e := range entries {
					if dst, err = encode(dst, e); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(len(dst)), "bytes/node")
		})
	}
	run("ours", appendEntry)
	run("encoding_json", func(dst []byte, e *Entry) ([]byte, error) {
		text, err := json.Marshal(e)
		return append(dst, text...), err
	})
	b.Run("frame", func(b *testing.B) {
		var lines []byte
		for range 4 {
			for _, e := range entries {
				lines, _ = appendLine(lines, e)
			}
		}
		var data []byte
		for b.Loop() {
			data = frame(1, 16, lines)
		}
		b.ReportMetric(float64(len(lines)), "bytes")
		b.ReportMetric(float64(len(data)), "bytes-stored")
	})
	b.Run("decode", func(b *testing.B) {
		var lines []byte
		for i, e := range entries {
			e.Seq = uint64(i + 1)
			lines, _ = appendLine(lines, e)
		}
		for b.Loop() {
			if _, err := decodeLines(lines, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
