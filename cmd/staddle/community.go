package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
)

func (a *app) communityCommand() *cobra.Command {
	c := &cobra.Command{Use: "community", Short: "create, join and see communities", Example: "  staddle community info"}
	c.AddCommand(a.communityCreate(), a.communityJoin(), a.communityInfo(), a.communityInvite())
	return c
}

func (a *app) communityCreate() *cobra.Command {
	var q api.CreateRequest
	var credit, deposit []string
	c := &cobra.Command{
		Use: "create NAME", Short: "start a community", Args: cobra.ExactArgs(1),
		Long: `Start a community. Today only a market with the preset sim can be created: it
has blocks of one second and is meant for trying things out. Without --credit all
coins, 10,000,000, are yours; with it exactly those who are named have coins, you
included only if you name yourself.

Validators come from --deposit alone: each takes the deposit out of its credit.
Without one no replica is attested, no host audited and no epoch settled.`,
		Example: `  staddle community create OLDTOWN --coin OLD --kind market --preset sim
  staddle community create OLDTOWN --coin OLD --kind market --preset sim \
    --credit $ME=1000000 --credit $VERA=20000 --deposit $VERA=10000`,
		RunE: func(c *cobra.Command, args []string) error {
			q.Name = args[0]
			var err error
			if q.Credits, err = pairs(c, "credit", credit); err != nil {
				return err
			}
			if q.Deposits, err = pairs(c, "deposit", deposit); err != nil {
				return err
			}
			var info api.Community
			if err := a.call(c.Context(), api.CallCommunityCreate, q, &info); err != nil {
				return err
			}
			return a.printCommunity(&info)
		},
	}
	c.Flags().StringVar(&q.Symbol, "coin", "COIN", "symbol of the coin, at most 8 letters")
	c.Flags().StringVar(&q.Kind, "kind", "friends", "friends, consortium or market (only market yet)")
	c.Flags().StringVar(&q.Preset, "preset", "main", "main or sim (only sim yet)")
	c.Flags().StringSliceVar(&credit, "credit", nil, "ACCOUNT=COINS at the start; may be repeated")
	c.Flags().StringSliceVar(&deposit, "deposit", nil, "ACCOUNT=COINS bonded as a validator from the start; may be repeated")
	return c
}

func pairs(c *cobra.Command, flag string, list []string) ([]api.Credit, error) {
	var out []api.Credit
	for _, s := range list {
		account, coins, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usage(c, "--%s %q: want ACCOUNT=COINS", flag, s)
		}
		out = append(out, api.Credit{Account: account, Coins: coins})
	}
	return out, nil
}

func (a *app) printCommunity(c *api.Community) error {
	if a.json {
		return a.emit(struct {
			head
			*api.Community
		}{summary, c})
	}
	_, err := fmt.Fprintf(a.stdout, "%s  chain %s  block %d  epoch %d  coin %s, supply %s, burned %s\n",
		safe(c.Name), c.Chain, c.Height, c.Epoch, safe(c.Symbol), c.Supply, c.Burned)
	return err
}

func (a *app) communityJoin() *cobra.Command {
	return &cobra.Command{
		Use: "join INVITE", Short: "join a community by an invite", Args: cobra.ExactArgs(1),
		Long: `Follow the community of an invite. The chain is then replayed from its first
block; staddle status shows how far it is. A node is in one community.`,
		Example: "  staddle community join staddle-invite:...",
		RunE: func(c *cobra.Command, args []string) error {
			var info api.Community
			if err := a.call(c.Context(), api.CallCommunityJoin, api.JoinRequest{Invite: args[0]}, &info); err != nil {
				return err
			}
			return a.printCommunity(&info)
		},
	}
}

func (a *app) communityInfo() *cobra.Command {
	return &cobra.Command{
		Use: "info", Short: "the community as this node sees it", Args: cobra.NoArgs,
		Example: "  staddle community info\n  staddle community info --json",
		RunE: func(c *cobra.Command, _ []string) error {
			var info api.Community
			if err := a.call(c.Context(), api.CallCommunityInfo, api.None{}, &info); err != nil {
				return err
			}
			return a.printCommunity(&info)
		},
	}
}

func (a *app) communityInvite() *cobra.Command {
	return &cobra.Command{
		Use: "invite", Short: "print an invite to hand to a newcomer", Args: cobra.NoArgs,
		Long: `Print an invite: the community, a recent block of it, and addresses of this node
and other members. It gives no right and no coins, and is no secret.`,
		Example: "  staddle community invite",
		RunE: func(c *cobra.Command, _ []string) error {
			var inv api.InviteResult
			if err := a.call(c.Context(), api.CallCommunityInvite, api.None{}, &inv); err != nil {
				return err
			}
			if a.json {
				return a.emit(struct {
					head
					api.InviteResult
				}{summary, inv})
			}
			_, err := fmt.Fprintln(a.stdout, inv.Invite)
			return err
		},
	}
}
