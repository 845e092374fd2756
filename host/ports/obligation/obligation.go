// Package obligation reads what a decision obliges the host to, beside allowing:
//
//	{"type": "mask", "reply": ["/rows/*/email"], "body": true, "record": ["/resource", "/args/email"]}
//	{"type": "limit", "calls": 10, "reply_bytes": 65536, "timeout_ms": 500}
//	{"type": "notify", "to": "security", "message": "..."}
//	{"type": "approval", "by": ["ada", "bob"], "count": 2, "ttl_s": 3600}
//	{"type": "label", "labels": {"integrity": "untrusted", "confidentiality": "secret"}}
//
// All members but the type may be left out, though not all of them. What is not
// understood is an error: it could be a restriction.
package obligation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Types are the types of obligations that there are.
func Types() []string { return []string{"mask", "limit", "label", "notify", "approval"} }

// Duties are the obligations of one decision, taken together: each restriction
// holds, and of two limits the smaller.
type Duties struct {
	Reply  []Pointer // removed from the reply
	Record []Pointer // removed from audit records
	Body   bool      // the reply's raw bytes are removed

	Calls      int64         // of this operation within a run; 0 has no limit
	ReplyBytes int64         // of the reply, encoded, and its body; 0 has no limit
	Timeout    time.Duration // of the operation; 0 has no limit

	Labels *kernel.Labels // that the reply carries beside its own

	Notices  []Notice
	Approval *Approval // nil where no obligation says more of it
}

// EachTime reports whether the duties are kept again at each call: more than bounds of the call, and labels of its reply.
func (d *Duties) EachTime() bool {
	return len(d.Reply)+len(d.Record)+len(d.Notices) > 0 || d.Body || d.Calls > 0 || d.Approval != nil
}

// Masks reports whether anything is taken off a reply or a record.
func (d *Duties) Masks() bool {
	return d != nil && (len(d.Reply)+len(d.Record) > 0 || d.Body)
}

// Notice is a message that goes out before the call.
type Notice struct {
	To      string `json:"to"`
	Message string `json:"message"`
}

// Approval says whose approval a call needs.
type Approval struct {
	By    []string      // who may give it; empty means anyone but who asks
	Count int           // how many have to; at least 1
	TTL   time.Duration // how long it can be used; 0 leaves it to the host
}

// The most that one decision can oblige to.
const (
	maxObligations = 32
	maxPointers    = 64
	maxText        = 1 << 10
	maxApprovers   = 16
)

// Parse reads a decision's obligations. Together with an error it returns duties
// that mask all of a record that can be masked.
func Parse(list []map[string]any) (*Duties, error) {
	d := &Duties{}
	if len(list) > maxObligations {
		return unreadable(fmt.Errorf("there are %d, the limit is %d", len(list), maxObligations))
	}
	for _, o := range list {
		if err := d.add(o); err != nil {
			return unreadable(err)
		}
	}
	return d, nil
}

func unreadable(err error) (*Duties, error) { return &Duties{Record: everything()}, err }

func (d *Duties) add(o map[string]any) error {
	kind, _ := o["type"].(string)
	var err error
	switch kind {
	case "mask":
		err = d.addMask(o)
	case "limit":
		err = d.addLimit(o)
	case "notify":
		err = d.addNotice(o)
	case "approval":
		err = d.addApproval(o)
	case "label":
		err = d.addLabel(o)
	default:
		return fmt.Errorf("the host does not know the type %s", kernel.Quote(kind))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

func (d *Duties) addMask(o map[string]any) error {
	var mask struct {
		Type   string   `json:"type"`
		Reply  []string `json:"reply"`
		Record []string `json:"record"`
		Body   bool     `json:"body"`
	}
	if err := kernel.FromValue(o, &mask); err != nil {
		return err
	}
	if len(mask.Reply)+len(mask.Record) == 0 && !mask.Body {
		return errors.New("nothing is named")
	}
	if len(d.Reply)+len(d.Record)+len(mask.Reply)+len(mask.Record) > maxPointers {
		return fmt.Errorf("there are more than %d pointers", maxPointers)
	}
	for _, text := range mask.Reply {
		p, err := ParsePointer(text)
		if err != nil {
			return err
		}
		d.Reply = append(d.Reply, p)
	}
	for _, text := range mask.Record {
		p, err := ParsePointer(text)
		if err != nil {
			return err
		}
		if !maskable(p) {
			return fmt.Errorf("a record has no %s that can be masked", kernel.Quote(text))
		}
		d.Record = append(d.Record, p)
	}
	d.Body = d.Body || mask.Body
	return nil
}

func (d *Duties) addLabel(o map[string]any) error {
	var label struct {
		Type   string `json:"type"`
		Labels struct {
			Integrity       kernel.Integrity       `json:"integrity"`
			Confidentiality kernel.Confidentiality `json:"confidentiality"`
		} `json:"labels"`
	}
	if err := kernel.FromValue(o, &label); err != nil {
		return err
	}
	if label.Labels.Integrity == "" && label.Labels.Confidentiality == "" {
		return errors.New("nothing is labelled")
	}
	labels, err := kernel.NewLabels(label.Labels.Integrity, label.Labels.Confidentiality)
	if err != nil {
		return err
	}
	d.Labels = d.Labels.Join(labels)
	return nil
}

func (d *Duties) addLimit(o map[string]any) error {
	var limit struct {
		Type       string `json:"type"`
		Calls      *int64 `json:"calls"`
		ReplyBytes *int64 `json:"reply_bytes"`
		TimeoutMS  *int64 `json:"timeout_ms"`
	}
	if err := kernel.FromValue(o, &limit); err != nil {
		return err
	}
	given := 0
	for name, v := range map[string]*int64{"calls": limit.Calls, "reply_bytes": limit.ReplyBytes, "timeout_ms": limit.TimeoutMS} {
		switch {
		case v == nil:
			continue
		case *v <= 0 || *v > 1<<40:
			return fmt.Errorf("%s is %d; it is positive", name, *v)
		}
		given++
	}
	if given == 0 {
		return errors.New("nothing is limited")
	}
	d.Calls, d.ReplyBytes = smaller(d.Calls, limit.Calls), smaller(d.ReplyBytes, limit.ReplyBytes)
	d.Timeout = time.Duration(smaller(d.Timeout.Milliseconds(), limit.TimeoutMS)) * time.Millisecond
	return nil
}

// smaller returns the smaller of two limits, of which 0 and nil are none.
func smaller(a int64, b *int64) int64 {
	if b == nil || a > 0 && a < *b {
		return a
	}
	return *b
}

func (d *Duties) addNotice(o map[string]any) error {
	var notice struct {
		Type string `json:"type"`
		Notice
	}
	if err := kernel.FromValue(o, &notice); err != nil {
		return err
	}
	if notice.To == "" || len(notice.To)+len(notice.Message) > maxText {
		return fmt.Errorf("it has a to, and at most %d bytes of text", maxText)
	}
	d.Notices = append(d.Notices, notice.Notice)
	return nil
}

func (d *Duties) addApproval(o map[string]any) error {
	var approval struct {
		Type  string   `json:"type"`
		By    []string `json:"by"`
		Count *int     `json:"count"`
		TTLS  *int64   `json:"ttl_s"`
	}
	if err := kernel.FromValue(o, &approval); err != nil {
		return err
	}
	a := Approval{By: approval.By, Count: 1}
	if approval.Count != nil {
		a.Count = *approval.Count
	}
	if a.Count < 1 || a.Count > maxApprovers || len(a.By) > maxApprovers || len(a.By) > 0 && a.Count > len(a.By) {
		return fmt.Errorf("count is %d of %d; it is 1 to %d, and no more than may approve", a.Count, len(a.By), maxApprovers)
	}
	if approval.TTLS != nil {
		if *approval.TTLS <= 0 || *approval.TTLS > int64(30*24*time.Hour/time.Second) {
			return fmt.Errorf("ttl_s is %d; it is positive, and 30 days at most", *approval.TTLS)
		}
		a.TTL = time.Duration(*approval.TTLS) * time.Second
	}
	return d.need(a)
}

// need takes two approvals together: whom both allow, as many as the stricter asks for.
func (d *Duties) need(a Approval) error {
	if d.Approval == nil {
		d.Approval = &a
		return nil
	}
	both := d.Approval
	both.Count = max(both.Count, a.Count)
	if a.TTL > 0 && (both.TTL == 0 || a.TTL < both.TTL) {
		both.TTL = a.TTL
	}
	switch {
	case len(both.By) == 0:
		both.By = a.By
	case len(a.By) > 0:
		both.By = slices.DeleteFunc(slices.Clone(both.By), func(who string) bool { return !slices.Contains(a.By, who) })
		if len(both.By) < both.Count {
			return errors.New("two obligations name approvers of whom too few may approve both")
		}
	}
	if len(both.By) > 0 && len(both.By) < both.Count {
		return errors.New("more approvals are asked for than there are approvers")
	}
	return nil
}
