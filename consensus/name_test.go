package consensus_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

// TestNames: a name is (account, name), each change a version; alone it means the
// one of who took it first and has it still.
func TestNames(t *testing.T) {
	l := start(t, 3, nil)
	one, two := l.publish(0, "one", 1), l.publish(0, "two", 1)
	set := func(i int, name string, d types.DatasetID) types.NameVersion {
		t.Helper()
		l.do(i, types.KindName, &types.NameUpdate{Name: name, Dataset: d})
		return types.NameVersion{Dataset: d, Height: l.height(), Time: l.tip.Header.Time}
	}
	l.refuse(0, types.KindName, &types.NameUpdate{Name: "films", Dataset: types.H("nowhere")}, "is not published here")
	l.refuse(0, types.KindName, &types.NameUpdate{Name: "films"}, "stands for dataset 00000000 already")
	first := set(1, "films", one)
	l.refuse(1, types.KindName, &types.NameUpdate{Name: "films", Dataset: one}, "stands for dataset "+one.Short()+" already")
	set(0, "films", one)
	second := set(1, "films", two)
	set(1, "Ernte 1911", one)

	v := l.view()
	rec, err := v.Named("films")
	want := &types.NameRecord{Owner: l.id(1), Name: "films", Since: first.Height, Version: 2, NameVersion: second}
	if d := cmp.Diff(want, rec); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}
	names, err := v.Names(l.id(1))
	if err != nil || len(names) != 2 || names[0].Name != "Ernte 1911" || names[1].Name != "films" {
		t.Fatalf("%v %v", names, err)
	}
	for at, want := range map[types.Millis]*types.NameVersion{
		first.Time - 1: nil, first.Time: &first, second.Time - 1: &first, second.Time: &second, second.Time + 1_000_000: &second,
	} {
		have, err := v.NameAt(l.id(1), "films", at)
		if d := cmp.Diff(want, have); err != nil || d != "" {
			t.Errorf("at %d: %v %s", at, err, d)
		}
	}
	for d, want := range map[types.DatasetID]string{one: "films", two: ""} { // account 1 published neither
		if have, err := v.NamedAs(d); have != want || err != nil {
			t.Errorf("dataset %s is called %q, want %q: %v", d.Short(), have, want, err)
		}
	}

	set(1, "films", types.DatasetID{})
	if rec, err = l.view().Named("films"); err != nil || rec.Owner != l.id(0) {
		t.Errorf("given up, the name means %+v: %v", rec, err)
	}
	set(1, "films", one)
	if rec, err = l.view().Named("films"); err != nil || rec.Owner != l.id(1) || rec.Version != 4 {
		t.Errorf("taken again, the name means %+v: %v", rec, err)
	}
	if rec, err = l.view().Named("nothing"); rec != nil || err != nil {
		t.Errorf("an unknown name means %+v: %v", rec, err)
	}
}

// TestNamesRefused: what references need for themselves is in no name.
func TestNamesRefused(t *testing.T) {
	l := start(t, 1, nil)
	one := l.publish(0, "one", 1)
	for _, name := range []string{"", ".", "..", "a/b", "films@2026", "a#k", "a\x00", "a\n", "a\x7f", "a\u0085", "\xff", strings.Repeat("a", types.MaxTitle+1)} {
		tx := l.sign(0, types.KindName, &types.NameUpdate{Name: name, Dataset: one})
		if _, left := l.predict(tx); len(left) != 1 {
			t.Errorf("name %q was taken", name)
		}
	}
	l.do(0, types.KindName, &types.NameUpdate{Name: strings.Repeat("ä", types.MaxTitle/2), Dataset: one})
}
