package consensus

import (
	"github.com/staddle/staddle/draw"
	"github.com/staddle/staddle/types"
)

// EncoderCandidates are the encoders that a draw on top of v would choose from.
func EncoderCandidates(v *View) ([]draw.Candidate, error) {
	s, err := follow(v)
	if err != nil {
		return nil, err
	}
	pool, err := s.encoderPool(nil)
	return pool.with(0), err
}

// Month is the month of an epoch (T2).
func Month(yearEpochs uint32, e types.Epoch) uint64 {
	return month(&types.Rules{YearEpochs: yearEpochs}, e)
}
