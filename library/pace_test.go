package library

import (
	"testing"

	"github.com/staddle/staddle/types"
)

// TestPace: who takes little has little fetched ahead, who takes much has up to
// 8 MiB, and a change of speed shows within some seconds.
func TestPace(t *testing.T) {
	var p pace
	at, now := int64(0), int64(1_790_000_000_000)
	take := func(seconds, rate int64) {
		for range seconds * 10 {
			now += 100
			at += rate / 10
			p.note(at, types.Millis(now))
		}
	}
	if p.most() != aheadMost {
		t.Errorf("before it is known: %d", p.most())
	}
	for _, v := range []struct{ seconds, rate, least, most int64 }{
		{10, 500_000, 1_900_000, 2_100_000},
		{10, 100_000, aheadFirst, aheadFirst},
		{10, 50_000_000, aheadMost, aheadMost},
		{10, 0, aheadFirst, aheadMost},
		{10, 500_000, 1_900_000, 2_100_000},
	} {
		take(v.seconds, v.rate)
		if m := p.most(); m < v.least || m > v.most {
			t.Errorf("at %d bytes a second: %d ahead, want %d to %d", v.rate, m, v.least, v.most)
		}
	}
}
