package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/staddle/staddle/keys"
	"github.com/staddle/staddle/types"
)

// Identity is who acts here: the account from the words, and this machine's own
// device key (K0, K1).
type Identity struct {
	Words  string // 24 words; whoever has them is this person
	Signer keys.Signer
	Device keys.Device
	New    bool // made by this call
}

const (
	identityFile = "identity"
	identityHead = "staddle identity 1"
)

// LoadIdentity reads the identity of a home, or makes one. The file is for its
// owner's eyes only.
func LoadIdentity(home string) (*Identity, error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("make home: %w", err)
	}
	raw, err := os.ReadFile(filepath.Join(home, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(home)
	}
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	return parseIdentity(string(raw))
}

func newIdentity(home string) (*Identity, error) {
	var entropy, device [32]byte
	if _, err := rand.Read(entropy[:]); err != nil {
		return nil, err
	}
	if _, err := rand.Read(device[:]); err != nil {
		return nil, err
	}
	body := fmt.Sprintf("%s\nwords %s\ndevice %x\n", identityHead, keys.NewWords(entropy), device)
	text := fmt.Sprintf("%ssum %08x\n", body, crc32.ChecksumIEEE([]byte(body)))
	if err := writeFile(filepath.Join(home, identityFile), []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write identity: %w", err)
	}
	id, err := parseIdentity(text)
	if err != nil {
		return nil, err
	}
	id.New = true
	return id, nil
}

func parseIdentity(text string) (*Identity, error) {
	body, sum, ok := strings.Cut(text, "sum ")
	if !ok || strings.TrimSpace(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) {
		return nil, fmt.Errorf("identity file is damaged: its checksum does not fit; restore it from your 24 words")
	}
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(lines) != 3 || lines[0] != identityHead {
		return nil, fmt.Errorf("identity file of an unknown form %q", lines[0])
	}
	words, okWords := strings.CutPrefix(lines[1], "words ")
	device, okDevice := strings.CutPrefix(lines[2], "device ")
	if !okWords || !okDevice {
		return nil, fmt.Errorf("identity file lacks words or device")
	}
	seed, err := keys.ParseWords(words)
	if err != nil {
		return nil, fmt.Errorf("identity file: %w", err)
	}
	d, err := types.ParseHash(device)
	if err != nil {
		return nil, fmt.Errorf("identity file: %w", err)
	}
	return &Identity{Words: words, Signer: seed.Account(), Device: keys.DeviceFromSeed(d)}, nil
}

// seed is what private datasets are sealed and opened with.
func (i *Identity) seed() (keys.Seed, error) { return keys.ParseWords(i.Words) }

// LoadSeed gives what the words of a home stand for. The error wraps
// fs.ErrNotExist when the home has no identity; none is made.
func LoadSeed(home string) (keys.Seed, error) {
	raw, err := os.ReadFile(filepath.Join(home, identityFile))
	if err != nil {
		return keys.Seed{}, fmt.Errorf("read identity: %w", err)
	}
	id, err := parseIdentity(string(raw))
	if err != nil {
		return keys.Seed{}, err
	}
	return id.seed()
}

// certificateMillis is how long a device's certificate lasts; it is renewed at
// every start.
const certificateMillis = 90 * 24 * 3600 * 1000

func (i *Identity) certificate(now types.Millis) keys.Certificate {
	return keys.Issue(i.Signer, keys.Certificate{
		Account: i.Signer.Account(), Device: i.Device.ID(), Serial: uint64(now), Expiry: now + certificateMillis,
	})
}

// writeFile replaces a file in one step: it is there whole, or as it was.
func writeFile(name string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
