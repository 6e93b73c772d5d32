package consensus

import "github.com/staddle/staddle/draw"

// EncoderCandidates are the encoders that a draw on top of v would choose from.
func EncoderCandidates(v *View) ([]draw.Candidate, error) {
	s, err := follow(v)
	if err != nil {
		return nil, err
	}
	pool, err := s.encoderPool(nil)
	return pool.with(0), err
}
