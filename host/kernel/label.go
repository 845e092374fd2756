package kernel

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// Integrity is whose words a value can hold.
type Integrity string

// The integrities, the better first.
const (
	Trusted   Integrity = "trusted"
	Untrusted Integrity = "untrusted" // anybody's
)

// Confidentiality is who may see a value.
type Confidentiality string

// The confidentialities, the least first.
const (
	Public   Confidentiality = "public"
	Internal Confidentiality = "internal" // the house
	Secret   Confidentiality = "secret"   // nobody outside, and inside those who need it
)

// The names of the labels in a policy's input.
const (
	LabelIntegrity       = "integrity"
	LabelConfidentiality = "confidentiality"
)

// Labels say where a value comes from, and who may see it. They never change; nil
// are those of a value that is trusted and public, as most are: it costs nothing.
type Labels struct {
	untrusted bool
	secrecy   uint8    // index into secrecies
	sources   []string // sorted; what made the value untrusted, or not public
}

var secrecies = [...]Confidentiality{Public, Internal, Secret}

const (
	maxSources = 16
	maxSource  = 128
	// moreSources stands for the sources past the first sixteen.
	moreSources = "…"
)

// NewLabels returns labels; "" stands for trusted and for public. They are nil where
// there is nothing to say. Errors are of CodeInput.
func NewLabels(i Integrity, c Confidentiality, sources ...string) (*Labels, error) {
	l := Labels{}
	switch i {
	case "", Trusted:
	case Untrusted:
		l.untrusted = true
	default:
		return nil, &Error{Code: CodeInput, What: "there is no integrity " + Quote(string(i)), Fix: "write trusted or untrusted"}
	}
	if c != "" {
		at := slices.Index(secrecies[:], c)
		if at < 0 {
			return nil, &Error{Code: CodeInput, What: "there is no confidentiality " + Quote(string(c)), Fix: "write public, internal or secret"}
		}
		l.secrecy = uint8(at)
	}
	if l.plain() {
		return nil, nil
	}
	for _, s := range sources {
		l.sources = append(l.sources, Quote(cutString(Quote(s), maxSource))) // to quote what is quoted changes nothing
	}
	l.sources = bounded(l.sources)
	return &l, nil
}

func (l *Labels) plain() bool { return !l.untrusted && l.secrecy == 0 }

// bounded sorts sources and keeps a number of them that a record can hold. It may
// change what it is given.
func bounded(sources []string) []string {
	known := len(sources)
	sources = slices.DeleteFunc(sources, func(s string) bool { return s == moreSources })
	more := len(sources) < known
	slices.Sort(sources)
	sources = slices.Compact(sources)
	if len(sources) > maxSources {
		sources, more = sources[:maxSources], true
	}
	if more {
		sources = append(slices.Clip(sources), moreSources)
	}
	return sources
}

// From returns the labels with a source, where they have none.
func (l *Labels) From(source string) *Labels {
	if l == nil || len(l.sources) > 0 {
		return l
	}
	named, _ := NewLabels(l.Integrity(), l.Confidentiality(), source) // both are known
	return named
}

// Integrity returns whose words the value can hold.
func (l *Labels) Integrity() Integrity {
	if l != nil && l.untrusted {
		return Untrusted
	}
	return Trusted
}

// Confidentiality returns who may see the value.
func (l *Labels) Confidentiality() Confidentiality {
	if l == nil {
		return Public
	}
	return secrecies[l.secrecy]
}

// Sources returns where the value comes from, such as "http:api.example.org",
// sorted. Whoever has them does not change them.
func (l *Labels) Sources() []string {
	if l == nil {
		return nil
	}
	return l.sources
}

// Join returns the labels of what is made of two values: of each the stricter.
func (l *Labels) Join(other *Labels) *Labels {
	switch {
	case other == nil || l == other:
		return l
	case l == nil:
		return other
	case l.covers(other):
		return l
	case other.covers(l):
		return other
	}
	return &Labels{
		untrusted: l.untrusted || other.untrusted, secrecy: max(l.secrecy, other.secrecy),
		sources: bounded(slices.Concat(l.sources, other.sources)),
	}
}

func (l *Labels) covers(other *Labels) bool {
	if other.untrusted && !l.untrusted || other.secrecy > l.secrecy {
		return false
	}
	return !slices.ContainsFunc(other.sources, func(s string) bool { return !slices.Contains(l.sources, s) })
}

// Endorsed returns the labels of a value that somebody vouches for.
func (l *Labels) Endorsed() *Labels {
	if l == nil || l.secrecy == 0 {
		return nil
	}
	return &Labels{secrecy: l.secrecy, sources: l.sources}
}

// Declassified returns the labels of a value that everybody may see.
func (l *Labels) Declassified() *Labels {
	if l == nil || !l.untrusted {
		return nil
	}
	return &Labels{untrusted: true, sources: l.sources}
}

// Relabel says what a module, or a node, may take off what it answers.
type Relabel struct {
	Endorse    bool `json:"endorse,omitempty"`
	Declassify bool `json:"declassify,omitempty"`
}

// Of returns the labels without what may be taken off.
func (r Relabel) Of(l *Labels) *Labels {
	if r.Endorse {
		l = l.Endorsed()
	}
	if r.Declassify {
		l = l.Declassified()
	}
	return l
}

// labelsDocument is the form of labels in files, records and messages.
type labelsDocument struct {
	Integrity       Integrity       `json:"integrity"`
	Confidentiality Confidentiality `json:"confidentiality"`
	Sources         []string        `json:"sources,omitempty"`
}

// MarshalJSON writes {integrity, confidentiality, sources}.
func (l *Labels) MarshalJSON() ([]byte, error) {
	return json.Marshal(labelsDocument{l.Integrity(), l.Confidentiality(), l.Sources()})
}

// Value returns what MarshalJSON writes, as a Value.
func (l *Labels) Value() Value {
	v := map[string]any{LabelIntegrity: string(l.Integrity()), LabelConfidentiality: string(l.Confidentiality())}
	if len(l.Sources()) > 0 {
		sources := make([]any, len(l.sources))
		for i, s := range l.sources {
			sources[i] = s
		}
		v["sources"] = sources
	}
	return v
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Labels) UnmarshalJSON(text []byte) error {
	var doc labelsDocument
	if err := UnmarshalStrict(text, &doc); err != nil {
		return err
	}
	if len(doc.Sources) > maxSources+1 {
		return fmt.Errorf("labels have %d sources, the limit is %d", len(doc.Sources), maxSources)
	}
	read, err := NewLabels(doc.Integrity, doc.Confidentiality, doc.Sources...)
	if err != nil {
		return err
	}
	if *l = (Labels{}); read != nil {
		*l = *read
	}
	return nil
}

// OrNil returns nil in place of labels that say nothing.
func (l *Labels) OrNil() *Labels {
	if l == nil || l.plain() {
		return nil
	}
	return l
}

// String returns the labels for a person: "untrusted, secret (http:example.org)".
func (l *Labels) String() string {
	text := string(l.Integrity()) + ", " + string(l.Confidentiality())
	for i, s := range l.Sources() {
		sep := ", "
		if i == 0 {
			sep = " ("
		}
		text += sep + s
	}
	if len(l.Sources()) > 0 {
		text += ")"
	}
	return text
}

// LabelsOfRun takes the labels of a run's input from what whoever starts the run says
// of it: its labels integrity and confidentiality.
func LabelsOfRun(labels map[string]string) (*Labels, error) {
	return NewLabels(Integrity(labels[LabelIntegrity]), Confidentiality(labels[LabelConfidentiality]), "input")
}

// Mark returns the labels of a run, or of what it publishes, with what l says of a value where
// LabelsOfRun reads it. What they said of integrity and confidentiality is joined.
func (l *Labels) Mark(labels map[string]string) map[string]string {
	said, err := LabelsOfRun(labels)
	if err != nil { // what nobody can read is the worst
		said, _ = NewLabels(Untrusted, Secret, "input")
	}
	if l = l.Join(said); l == nil || l.plain() {
		return labels
	}
	marked := maps.Clone(labels)
	if marked == nil {
		marked = map[string]string{}
	}
	marked[LabelIntegrity], marked[LabelConfidentiality] = string(l.Integrity()), string(l.Confidentiality())
	return marked
}

// LabelsOfEvent are those of what an event carries, as Mark wrote them.
func LabelsOfEvent(labels map[string]string, topic string) *Labels {
	l, err := NewLabels(Integrity(labels[LabelIntegrity]), Confidentiality(labels[LabelConfidentiality]), "event:"+topic)
	if err != nil {
		l, _ = NewLabels(Untrusted, Secret, "event:"+topic)
	}
	return l
}

// Flow is what a node, or a call on its behalf, has learned so far: the labels of
// what it was given and of everything that it read. What goes out carries them. It
// is safe for concurrent use; nil learns nothing.
type Flow struct {
	labels atomic.Pointer[Labels]
	// Effects keeps what a body did through the door, so that it can go on from there
	// after it waited; nil keeps nothing.
	Effects *Effects
}

// NewFlow returns the flow of what begins with these labels.
func NewFlow(l *Labels) *Flow {
	f := &Flow{}
	f.Set(l)
	return f
}

// Labels returns what was learned so far.
func (f *Flow) Labels() *Labels {
	if f == nil {
		return nil
	}
	return f.labels.Load()
}

// Join notes that a value was read.
func (f *Flow) Join(l *Labels) {
	if f == nil || l == nil {
		return
	}
	for {
		before := f.labels.Load()
		after := before.Join(l)
		if after == before || f.labels.CompareAndSwap(before, after) {
			return
		}
	}
}

// Set notes that all that is left of what was learned has these labels.
func (f *Flow) Set(l *Labels) {
	if f != nil && (l != nil || f.labels.Load() != nil) {
		f.labels.Store(l)
	}
}

// Relabel takes off what r allows.
func (f *Flow) Relabel(r Relabel) {
	if l := f.Labels(); l != nil {
		f.Set(r.Of(l))
	}
}

type flowKey struct{}

// WithFlow returns a context whose calls learn for f.
func WithFlow(ctx context.Context, f *Flow) context.Context { return &FlowContext{ctx, f} }

// FlowContext is what WithFlow returns, for who has a place to keep it in.
type FlowContext struct {
	context.Context
	Flow *Flow
}

// Value returns the flow, or what the context has.
func (c *FlowContext) Value(key any) any {
	if key == (flowKey{}) {
		return c.Flow
	}
	return c.Context.Value(key)
}

// FlowFrom returns the flow that ctx carries, or nil.
func FlowFrom(ctx context.Context) *Flow {
	f, _ := ctx.Value(flowKey{}).(*Flow)
	return f
}
