package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/staddle/staddle/api"
)

func (a *app) coinCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "coin", Short: "balance and transfers", Long: `Balance and transfers of the community's coin. Bonds cannot be withdrawn yet.`,
		Example: "  staddle coin balance\n  staddle coin send ACCOUNT 12.5",
	}
	c.AddCommand(a.coinBalance(), a.coinSend())
	return c
}

func (a *app) coinBalance() *cobra.Command {
	return &cobra.Command{
		Use: "balance", Short: "this account's coins", Args: cobra.NoArgs,
		Long: `Show this account's coins: free to spend; locked for plans and downloads; bonded
for roles; pending in results that are accepted and not paid (negative: owed).`,
		Example: "  staddle coin balance",
		RunE: func(c *cobra.Command, _ []string) error {
			var b api.BalanceResult
			if err := a.call(c.Context(), api.CallBalance, api.None{}, &b); err != nil {
				return err
			}
			if a.json {
				return a.emit(struct {
					head
					api.BalanceResult
				}{summary, b})
			}
			_, err := fmt.Fprintf(a.stdout, "%s %s  locked %s  bonded %s  pending %s\n", b.Balance, safe(b.Symbol), b.Locked, b.Bonds, b.Pending)
			return err
		},
	}
}

func (a *app) coinSend() *cobra.Command {
	return &cobra.Command{
		Use: "send ACCOUNT COINS", Short: "send coins to an account", Args: cobra.ExactArgs(2),
		Long: `Send coins and wait until a block has the transfer. ACCOUNT is the 64 hex digits
that staddle status shows on the other node.`,
		Example: "  staddle coin send 851125fae695445c68186f124ac01035d3558bf1d64e3adf0b85f2459b27e298 100",
		RunE: func(c *cobra.Command, args []string) error {
			var r api.SendResult
			if err := a.call(c.Context(), api.CallSend, api.SendRequest{To: args[0], Coins: args[1]}, &r); err != nil {
				return err
			}
			if a.json {
				return a.emit(struct {
					head
					api.SendResult
				}{summary, r})
			}
			_, err := fmt.Fprintf(a.stdout, "sent in block %d: %s\n", r.Height, r.Tx)
			return err
		},
	}
}

func (a *app) epochCommand() *cobra.Command {
	c := &cobra.Command{Use: "epoch", Short: "settlement periods and their results", Example: "  staddle epoch show\n  staddle epoch verify"}
	c.AddCommand(a.epochShow(), a.epochVerify())
	return c
}

// epochArg reads an optional epoch.
func epochArg(c *cobra.Command, args []string) (*uint64, error) {
	if len(args) == 0 {
		return nil, nil
	}
	var n uint64
	if _, err := fmt.Sscanf(args[0], "%d", &n); err != nil {
		return nil, usage(c, "epoch %q is not a number", args[0])
	}
	return &n, nil
}

func (a *app) epochShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [EPOCH]", Short: "an epoch's result: who earned and who owes", Args: cobra.MaximumNArgs(1),
		Long: `Show an epoch's result, by default the newest that has one: for each address
replicas kept or paid for (s), units of download (b), and the sum in wei (t). On a
validator it also names the folder with the epoch's logs.`,
		Example: "  staddle epoch show\n  staddle epoch show 12 --json",
		RunE: func(c *cobra.Command, args []string) error {
			n, err := epochArg(c, args)
			if err != nil {
				return err
			}
			var e api.Epoch
			if err := a.call(c.Context(), api.CallEpochShow, api.EpochRequest{Epoch: n}, &e); err != nil {
				return err
			}
			if a.json {
				return a.emit(struct {
					head
					api.Epoch
				}{summary, e})
			}
			return a.printEpoch(&e)
		},
	}
}

func (a *app) printEpoch(e *api.Epoch) error {
	fmt.Fprintf(a.stdout, "epoch %d  timestamp %d  %s\n", e.Epoch, e.Seconds, e.Status)
	if e.Result == "" {
		return nil
	}
	fmt.Fprintf(a.stdout, "result %s  signed by deposits of %s of %s  prices %s and %s wei\n", e.Result, e.Signed, e.Deposits, e.Storage, e.Bandwidth)
	for _, r := range e.Rows {
		fmt.Fprintf(a.stdout, "  %s  s %6d  b %6d  t %s wei\n", r.Address, r.S, r.B, r.T)
	}
	if e.Logs != "" {
		a.note("the epoch's logs are in %s", e.Logs)
	}
	return nil
}

func (a *app) epochVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify [EPOCH]", Short: "run an epoch's settlement again and compare", Args: cobra.MaximumNArgs(1),
		Long: `Get an epoch's inputs, from the validators where this node is none, run its
settlement again and compare with the result on chain. Exit code 8 if they differ.`,
		Example: "  staddle epoch verify\n  staddle epoch verify 12",
		RunE: func(c *cobra.Command, args []string) error {
			n, err := epochArg(c, args)
			if err != nil {
				return err
			}
			var r api.EpochVerifyResult
			if err := a.call(c.Context(), api.CallEpochVerify, api.EpochRequest{Epoch: n}, &r); err != nil {
				return err
			}
			if a.json {
				if err := a.emit(struct {
					head
					api.EpochVerifyResult
				}{summary, r}); err != nil {
					return err
				}
			} else {
				fmt.Fprintf(a.stdout, "epoch %d  committed %s  computed %s  %d rows of %d lines\n", r.Epoch, r.Committed, r.Computed, r.Rows, r.Lines)
			}
			if !r.Same {
				return fmt.Errorf("epoch %d: %w", r.Epoch, errDiffers)
			}
			return nil
		},
	}
}

// errDiffers is the error of a result that a second run does not give.
var errDiffers = errors.New("the computed result is not the committed one")

func (a *app) logCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "log", Short: "this node's settlement logs, line by line",
		Long: `Print this node's own log of an epoch, by default the newest: what it claims to
keep (farmer), what it pays for (buyer), what it sent and fetched (bandwidth).
Logs are kept for eight epochs.`,
		Example: "  staddle log farmer\n  staddle log bandwidth 12",
	}
	for _, role := range []string{"farmer", "buyer", "bandwidth"} {
		c.AddCommand(a.logOf(role))
	}
	return c
}

func (a *app) logOf(role string) *cobra.Command {
	return &cobra.Command{
		Use: role + " [EPOCH]", Short: "the " + role + "log of an epoch", Args: cobra.MaximumNArgs(1),
		Example: "  staddle log " + role + "\n  staddle log " + role + " 12",
		RunE: func(c *cobra.Command, args []string) error {
			n, err := epochArg(c, args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			err = client.Bytes(c.Context(), api.CallLog, api.LogRequest{Role: role, Epoch: n}, a.stdout)
			if errors.Is(err, api.ErrNotRunning) {
				return errNoDaemon
			}
			return err
		},
	}
}
