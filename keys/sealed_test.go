package keys

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/staddle/staddle/types"
)

// boxVector is a line of spec/vectors/boxes.json: a secret of 32 bytes 01 02 ..
// sealed to an account.
type boxVector struct {
	Seed      string `json:"seed"` // 64 bytes of K0, of whoever seals
	Salt      string `json:"salt"`
	To        string `json:"to_seed"` // ed25519 seed of the account
	Account   string `json:"account"`
	X25519    string `json:"x25519"` // of the account
	Ephemeral string `json:"ephemeral"`
	Fill      string `json:"fill"`
	Box       string `json:"box"`
}

var boxSecret = func() (s [32]byte) {
	for i := range s {
		s[i] = byte(i + 1)
	}
	return s
}()

func makeBoxVector(t *testing.T, name string) boxVector {
	t.Helper()
	var seed Seed
	for i := range seed {
		seed[i] = byte(i)
	}
	salt, toSeed := types.H("salt", []byte(name)), types.H("account", []byte(name))
	to := SignerFromSeed(toSeed)
	s, err := seed.Sealing(salt, []types.Account{to.Account()})
	if err != nil {
		t.Fatal(err)
	}
	box, err := s.Seal(to.Account(), boxSecret)
	if err != nil {
		t.Fatal(err)
	}
	u, err := montgomery(to.Account())
	if err != nil {
		t.Fatal(err)
	}
	public, fill, account := s.Public(), s.Fill(), to.Account()
	return boxVector{
		hex.EncodeToString(seed[:]), salt.String(), toSeed.String(), account.String(),
		hex.EncodeToString(u[:]), hex.EncodeToString(public[:]), hex.EncodeToString(fill[:]), hex.EncodeToString(box[:]),
	}
}

func TestBoxVectors(t *testing.T) {
	made := []boxVector{makeBoxVector(t, "one"), makeBoxVector(t, "two"), makeBoxVector(t, "three")}
	have := golden(t, "boxes.json", made)
	if len(have) != len(made) {
		t.Fatalf("%d vectors, want %d", len(have), len(made))
	}
	for i, v := range have {
		if v != made[i] {
			t.Errorf("vector %d: have %+v, want %+v", i, made[i], v)
		}
		box, err := hex.DecodeString(v.Box)
		if err != nil {
			t.Fatal(err)
		}
		got, err := SignerFromSeed(unhex(t, v.To)).OpenBox(unhex(t, v.Ephemeral), box)
		if err != nil || got != boxSecret {
			t.Errorf("vector %d opens to %x, %v", i, got, err)
		}
	}
}

// TestBoxes checks that everybody named opens a box among many, and nobody else.
func TestBoxes(t *testing.T) {
	var to []types.Account
	var signers []Signer
	for i := range 5 {
		signers = append(signers, SignerFromSeed(types.H("member", []byte{byte(i)})))
		to = append(to, signers[i].Account())
	}
	s, err := Seed{1}.Sealing([32]byte{2}, to)
	if err != nil {
		t.Fatal(err)
	}
	fill := s.Fill()
	places := bytes.Repeat(fill[:16], 3)
	for _, a := range to {
		box, err := s.Seal(a, boxSecret)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, box[:]...)
	}
	for i, m := range signers {
		if got, err := m.OpenBox(s.Public(), places); err != nil || got != boxSecret {
			t.Errorf("member %d: %v", i, err)
		}
	}
	stranger := SignerFromSeed([32]byte{9})
	for name, c := range map[string]struct {
		who       Signer
		ephemeral [32]byte
		places    []byte
	}{
		"stranger":        {stranger, s.Public(), places},
		"another key":     {signers[0], [32]byte{9}, places},
		"small order":     {signers[0], [32]byte{}, places},
		"nothing":         {signers[0], s.Public(), nil},
		"a part of a box": {signers[0], s.Public(), places[3*BoxSize : 4*BoxSize-1]},
	} {
		if got, err := c.who.OpenBox(c.ephemeral, c.places); !errors.Is(err, ErrNotSealed) || got != [32]byte{} {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	other, err := Seed{1}.Sealing([32]byte{2}, to[:4])
	if err != nil || other.Public() == s.Public() {
		t.Error("another list of members has the same ephemeral key", err)
	}
}

func TestSealRefuses(t *testing.T) {
	s, err := Seed{1}.Sealing([32]byte{2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	identity := types.Account{1} // y = 1: the neutral point
	noPoint := types.Account{2}
	for _, a := range []types.Account{identity, noPoint, {}} {
		if box, err := s.Seal(a, boxSecret); !errors.Is(err, ErrAccountKey) || box != [BoxSize]byte{} {
			t.Errorf("account %s: %x, %v", a.Short(), box, err)
		}
	}
}

func FuzzOpenBox(f *testing.F) {
	f.Add([]byte("ephemeral"), bytes.Repeat([]byte{1}, 2*BoxSize))
	f.Fuzz(func(t *testing.T, ephemeral, places []byte) {
		var e [32]byte
		copy(e[:], ephemeral)
		if _, err := SignerFromSeed([32]byte{1}).OpenBox(e, places); err == nil {
			t.Fatal("chance has made a box")
		}
	})
}

// TestSealingKeys checks that the X25519 key made from the public half is that of
// the secret half.
func TestSealingKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		who := SignerFromSeed(seed)
		s, err := newSealing(types.H("s", seed[:]))
		if err != nil {
			t.Fatal(err)
		}
		box, err := s.Seal(who.Account(), boxSecret)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := who.OpenBox(s.Public(), box[:]); err != nil || got != boxSecret {
			t.Fatal(err)
		}
	})
}
