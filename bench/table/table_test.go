package table

import (
	"encoding/json"
	"strings"
	"testing"
)

func ours(v float64) *Side { return &Side{Name: "staddle", Figure: v} }
func peer(v float64) *Side { return &Side{Name: "kubo", Figure: v} }

func TestJudge(t *testing.T) {
	ratio := Bar{Ratio, AtLeast, 1.5}
	tests := map[string]struct {
		line Line
		want Verdict
	}{
		"ratio reached":       {Line{Ours: ours(3), Peer: peer(2), Bar: ratio}, OK},
		"ratio short":         {Line{Ours: ours(2.99), Peer: peer(2), Bar: ratio}, Short},
		"ratio without peer":  {Line{Ours: ours(3), Bar: ratio}, Failed},
		"ratio, peer of zero": {Line{Ours: ours(3), Peer: peer(0), Bar: ratio}, Short},
		"at least":            {Line{Ours: ours(300), Bar: Bar{Ours, AtLeast, 300}}, OK},
		"at least, short":     {Line{Ours: ours(299), Bar: Bar{Ours, AtLeast, 300}}, Short},
		"at most":             {Line{Ours: ours(1.6), Bar: Bar{Ours, AtMost, 1.6}}, OK},
		"at most, short":      {Line{Ours: ours(1.7), Bar: Bar{Ours, AtMost, 1.6}}, Short},
		"no bar":              {Line{Ours: ours(1), Peer: peer(2)}, Told},
		"not measured":        {Line{Bar: Bar{Ours, AtLeast, 1}}, Failed},
		"skipped":             {Line{End: Skipped, Bar: ratio}, Skipped},
		"not yet":             {Line{End: NotYet, Bar: ratio}, NotYet},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.line.Judge(); tt.line.End != tt.want {
				t.Errorf("got %q, want %q", tt.line.End, tt.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	tests := map[string]struct {
		runs []float64
		want int
	}{
		"one":       {[]float64{7}, 0},
		"two":       {[]float64{9, 4}, 1},
		"three":     {[]float64{9, 4, 5}, 2},
		"all equal": {[]float64{4, 4, 4}, 1},
		"five":      {[]float64{1, 5, 2, 4, 3}, 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Median(tt.runs); got != tt.want {
				t.Errorf("run %d, want %d", got, tt.want)
			}
		})
	}
}

var lines = []Line{
	{
		Row: "put", Name: "put 512 MiB", Unit: "MB/s", Bar: Bar{Ratio, AtLeast, 1.5}, Note: "both sync", End: OK,
		Ours: &Side{"staddle", 261.53, []float64{261.53}, 1.834, 117_000_000},
		Peer: &Side{"kubo", 77.06, []float64{77.06}, 2.3, 92_000_000},
	},
	{Row: "ranges", Name: "ranges", Unit: "x", Bar: Bar{Ours, AtMost, 1.6}, Ours: ours(1.25), End: OK},
	{Row: "in-place", Name: "in place", Unit: "%", Bar: Bar{Ours, AtMost, 1}, Note: "put has no --in-place", End: NotYet},
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := Text(&b, lines); err != nil {
		t.Fatal(err)
	}
	want := `row          ours      peer       ratio  bar       CPU s ours  peer  peak MB ours  peer  
put 512 MiB  262 MB/s  kubo 77.1  3.39   >= 1.5x   1.83        2.30  117           92    ok
ranges       1.25 x                      <= 1.6 x                                        ok
in place                                 <= 1 %                                          not yet
put 512 MiB: both sync
in place: put has no --in-place
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, lines); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(rows) != len(lines) {
		t.Fatalf("%d lines, want %d", len(rows), len(lines))
	}
	var got struct {
		Row     string
		Verdict Verdict
		Ratio   float64
		Peer    *Side
	}
	if err := json.Unmarshal([]byte(rows[0]), &got); err != nil {
		t.Fatal(err)
	}
	if got.Row != "put" || got.Verdict != OK || got.Ratio < 3.39 || got.Ratio > 3.4 || got.Peer.RSS != 92_000_000 {
		t.Errorf("got %+v", got)
	}
}
