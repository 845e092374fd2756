package scheduler

import (
	"encoding/json"
	"math"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Status says how a task stands.
type Status string

// The statuses. Pending and running tasks go on; the others have ended.
const (
	Pending   Status = "pending"
	Running   Status = "running"
	Completed Status = "completed"
	Failed    Status = "failed" // the run of a task that comes once failed
	Cancelled Status = "cancelled"
	Missed    Status = "missed" // its time was over before anybody looked, and catch_up is skip
)

// Live reports whether a task goes on.
func (s Status) Live() bool { return s == Pending || s == Running }

// CatchUp says what becomes of times that went by while no host served the schedule.
type CatchUp string

// The rules. All is bounded by MaxCatchUp: of more, the latest.
const (
	Once CatchUp = "once" // they come once, now
	Skip CatchUp = "skip"
	All  CatchUp = "all"
)

// Overlap says what becomes of times that come while the run of the one before goes on.
type Overlap string

// The rules.
const (
	SkipRunning Overlap = "skip"
	Queue       Overlap = "queue" // one comes when it has ended
	Allow       Overlap = "allow"
)

// Task is a run that is to come, once or again and again.
type Task struct {
	ID       string          `json:"task_id"`
	Pipeline string          `json:"pipeline_name"`
	Input    json.RawMessage `json:"input"`
	Labels   *kernel.Labels  `json:"labels,omitempty"` // of the input
	Every    time.Duration   `json:"every,omitempty"`
	Cron     string          `json:"cron,omitempty"` // neither: it comes once
	Zone     string          `json:"zone,omitempty"`
	CatchUp  CatchUp         `json:"catch_up"`
	Overlap  Overlap         `json:"overlap"`

	RefID     string            `json:"ref_id,omitempty"`
	RefType   string            `json:"ref_type,omitempty"`
	Principal string            `json:"principal"` // on whose behalf it runs
	Caps      kernel.CapSet     `json:"caps"`
	RunLabels map[string]string `json:"run_labels,omitempty"`

	// Last, LastRun, LastStatus and Error are of the run that has begun last: while others of the task still go on, or after one of them has ended.
	Status     Status    `json:"status"`
	Created    time.Time `json:"created_at"`
	Next       time.Time `json:"next_run_at,omitzero"`
	Last       time.Time `json:"last_run_at,omitzero"`
	LastRun    string    `json:"last_run_id,omitempty"`
	LastStatus string    `json:"last_status,omitempty"`
	Error      string    `json:"error,omitempty"`
	Runs       int64     `json:"run_count"`
	Skipped    int64     `json:"skipped_count"`
	Claim      *Claim    `json:"claim,omitempty"`
}

// Claim is a time of a task that a scheduler has taken on itself. One whose Until is over is another's to take.
type Claim struct {
	At    time.Time `json:"at"`
	Run   string    `json:"run_id"`
	By    string    `json:"by"`
	Until time.Time `json:"until"`
	Late  bool      `json:"late,omitempty"` // it is one to catch up with
}

const collection = "scheduler.tasks"

// The terms of tasks.
const (
	termLive  = "live"
	termEnded = "ended"
)

func termRef(id string) string { return "ref " + id }

// document is a task as it is kept: in the order of when somebody has to look at it.
func (t *Task) document() (driver.Document, error) {
	text, err := json.Marshal(t)
	d := driver.Document{Key: t.ID, Value: text, Order: t.Next.UnixNano(), Terms: []string{termLive}}
	switch {
	case !t.Status.Live():
		d.Terms[0], d.Order = termEnded, t.Last.UnixNano()
		if t.Last.IsZero() {
			d.Order = t.Created.UnixNano()
		}
	case t.Claim != nil:
		d.Order = t.Claim.Until.UnixNano()
	case t.Next.IsZero():
		d.Order = math.MaxInt64
	}
	if t.RefID != "" {
		d.Terms = append(d.Terms, termRef(t.RefID))
	}
	return d, err
}

func parse(d *driver.Document) (*Task, error) {
	t := &Task{}
	if err := json.Unmarshal(d.Value, t); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "what is kept of the task " + kernel.Quote(d.Key) + " cannot be read", Why: kernel.Quote(err.Error()), Fix: "restore the data store from a copy", Err: err}
	}
	return t, nil
}

// kind is what hexDAG calls a task.
func (t *Task) kind() string {
	switch {
	case t.Cron != "":
		return "cron"
	case t.Every > 0:
		return "recurring"
	}
	return "once"
}

// after returns the first time of a task behind another; zero is never.
func (t *Task) after(at time.Time) time.Time {
	switch {
	case t.Cron != "":
		c, err := parseCron(t.Cron, t.Zone)
		if err != nil { // it was right once; a zone is gone, maybe
			return time.Time{}
		}
		return c.next(at)
	case t.Every > 0:
		return t.Next.Add((at.Sub(t.Next)/t.Every + 1) * t.Every)
	}
	return time.Time{}
}

// maxCounted is how many times that went by are counted.
const maxCounted = 10_000

// missed returns the times of a task that are over, Next first: the latest keep of them, and how many there are.
func (t *Task) missed(now time.Time, keep int) (latest []time.Time, n int64) {
	if t.Every > 0 {
		n = int64(now.Sub(t.Next)/t.Every) + 1
		for i := max(0, n-int64(keep)); i < n; i++ {
			latest = append(latest, t.Next.Add(time.Duration(i)*t.Every))
		}
		return latest, n
	}
	for at := t.Next; !at.IsZero() && !at.After(now) && n < maxCounted; at = t.after(at) {
		if latest = append(latest, at); len(latest) > keep {
			latest = latest[1:]
		}
		n++
	}
	return latest, n
}

// due decides what becomes of a task whose time has come, or is soon: it returns the task with a claim, or, where there is nothing to do
// now, as it goes on; nil where it stays as it is.
func (t *Task) due(now time.Time, o *Options, by string) *Task {
	next := *t
	if t.Claim != nil {
		if t.Claim.Until.After(now) {
			return nil
		}
		taken := *t.Claim // whoever had it is gone
		taken.By, taken.Until = by, now.Add(o.TTL)
		next.Claim = &taken
		return &next
	}
	at, late := t.Next, now.Sub(t.Next) > o.Grace || t.CatchUp == All && now.Sub(t.Next) > 2*o.Poll
	if late {
		keep := 1
		if t.CatchUp == All {
			keep = o.MaxCatchUp
		}
		times, n := t.missed(now, keep)
		if t.CatchUp == Skip {
			next.Skipped += n
			if next.Next = t.after(now); next.Next.IsZero() {
				next.Status = Missed
			}
			return &next
		}
		next.Skipped += n - int64(len(times))
		at = times[0]
	}
	next.Next, next.Status = at, Running
	next.Claim = &Claim{At: at, Run: o.RunID(t.ID, at), By: by, Until: later(at, now).Add(o.TTL), Late: late}
	return &next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ended returns a task after the run of its claim.
func (t *Task) ended(now time.Time, status string, failure error) *Task {
	next := *t
	at := t.Claim.At
	next.Claim, next.Last, next.LastRun, next.LastStatus, next.Error = nil, at, t.Claim.Run, status, ""
	next.Runs++
	if failure != nil {
		next.Error = kernel.Quote(failure.Error())
	}
	return next.goOn(t, at, now, t.Claim.Late)
}

// goOn sets when a task comes next, behind a time that it came at.
func (t *Task) goOn(before *Task, at, now time.Time, late bool) *Task {
	t.Next, t.Status = before.after(at), Pending
	switch {
	case t.Next.IsZero():
		t.Status = Completed
		if t.Error != "" {
			t.Status = Failed
		}
		return t
	case t.Next.After(now) || t.Overlap == Allow || late && t.CatchUp == All:
		return t
	}
	// Times that came while it ran.
	of := *t
	times, n := of.missed(now, 1)
	if t.Overlap == Queue {
		t.Next, n = times[len(times)-1], n-1
	} else {
		t.Next = of.after(now)
	}
	t.Skipped += n
	return t
}

// told returns the labels of what view tells: of the reference, in the words of whoever scheduled the task, and of how its last run failed, which
// can be in anybody's.
func (t *Task) told() *kernel.Labels {
	var labels *kernel.Labels
	if t.RefID != "" || t.RefType != "" {
		labels = t.Labels
	}
	if t.Error != "" {
		untrusted, _ := kernel.NewLabels(kernel.Untrusted, kernel.Public, "scheduler:"+t.ID) // both are known
		labels = labels.Join(t.Labels).Join(untrusted)
	}
	return labels
}

// view is a task as operations show it.
func (t *Task) view() map[string]any {
	v := map[string]any{
		"task_id": t.ID, "pipeline_name": t.Pipeline, "schedule_type": t.kind(), "status": string(t.Status), "catch_up": string(t.CatchUp), "overlap": string(t.Overlap),
		"ref_id": orNull(t.RefID), "ref_type": orNull(t.RefType), "created_at": stamp(t.Created), "next_run_at": stamp(t.Next), "last_run_at": stamp(t.Last), "last_run_id": orNull(t.LastRun),
		"last_status": orNull(t.LastStatus), "error": orNull(t.Error), "run_count": kernel.Number(t.Runs), "skipped_count": kernel.Number(t.Skipped),
		"interval_seconds": nil, "cron": orNull(t.Cron), "zone": orNull(t.Zone),
	}
	if t.Every > 0 {
		v["interval_seconds"] = json.Number(string(appendSeconds(t.Every)))
	}
	return v
}

// viewed has the JSON Schemas of what view tells.
func viewed() map[string]any {
	text, maybe, count := ports.Of("string"), ports.OrNull("string"), ports.Of("integer")
	return map[string]any{
		"task_id": text, "pipeline_name": text, "schedule_type": map[string]any{"enum": []any{"once", "recurring", "cron"}}, "status": map[string]any{"enum": []any{string(Pending), string(Running), string(Completed), string(Failed), string(Cancelled), string(Missed)}},
		"catch_up": text, "overlap": text, "ref_id": maybe, "ref_type": maybe, "created_at": text, "next_run_at": maybe, "last_run_at": maybe, "last_run_id": maybe,
		"last_status": maybe, "error": maybe, "run_count": count, "skipped_count": count, "interval_seconds": ports.OrNull("number"), "cron": maybe, "zone": maybe,
	}
}

func appendSeconds(d time.Duration) []byte {
	text, _ := json.Marshal(d.Seconds())
	return text
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339Nano)
}
