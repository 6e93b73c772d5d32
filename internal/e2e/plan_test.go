//go:build engine

package e2e

import (
	"strings"
	"testing"

	"github.com/staddle/staddle/api"
)

// TestPlain: the smallest network that can keep something: a sponsor, two hosts,
// three validators. One copy in the encoding plain is placed, attested, proven on
// demand and, with an epoch, by a bundle on the chain.
func TestPlain(t *testing.T) {
	sponsor := start(t, "s")
	hosts := []*peer{start(t, "h1"), start(t, "h2")}
	validators := []*peer{start(t, "v1"), start(t, "v2"), start(t, "v3")}
	found(sponsor, validators, append(append([]*peer{}, hosts...), validators...)...)
	for _, h := range hosts {
		h.does("host", "enable", "--space", "1")
	}
	await(t, "hosts and validators are registered", func() bool {
		c := sponsor.community()
		return c.Hosts == 2 && c.Validators == 3
	})

	films := folder(t, 600_000, 3)
	put := []string{"put", films, "--copies", "1", "--encoding", "plain", "--epochs", "200", "--wait", "--json"}
	first := object(t, sponsor.does(put...).stdout)
	if first["lots"] != first["active"] || len(first["hosts"].([]any)) == 0 {
		t.Fatalf("put: %v", first)
	}
	ref := first["ref"].(string)

	again := object(t, sponsor.does(put...).stdout) // goes on with the plan that runs
	if again["plan"] != first["plan"] {
		t.Fatalf("a second plan %v beside %v", again["plan"], first["plan"])
	}
	wantText(t, sponsor.does("prove", ref).stdout, "30/30 leaves", "ok")
	await(t, "a bundle of proofs on the chain", func() bool {
		for _, h := range hosts {
			st := call[api.HostStatus](h, api.CallHostStatus, api.None{})
			if len(st.Lots) > 0 && (st.Proved == "none" || st.Good == 0) {
				return false
			}
		}
		return true
	})

	keeper := hosts[0]
	if h := first["hosts"].([]any)[0]; h != keeper.account {
		keeper = hosts[1]
	}
	wantText(t, keeper.does("host", "status").stdout, "newest proof epoch", "active")
	keeper.kill()
	if r := sponsor.exits(8, "prove", ref); !strings.Contains(r.stderr, "not every host showed all") {
		t.Fatalf("prove with a dead host: %s", r.stderr)
	}
	keeper.up()
	await(t, "the host that came back proves", func() bool { return sponsor.cli("prove", ref).code == 0 })
}
