package enforcement

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Report is what became of all sets on all suites.
type Report struct{ Outcomes []*Outcome }

// RunAll runs every set on every suite, in folders of their own below dir.
func RunAll(ctx context.Context, dir string) (*Report, error) {
	suites, err := Suites()
	if err != nil {
		return nil, err
	}
	sets := Sets()
	r := &Report{Outcomes: make([]*Outcome, len(sets)*len(suites))}
	problems := make([]error, len(r.Outcomes))
	var wg sync.WaitGroup
	places := make(chan struct{}, 2*runtime.GOMAXPROCS(0)) // they also wait for the disk
	for i := range r.Outcomes {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			own := filepath.Join(dir, fmt.Sprint(i))
			if problems[i] = os.Mkdir(own, 0o700); problems[i] == nil {
				r.Outcomes[i], problems[i] = Run(ctx, sets[i/len(suites)], suites[i%len(suites)], own, filepath.Join(dir, "cache"))
			}
		})
	}
	wg.Wait()
	return r, errors.Join(problems...)
}

// Of returns what became of a set, over all suites.
func (r *Report) Of(set string) (sum Tally, missed map[string]int) {
	missed = map[string]int{}
	for _, out := range r.Outcomes {
		if out.Set != set {
			continue
		}
		sum.Add(out.Tally)
		for id, n := range out.Missed {
			missed[out.Suite+"."+id] += n
		}
	}
	return sum, missed
}

// Table is the report as a table of Markdown.
func (r *Report) Table() string {
	var b strings.Builder
	b.WriteString("| enforced | injected sequences blocked | of these, refused by a person | users' tasks completed | under attack | approvals per task |\n|---|---|---|---|---|---|\n")
	for _, set := range Sets() {
		t, _ := r.Of(set.Name)
		fmt.Fprintf(&b, "| %s | %d of %d (%s) | %d | %d of %d | %s | %.2f |\n",
			set.Name, t.Blocked(), t.Attacks, percent(t.Blocked(), t.Attacks), t.Refused, t.Completed, t.Tasks, percent(t.Survived, t.Attacks), float64(t.Asked)/float64(t.Tasks))
	}
	return b.String()
}

func percent(n, of int) string { return fmt.Sprintf("%.0f %%", 100*float64(n)/float64(of)) }

// Misses says which injections got through under a set, and in how many tasks.
func (r *Report) Misses(set string) string {
	_, missed := r.Of(set)
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(missed)) {
		fmt.Fprintf(&b, "%s  %d\n", id, missed[id])
	}
	return b.String()
}
