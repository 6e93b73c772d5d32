package types

import "fmt"

// PrivateGroup is what the number of pieces of a private dataset is a multiple of
// (P2).
const PrivateGroup = 16

// ParseVisibility reads the word that people use (P1.3).
func ParseVisibility(word string) (Visibility, error) {
	for v := VisibilityMe; v <= VisibilityPublic; v++ {
		if v.String() == word {
			return v, nil
		}
	}
	return 0, fmt.Errorf("visibility %.40q is none of me, members, public", word)
}

// CheckVisibility says why the description of a dataset does not fit its
// visibility (P1.2, P2): a public one has no salt; a private one has, is a whole
// number of groups of full pieces, and shows neither name nor types.
func (a *Attachment) CheckVisibility() error {
	if a.Visibility == VisibilityPublic {
		if !a.Salt.IsZero() {
			return fmt.Errorf("public dataset with salt %s", a.Salt.Short())
		}
		return nil
	}
	switch {
	case a.Salt.IsZero():
		return fmt.Errorf("dataset for %s without salt", a.Visibility)
	case a.Name != "" || len(a.MediaTypes) != 0:
		return fmt.Errorf("dataset for %s shows its name or media types", a.Visibility)
	case a.Pieces%PrivateGroup != 0 || a.Size != uint64(a.Pieces)*PieceSize:
		return fmt.Errorf("dataset for %s of %d bytes in %d pieces, want a multiple of %d full pieces", a.Visibility, a.Size, a.Pieces, PrivateGroup)
	}
	return nil
}
