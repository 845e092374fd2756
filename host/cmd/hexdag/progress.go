package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"charm.land/bubbles/v2/progress"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"golang.org/x/term"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// view shows how runs get on: on a terminal as a tree of nodes and a bar over
// the lines, elsewhere as a line for each.
type view struct {
	out      io.Writer
	pipeline *host.Pipeline
	total    int // lines; 0 for a single run
	live     bool

	mu     sync.Mutex
	nodes  map[string]*nodeView
	done   int
	failed int
	frame  int
}

type nodeView struct {
	running, done, skipped, failed int
	cached                         int // of those that are done
	spent                          time.Duration
}

// refresh is how often a terminal is drawn.
const refresh = 80 * time.Millisecond

// newView starts a view. The caller calls stop once the runs have ended.
func newView(out io.Writer, p *host.Pipeline, total int) (v *view, stop func()) {
	v = &view{out: out, pipeline: p, total: total, nodes: map[string]*nodeView{}}
	for _, n := range p.Nodes {
		v.nodes[n.Name] = &nodeView{}
	}
	file, ok := out.(*os.File)
	v.live = ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
	if !v.live {
		return v, func() {}
	}
	// No input and no signal handler: ^C goes to the runs, by the command's context.
	program := tea.NewProgram(&screen{v}, tea.WithOutput(out), tea.WithInput(nil), tea.WithoutSignalHandler())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := program.Run(); err != nil {
			fmt.Fprintln(out, "progress is not shown:", err)
		}
	}()
	return v, func() {
		program.Quit()
		<-ended
	}
}

// watch is newView for a single run.
func watch(out io.Writer, p *host.Pipeline, total int) (observe func(*host.Event), stop func()) {
	v, stop := newView(out, p, total)
	return v.observe, stop
}

// observe counts an event in, and writes it down where there is no terminal and
// one run alone.
func (v *view) observe(e *host.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.Type == kernel.RunWaits && !v.live {
		fmt.Fprintln(v.out, e.Reason)
	}
	n := v.nodes[e.Node]
	if n == nil || e.Body != "" {
		return
	}
	switch e.Type {
	case kernel.NodeStarted:
		n.running++
		return
	case kernel.NodeCompleted:
		n.done++
		if e.Cached != nil {
			n.cached++
		}
	case kernel.NodeSkipped:
		n.skipped++
	case kernel.NodeFailed, kernel.NodeCancelled:
		n.failed++
	case kernel.NodeWarned:
		if v.total == 0 && !v.live {
			fmt.Fprintf(v.out, "%-24s %-14s %s\n", e.Node, "warning", e.Reason)
		}
		return
	default:
		return
	}
	n.running = max(n.running-1, 0) // one that could not be prepared had not started
	n.spent += time.Duration(e.DurationMS * float64(time.Millisecond))
	if v.total == 0 && !v.live {
		fmt.Fprintf(v.out, "%-24s %-14s %8.1f ms\n", e.Node, outcomeWord(e), e.DurationMS)
	}
}

func outcomeWord(e *host.Event) string {
	switch e.Type {
	case kernel.NodeCompleted:
		if e.Cached != nil {
			return "from cache"
		}
		return "done"
	case kernel.NodeSkipped:
		return "skipped"
	case kernel.NodeCancelled:
		return "cancelled"
	}
	return "failed"
}

// finished counts a line in, and writes it down where there is no terminal.
func (v *view) finished(line host.Line, result *host.Result) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done++
	if result.Err != nil {
		v.failed++
	}
	if v.live {
		return
	}
	label := line.Label
	if label == "" {
		label = fmt.Sprintf("line %d", line.Number)
	}
	if result.Error != nil {
		fmt.Fprintf(v.out, "%3d/%d  %-14s %-10s %s\n", v.done, v.total, label, result.Status, oneLine(result.Error))
		return
	}
	fmt.Fprintf(v.out, "%3d/%d  %-14s %s\n", v.done, v.total, label, result.Status)
}

// oneLine says what and why on one line.
func oneLine(e *kernel.Error) string {
	return strings.ReplaceAll(strings.TrimSuffix(e.What+": "+e.Why, ": "), "\n  -", ";")
}

// screen draws a view on a terminal.
type screen struct{ *view }

type tick struct{}

func nextTick() tea.Cmd {
	return tea.Tick(refresh, func(time.Time) tea.Msg { return tick{} })
}

func (s *screen) Init() tea.Cmd { return nextTick() }

func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(tick); ok {
		s.mu.Lock()
		s.frame++
		s.mu.Unlock()
		return s, nextTick()
	}
	return s, nil
}

func (s *screen) View() tea.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	b.WriteString(lipgloss.NewStyle().Bold(true).Render(s.pipeline.Name) + "\n")
	for i, n := range s.pipeline.Nodes {
		branch := "├─"
		if i == len(s.pipeline.Nodes)-1 {
			branch = "└─"
		}
		fmt.Fprintf(&b, "%s %s\n", branch, s.nodeLine(n))
	}
	if s.total > 0 {
		bar := progress.New(progress.WithWidth(40))
		fmt.Fprintf(&b, "%s %d/%d", bar.ViewAs(float64(s.done)/float64(s.total)), s.done, s.total)
		if s.failed > 0 {
			fmt.Fprintf(&b, ", %s", red().Render(fmt.Sprintf("%d not completed", s.failed)))
		}
		b.WriteByte('\n')
	}
	return tea.NewView(b.String())
}

func red() lipgloss.Style   { return lipgloss.NewStyle().Foreground(lipgloss.Red) }
func green() lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Green) }
func faint() lipgloss.Style { return lipgloss.NewStyle().Faint(true) }

// nodeLine is a node's state and mean duration.
func (s *screen) nodeLine(n *pipeline.Node) string {
	v := s.nodes[n.Name]
	spinner := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	mark := faint().Render("·")
	switch {
	case v.running > 0:
		mark = string(spinner[s.frame%len(spinner)])
	case v.failed > 0:
		mark = red().Render("✗")
	case v.done > 0:
		mark = green().Render("✓")
	case v.skipped > 0:
		mark = faint().Render("–")
	}
	line := fmt.Sprintf("%s %-18s %s", mark, n.Name, faint().Render(fmt.Sprintf("%-18s", n.Kind)))
	if s.total > 0 {
		line += fmt.Sprintf(" %4d done", v.done)
		if v.cached > 0 {
			line += fmt.Sprintf(", %d from cache", v.cached)
		}
		if v.skipped > 0 {
			line += fmt.Sprintf(", %d skipped", v.skipped)
		}
		if v.running > 0 {
			line += fmt.Sprintf(", %d running", v.running)
		}
		if v.failed > 0 {
			line += red().Render(fmt.Sprintf(", %d failed", v.failed))
		}
	}
	if ended := v.done + v.failed; ended > 0 {
		line += faint().Render(fmt.Sprintf("  %.1f ms", float64(v.spent.Microseconds())/1000/float64(ended)))
	}
	return line
}
