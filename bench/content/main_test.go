package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/table"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		args []string
		want options
		err  string
	}{
		"nothing":     {nil, options{runs: 3}, ""},
		"quick":       {[]string{"--quick"}, options{quick: true, runs: 1}, ""},
		"runs":        {[]string{"--quick", "--runs", "5"}, options{quick: true, runs: 5}, ""},
		"rows":        {[]string{"--row", "put,get", "--json", "-"}, options{rows: "put,get", json: "-", runs: 3}, ""},
		"unknown row": {[]string{"--row", "put,pat"}, options{}, `no row "pat"; there are put, put-small, get, get-torrent, four-peers, delay, ranges, replicas, in-place, memory`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parse(tt.args, io.Discard)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func TestSide(t *testing.T) {
	uses := []proc.Use{
		{Wall: 4 * time.Second, CPU: 3 * time.Second, RSS: 10},
		{Wall: time.Second, CPU: time.Second, RSS: 30},
		{Wall: 2 * time.Second, CPU: 2 * time.Second, RSS: 20},
	}
	got := side("x", speed(8_000_000), uses)
	if got.Figure != 4 || got.CPUSeconds != 2 || got.RSS != 30 || !slices.Equal(got.Runs, []float64{2, 8, 4}) {
		t.Errorf("got %+v", got)
	}
	if got := side("x", thrift(8_000_000), uses[:1]); got.Figure != 8.0/3 {
		t.Errorf("got %+v", got)
	}
}

// TestData shows that both sides, and every run, are given the same.
func TestData(t *testing.T) {
	var films, texts [][]byte
	for range 2 {
		b := &bench{dir: t.TempDir()}
		folder, err := b.film(mib + 5)
		if err != nil {
			t.Fatal(err)
		}
		films = append(films, read(t, filmIn(folder)))
		folder, bytes, err := b.texts(3)
		if err != nil || bytes != 3*10<<10 {
			t.Fatal(bytes, err)
		}
		texts = append(texts, read(t, filepath.Join(folder, "02", "00002.txt")))
	}
	if len(films[0]) != int(mib+5) || !slices.Equal(films[0], films[1]) {
		t.Error("two films differ")
	}
	if len(texts[0]) != 10<<10 || !slices.Equal(texts[0], texts[1]) {
		t.Error("two texts differ")
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRowThatFails shows that a row that breaks is a line, and leaves nothing.
func TestRowThatFails(t *testing.T) {
	b := &bench{dir: t.TempDir(), say: func(string, ...any) {}}
	lines := b.row(row{"x", "what", func(b *bench) ([]table.Line, error) {
		return []table.Line{{Name: "half", End: table.NotYet}}, os.ErrClosed
	}})
	want := []table.Line{
		{Row: "x", Name: "half", End: table.NotYet},
		{Row: "x", Name: "what", End: table.Failed, Note: os.ErrClosed.Error()},
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got %+v", lines)
	}
	if left, err := os.ReadDir(b.dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
