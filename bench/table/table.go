// Package table judges measurements by their bars and prints them: one line a
// row, for people and as JSON. Rates are in MB of 10^6 bytes.
package table

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Verdict says how a row ended.
type Verdict string

// Verdicts.
const (
	OK      Verdict = "ok"
	Short   Verdict = "short"   // measured, and not up to the bar
	Skipped Verdict = "skipped" // a peer or a permission is missing; the note says which
	NotYet  Verdict = "not yet" // this version does not have it
	Failed  Verdict = "failed"  // the note says how
	Told    Verdict = "-"       // measured; the design sets no bar
)

// Bar is what a row has to reach. Its zero value sets none.
type Bar struct {
	Of    Figure  `json:"of,omitempty"`
	Sense Sense   `json:"sense,omitempty"`
	Value float64 `json:"value,omitempty"`
}

// Figure is what a bar looks at.
type Figure string

// Figures.
const (
	Ours  Figure = "ours"  // our own figure, in the unit of the row
	Ratio Figure = "ratio" // ours divided by the peer's
)

// Sense says which side of the bar is good.
type Sense string

// Senses.
const (
	AtLeast Sense = "at least"
	AtMost  Sense = "at most"
)

// Side is what one program showed: the median of its runs, and what that run
// cost it.
type Side struct {
	Name       string    `json:"name"`
	Figure     float64   `json:"figure"`
	Runs       []float64 `json:"runs"`
	CPUSeconds float64   `json:"cpuSeconds"` // of both ends, of the median run
	RSS        int64     `json:"rss"`        // peak of the largest process over all runs, in bytes
}

// Line is one row of the table.
type Line struct {
	Row  string  `json:"row"` // by which --row chooses it
	Name string  `json:"name"`
	Unit string  `json:"unit"`
	Ours *Side   `json:"ours,omitempty"`
	Peer *Side   `json:"peer,omitempty"`
	Bar  Bar     `json:"bar"`
	Note string  `json:"note,omitempty"`
	End  Verdict `json:"verdict"`
}

// Ratio is ours divided by the peer's; 0 without a peer.
func (l *Line) Ratio() float64 {
	if l.Ours == nil || l.Peer == nil || l.Peer.Figure == 0 {
		return 0
	}
	return l.Ours.Figure / l.Peer.Figure
}

// Judge sets End from the figures, unless the row ended before it was measured.
func (l *Line) Judge() {
	switch {
	case l.End != "":
	case l.Ours == nil || l.Bar.Of == Ratio && l.Peer == nil:
		l.End = Failed
	case l.Bar.Sense == "":
		l.End = Told
	case l.reached():
		l.End = OK
	default:
		l.End = Short
	}
}

func (l *Line) reached() bool {
	have := l.Ours.Figure
	if l.Bar.Of == Ratio {
		have = l.Ratio()
	}
	if l.Bar.Sense == AtMost {
		return have <= l.Bar.Value
	}
	return have >= l.Bar.Value
}

// Median is the run in the middle by figure: its index, 0 when there is one.
// Of an even number it is the lower one, so that it is a run that took place.
func Median(runs []float64) int {
	order := make([]int, len(runs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case runs[a] < runs[b]:
			return -1
		case runs[a] > runs[b]:
			return 1
		}
		return 0
	})
	return order[(len(order)-1)/2]
}

// Text writes the lines as a table, and what is to be said about them below.
func Text(w io.Writer, lines []Line) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tours\tpeer\tratio\tbar\tCPU s ours\tpeer\tpeak MB ours\tpeer\t")
	for i := range lines {
		fmt.Fprintln(t, strings.Join(lines[i].cells(), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range lines {
		if l := &lines[i]; l.Note != "" {
			if _, err := fmt.Fprintf(w, "%s: %s\n", l.Name, l.Note); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Line) cells() []string {
	return []string{
		l.Name, l.figure(l.Ours, false), l.figure(l.Peer, true), l.ratio(), l.bar(),
		cpu(l.Ours), cpu(l.Peer), peak(l.Ours), peak(l.Peer), string(l.End),
	}
}

func (l *Line) figure(s *Side, named bool) string {
	if s == nil {
		return ""
	}
	text := fmt.Sprintf("%s %s", number(s.Figure), l.Unit)
	if named {
		text = s.Name + " " + number(s.Figure)
	}
	return text
}

func (l *Line) ratio() string {
	if r := l.Ratio(); r != 0 {
		return fmt.Sprintf("%.2f", r)
	}
	return ""
}

func (l *Line) bar() string {
	switch sign := map[Sense]string{AtLeast: ">=", AtMost: "<="}[l.Bar.Sense]; {
	case sign == "":
		return ""
	case l.Bar.Of == Ratio:
		return fmt.Sprintf("%s %gx", sign, l.Bar.Value)
	default:
		return fmt.Sprintf("%s %g %s", sign, l.Bar.Value, l.Unit)
	}
}

func cpu(s *Side) string {
	if s == nil || s.CPUSeconds == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", s.CPUSeconds)
}

func peak(s *Side) string {
	if s == nil || s.RSS == 0 {
		return ""
	}
	return fmt.Sprintf("%d", s.RSS/1_000_000)
}

// number keeps three digits that count.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// JSON writes one object a line.
func JSON(w io.Writer, lines []Line) error {
	enc := json.NewEncoder(w)
	for i := range lines {
		l := struct {
			Line
			Ratio float64 `json:"ratio,omitempty"`
		}{lines[i], lines[i].Ratio()}
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
