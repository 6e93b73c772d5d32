package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/staddle/staddle/archive"
	"github.com/staddle/staddle/library"
)

// Pace of the display.
const (
	frame     = 100 * time.Millisecond // between two pictures of a bar
	report    = 30 * time.Second       // between two plain lines, at most
	leastGap  = time.Second            // between two plain lines, at least
	settled   = 3 * time.Second        // before that no time left is shown
	halfLife  = 10.0                   // seconds; of the mean rate
	barCells  = 20
	lineWidth = 79
)

// meter shows how far a job is, on stderr. One goroutine at a time uses it.
type meter struct {
	a     *app
	style string // "bar", "plain", "json", "none"
	now   func() time.Time

	phase library.Phase
	last  library.Progress
	began time.Time // of the phase
	shown time.Time // last picture or line
	tenth uint64    // last tenth that was told
	rated time.Time
	bytes uint64  // done at rated
	rate  float64 // bytes a second
}

func (a *app) meter() *meter {
	style := a.progress
	switch {
	case a.quiet || style == "auto" && a.json:
		style = "none"
	case style == "auto" && a.isTerminal(a.stderr):
		style = "bar"
	case style == "auto":
		style = "plain"
	}
	return &meter{a: a, style: style, now: time.Now}
}

// watch lets a job report.
func (m *meter) watch() library.Watch {
	w := library.Watch{Warn: m.a.warn}
	if m.style == "bar" {
		w.Warn = func(x archive.Warning) { m.clear(); m.a.warn(x) }
	}
	w.Progress = m.update
	return w
}

func (m *meter) update(p library.Progress) {
	now := m.now()
	if p.Phase != m.phase {
		m.end()
		m.phase, m.began, m.shown, m.rated = p.Phase, now, now, now
		m.bytes, m.rate, m.tenth = p.Done, 0, 0
		m.last = p
		m.start()
	}
	m.last = p
	m.a.at = fmt.Sprintf(" at %d%% of %s", m.percent(), m.phase)
	m.measure(now)
	switch m.style {
	case "none":
	case "bar":
		if now.Sub(m.shown) >= frame {
			m.shown = now
			fmt.Fprint(m.a.stderr, "\r\x1b[K", m.line())
		}
	default:
		m.tell(now)
	}
}

// measure keeps an exponential mean of the rate.
func (m *meter) measure(now time.Time) {
	seconds := now.Sub(m.rated).Seconds()
	if seconds < frame.Seconds() || m.last.Done < m.bytes {
		return
	}
	sample := float64(m.last.Done-m.bytes) / seconds
	weight := 1 - math.Exp2(-seconds/halfLife)
	if m.rate == 0 {
		weight = 1
	}
	m.rate += weight * (sample - m.rate)
	m.rated, m.bytes = now, m.last.Done
}

func (m *meter) percent() uint64 {
	if m.last.Done >= m.last.Total {
		return 100
	}
	return min(100, uint64(float64(m.last.Done)/float64(m.last.Total)*100))
}

// tell writes a plain line or an object for each tenth or after some time.
func (m *meter) tell(now time.Time) {
	since := now.Sub(m.shown)
	if tenth := m.percent() / 10; since >= report || since >= leastGap && tenth > m.tenth {
		m.tenth, m.shown = tenth, now
		m.print(m.line())
	}
}

func (m *meter) start() {
	if m.style == "plain" {
		m.print(fmt.Sprintf("%s  %s", m.phase, bytesText(m.last.Total)))
	}
}

// end closes the phase; called once more when the job is over.
func (m *meter) end() {
	if m.phase == "" {
		return
	}
	switch m.style {
	case "bar":
		fmt.Fprintln(m.a.stderr, "\r\x1b[K"+m.line())
	case "plain", "json":
		m.print(fmt.Sprintf("%s  %d%%  %s in %.1fs", m.phase, m.percent(), bytesText(m.last.Done), m.now().Sub(m.began).Seconds()))
	}
	m.phase = ""
}

// print writes the line, or with --progress json the object it stands for.
func (m *meter) print(line string) {
	if m.style != "json" {
		fmt.Fprintln(m.a.stderr, line)
		return
	}
	_ = writeJSON(m.a.stderr, struct { // a closed stderr is no reason to stop
		head
		Phase library.Phase `json:"phase"`
		Done  uint64        `json:"done"`
		Total uint64        `json:"total"`
		Rate  uint64        `json:"bytes_per_second"`
	}{head{"progress", 1}, m.phase, m.last.Done, m.last.Total, uint64(m.rate)})
}

func (m *meter) clear() {
	if m.style == "bar" && m.phase != "" {
		fmt.Fprint(m.a.stderr, "\r\x1b[K")
	}
}

// line is the picture: phase, bar, percent, bytes, rate, time left.
func (m *meter) line() string {
	cells := int(m.percent()) * barCells / 100
	parts := []string{fmt.Sprintf("%-9s", m.phase)}
	if m.style == "bar" {
		parts = append(parts, "▕"+strings.Repeat("█", cells)+strings.Repeat(" ", barCells-cells)+"▏")
	}
	parts = append(parts,
		fmt.Sprintf("%3d%%", m.percent()),
		bytesText(m.last.Done)+"/"+bytesText(m.last.Total),
		bytesText(uint64(m.rate))+"/s")
	if left := m.left(); left != "" {
		parts = append(parts, left)
	}
	line := []rune(strings.Join(parts, "  "))
	return string(line[:min(len(line), m.width())])
}

// left is the time to go; "" while nobody can know.
func (m *meter) left() string {
	if m.now().Sub(m.began) < settled || m.last.Done >= m.last.Total {
		return ""
	}
	if m.rate < 1 {
		return "waiting"
	}
	seconds := int64(float64(m.last.Total-m.last.Done)/m.rate) + 1
	if seconds >= 360_000 {
		return ""
	}
	if seconds >= 3600 {
		return fmt.Sprintf("eta %d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("eta %d:%02d", seconds/60, seconds%60)
}

func (m *meter) width() int {
	if f, ok := m.a.stderr.(*os.File); ok && m.style == "bar" {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 1 {
			return w - 1
		}
	}
	return lineWidth
}
