package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
)

func (a *app) hostCommand() *cobra.Command {
	c := &cobra.Command{Use: "host", Short: "keep replicas for others, for pay", Example: "  staddle host enable --space 10\n  staddle host status"}
	c.AddCommand(a.hostEnable(), a.hostStatus())
	return c
}

func (a *app) hostEnable() *cobra.Command {
	var q api.HostEnableRequest
	c := &cobra.Command{
		Use: "enable", Short: "offer space, and encoding work with --encode", Args: cobra.NoArgs,
		Long: `Offer space for replicas, with --encode also the work of making replicas for
other hosts. The offer replaces the one before and stays over restarts. It is a
transaction, so a few coins are needed for its fee; a bond covers the replicas
that an encoder may have under way.`,
		Example: "  staddle host enable --space 10\n  staddle host enable --space 10 --encode --bond 1000",
		RunE: func(c *cobra.Command, _ []string) error {
			if q.SpaceGiB == 0 && !q.Encode {
				return usage(c, "nothing is offered: give --space, --encode or both")
			}
			if err := a.call(c.Context(), api.CallHostEnable, q, nil); err != nil {
				return err
			}
			a.note("offered; it counts once a block has the registration. See: staddle host status")
			return nil
		},
	}
	c.Flags().Uint32Var(&q.SpaceGiB, "space", 0, "GiB to offer")
	c.Flags().BoolVar(&q.Encode, "encode", false, "make replicas for other hosts too")
	c.Flags().StringVar(&q.Bond, "bond", "", "coins to bond as an encoder; they cannot be withdrawn yet")
	return c
}

func (a *app) hostStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "what this node keeps for others", Args: cobra.NoArgs,
		Example: "  staddle host status\n  staddle host status --json",
		RunE: func(c *cobra.Command, _ []string) error {
			var st api.HostStatus
			if err := a.call(c.Context(), api.CallHostStatus, api.None{}, &st); err != nil {
				return err
			}
			if a.json {
				return a.emit(struct {
					head
					api.HostStatus
				}{summary, st})
			}
			fmt.Fprintf(a.stdout, "%s  offers %d GiB, keeps %s in %s, newest proof epoch %s, %d good, %d failed, %d missed\n",
				st.State, st.SpaceGiB, counted(st.Pieces, "piece"), counted(uint64(len(st.Lots)), "lot"), st.Proved, st.Good, st.Failed, st.Missed)
			for _, l := range st.Lots {
				fmt.Fprintf(a.stdout, "  lot %s  copy %d  %d ranges, %d pieces  %s\n", l.ID[:8], l.Copy, l.Ranges, l.Pieces, l.Status)
			}
			return nil
		},
	}
}

func (a *app) validatorCommand() *cobra.Command {
	c := &cobra.Command{Use: "validator", Short: "attest, audit and settle, for pay"}
	c.AddCommand(a.validatorEnable())
	return c
}

func (a *app) validatorEnable() *cobra.Command {
	var q api.ValidatorRequest
	c := &cobra.Command{
		Use: "enable", Short: "bond coins as a validator", Args: cobra.NoArgs,
		Long: `Bond coins as a validator. The daemon then attests to replicas, checks audits and
settles epochs by itself. Not yet: deposits that can be withdrawn, and proofs of
fraud that cost the signer a part of them. A community needs at least two validators besides hosts and
sponsor before any replica can be attested by two.`,
		Example: "  staddle validator enable --deposit 1000",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.call(c.Context(), api.CallValidator, q, nil); err != nil {
				return err
			}
			a.note("bonded once a block has the deposit. See: staddle status")
			return nil
		},
	}
	c.Flags().StringVar(&q.Deposit, "deposit", "1000", "coins to bond")
	return c
}
