package gateway

import (
	"errors"
	"strings"
	"testing"
)

var (
	hash64 = strings.Repeat("ab", 32)
	sig128 = strings.Repeat("cd", 64)
	addr40 = "0x" + strings.Repeat("ef", 20)
)

// targets are all forms that exist.
var targets = []string{
	"/farmerlog/1515542149", "/buyerlog/1515542149", "/bandwidthlog/1515542149", "/bandwidthlog",
	"/farmerlog/1515542149/0x3/4", "/buyerlog/1515542149/0xffff/16", "/bandwidthlog/1515542149/0x0/1",
	"/farmerlog/1515542149?have=" + hash64, "/bandwidthlog?have=" + hash64, "/buyerlog/1/0x3/4?have=" + hash64,
	"/headers/1515542149", "/exceptions/1515542149", "/smash/" + hash64 + "?challenge=" + hash64,
	"/rejectedsmash/" + hash64 + "/" + hash64 + "/" + sig128 + "?epoch=5&validator=" + hash64,
	"/failedchunkclaim/" + hash64 + "/" + sig128 + "?epoch=5&validator=" + hash64,
	"/overreplication/" + hash64 + "/3/6/" + sig128 + "?epoch=5&validator=" + hash64,
	"/underreplication/" + hash64 + "/3/" + sig128 + "?epoch=5&validator=" + hash64,
	"/failedbandwidthlog/" + addr40 + "/r-1/" + sig128 + "?epoch=5&validator=" + hash64,
}

func TestTargets(t *testing.T) {
	for _, raw := range targets {
		got, err := parseTarget(raw)
		if err != nil || got.String() != raw {
			t.Errorf("%s: %v, %v", raw, got, err)
		}
	}
}

// hostile are targets that others might read as one of ours.
var hostile = []string{
	"", "/", "//", "/..", "/.", "*", "farmerlog/1", "http://x/farmerlog/1", "/farmerlog", "/farmerlog/", "/farmerlog/0", "/farmerlog/01",
	"/farmerlog/+1", "/farmerlog/-1", "/farmerlog/1/", "/farmerlog//1", "//farmerlog/1", "/farmerlog/1?", "/farmerlog/1?have=", "/farmerlog/1#x",
	"/farmerlog/1?have=" + strings.ToUpper(hash64), "/farmerlog/1?have=" + hash64 + "&x=1", "/farmerlog/1/0x3", "/farmerlog/1/0x3/4/", "/farmerlog/1/0x10/4",
	"/farmerlog/1/0x0/0", "/farmerlog/1/0x0/17", "/farmerlog/1/3/4", "/farmerlog/1/0x03/4", "/farmerlog/1/0x3/04", "/farmerlog/%31", "/%66armerlog/1",
	"/farmerlog/1%2f..", "/farmerlog/../buyerlog/1", "/farmerlog/1/../../head", "/verdictlog/1", "/farmerlog/99999999999999999999", "/farmerlog/1099511627777",
	"/headers", "/headers/1/2", "/headers/1?x", "/exceptions/", "/exceptions/x", "/smash/" + hash64, "/smash/" + hash64 + "?challenge=ab",
	"/smash/" + hash64 + "/x?challenge=" + hash64, "/smash/../" + hash64 + "?challenge=" + hash64, "/smash/" + hash64[:62] + "..?challenge=" + hash64,
	"/failedchunkclaim/" + hash64 + "/" + sig128, "/failedchunkclaim/" + hash64 + "/" + sig128 + "?epoch=5", "/failedchunkclaim/" + hash64 + "/" + sig128 + "?validator=" + hash64 + "&epoch=5",
	"/failedchunkclaim/" + hash64 + "/" + sig128 + "?epoch=05&validator=" + hash64, "/failedchunkclaim/" + hash64 + "/" + sig128 + "?5&validator=" + hash64,
	"/failedchunkclaim/" + hash64 + "/" + sig128 + "?epoch=5&validator=" + hash64 + "&", "/farmerlog/" + strings.Repeat("1", 2000), "/farmerlog/1\x00", "/farmerlog/1 ", "/farmerlog\\1",
}

func TestHostileTargets(t *testing.T) {
	for _, raw := range hostile {
		if got, err := parseTarget(raw); !errors.Is(err, ErrPath) {
			t.Errorf("%q is read as %v, error %v", raw, got, err)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, raw := range append(targets, hostile[:20]...) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseTarget(raw)
		if err != nil {
			if !errors.Is(err, ErrPath) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if got.String() != raw || strings.Contains(raw, "%") {
			t.Fatalf("%q is written as %q", raw, got)
		}
	})
}
