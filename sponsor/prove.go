package sponsor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/staddle/staddle/consensus"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// Answer is what one host showed when it was challenged.
type Answer struct {
	Host  types.Account
	Lots  int
	Asked int           // leaves
	Good  int           // of them
	Took  time.Duration // for all its lots
	Err   error         // why the rest is not good; nil when all is
}

// Prove challenges every host that keeps a lot of the dataset for this account,
// now: each shows at least samples leaves, drawn by chance over its lots. Lots
// without a host are left out.
func (s *Sponsor) Prove(ctx context.Context, dataset types.DatasetID, samples int, chance io.Reader) ([]Answer, error) {
	v, err := s.chain.View()
	if err != nil {
		return nil, err
	}
	lots, err := s.keptLots(v, dataset)
	if err != nil {
		return nil, err
	}
	if len(lots) == 0 {
		return nil, fmt.Errorf("no host keeps dataset %s for this account", dataset.Short())
	}
	var out []Answer
	place := map[types.Account]int{}
	count := map[types.Account]int{}
	for _, l := range lots {
		count[l.Record.Host]++
	}
	for _, l := range lots {
		host := l.Record.Host
		if _, ok := place[host]; !ok {
			place[host] = len(out)
			out = append(out, Answer{Host: host})
		}
		n := (samples + count[host] - 1) / count[host]
		if err := s.challenge(ctx, &out[place[host]], l, min(n, replica.MaxAsked), chance); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Sponsor) keptLots(v *consensus.View, dataset types.DatasetID) ([]Lot, error) {
	plans, err := v.Plans(s.me)
	if err != nil {
		return nil, err
	}
	var out []Lot
	for _, id := range plans {
		p, lots, err := s.Lots(id)
		if err != nil {
			return nil, err
		}
		if p.Plan.Dataset != dataset {
			continue
		}
		for _, l := range lots {
			if l.Record.Status == types.LotActive {
				out = append(out, l)
			}
		}
	}
	return out, nil
}

// challenge adds one lot to a host's answer. Its error is ours; what the host
// does wrong stands in the answer.
func (s *Sponsor) challenge(ctx context.Context, a *Answer, l Lot, n int, chance io.Reader) error {
	q := replica.LeafRequest{Lot: l.ID, Attempt: l.Record.Attempt, Leaves: make([]uint64, n)}
	var b [8]byte
	for i := range q.Leaves {
		if _, err := io.ReadFull(chance, b[:]); err != nil {
			return err
		}
		q.Leaves[i] = binary.BigEndian.Uint64(b[:]) % l.Record.Leaves
	}
	a.Lots++
	a.Asked += n
	began := time.Now()
	raw, err := s.net.Request(ctx, a.Host, replica.LeafProtocol, types.Marshal(&q), replica.MaxLeafAnswer)
	a.Took += time.Since(began)
	var got replica.LeafAnswer
	if err == nil {
		err = types.Unmarshal(raw, &got)
	}
	if err != nil {
		a.Err = errors.Join(a.Err, fmt.Errorf("lot %s: %w", l.ID.Short(), err))
		return nil
	}
	report := q.Check(&got, replica.LotTerms{Root: l.Record.Root, Leaves: l.Record.Leaves, Ranges: l.Record.Count})
	for i, verdict := range report.Verdicts {
		if verdict == replica.Shown {
			a.Good++
		} else {
			a.Err = errors.Join(a.Err, fmt.Errorf("lot %s, leaf %d: %w", l.ID.Short(), q.Leaves[i], report.Reasons[i]))
		}
	}
	return nil
}

// Certainty is the chance, in hundredths of a percent and rounded down, that a
// host which lost a tenth of its leaves would have been caught by n drawn ones:
// 1 - 0.9^n.
func Certainty(n int) uint64 {
	all := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	missed := new(big.Int).Exp(big.NewInt(9), big.NewInt(int64(n)), nil)
	caught := new(big.Int).Sub(all, missed)
	return caught.Mul(caught, big.NewInt(10_000)).Quo(caught, all).Uint64()
}
