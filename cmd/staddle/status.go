package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "what the daemon is doing", Args: cobra.NoArgs,
		Example: "  staddle status\n  staddle status --json",
		RunE: func(c *cobra.Command, _ []string) error {
			var st api.Status
			if err := a.call(c.Context(), api.CallStatus, api.None{}, &st); err != nil {
				return err
			}
			if a.json {
				return a.emit(struct {
					head
					api.Status
				}{summary, st})
			}
			a.printStatus(&st)
			return nil
		},
	}
}

func (a *app) printStatus(st *api.Status) {
	out := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	out("account", "%s", st.Account)
	out("address", "%s", st.Address)
	for i, addr := range st.Addrs {
		out(map[bool]string{true: "listens"}[i == 0], "%s", addr)
	}
	if st.IPFS != nil {
		for _, addr := range st.IPFS.Addrs {
			out("ipfs", "%s", addr)
		}
		if st.IPFS.Gateway != "" {
			out("ipfs gateway", "%s", st.IPFS.Gateway)
		}
	}
	if st.Play != "" {
		out("plays", "http://%s/", st.Play)
	}
	out("peers", "%d", len(st.Peers))
	out("stored", "%s in %s%s", counted(uint64(st.Stored.Datasets), "dataset"), bytesText(uint64(st.Stored.Used)), ofQuota(st.Stored.Quota))
	if n := st.Stored.AtRisk; n > 0 {
		out("at risk", "%s kept in place changed; next: staddle ls  and  staddle verify", counted(uint64(n), "file"))
	}
	c := st.Community
	if c == nil {
		out("community", "none yet; next: staddle community create NAME --kind market --preset sim  or  staddle community join INVITE")
		return
	}
	age := time.Since(time.UnixMilli(c.TipTime)).Round(time.Second)
	out("community", "%s, a %s with coin %s", safe(c.Name), c.Kind, safe(c.Symbol))
	out("chain", "block %d, %s ago, epoch %d", c.Height, age, c.Epoch)
	out("coins", "%s %s, %s locked, %s deposited", c.Balance, safe(c.Symbol), c.Locked, c.Deposit)
	out("roles", "%s", orNone(c.Roles))
	out("members", "%d hosts, %d encoders, %d validators", c.Hosts, c.Encoders, c.Validators)
	if st.Trouble != "" {
		out("trouble", "%s", safe(st.Trouble))
	}
}

func ofQuota(quota int64) string {
	if quota == 0 {
		return ", no quota"
	}
	return " of " + bytesText(uint64(quota))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
