package logbook

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// Files of an epoch, in a directory named by its number. The directory appears
// under its name when all of them are synced; "head" is the sidecar.
const (
	headFile      = "head"
	exceptionFile = "exceptions"
	unfinished    = ".new"
	headVersion   = 1
	headMagic     = "staddle-logs/1\n"
	maxHead       = 1 << 16
)

func logFile(role types.LogRole) string { return role.String() + ".log" }

// Errors of reading logs.
var (
	ErrNoLog   = fmt.Errorf("no logs of that epoch here: %w", fs.ErrNotExist)
	ErrDamaged = errors.New("log file is damaged")
)

// head is the sidecar of an epoch's logs.
type head struct {
	Headers    lines.Headers
	Exceptions cid.Cid // of the block in the file beside it; undefined: none
}

func (h *head) epoch() types.Epoch { return h.Headers[0].Epoch }

// EncodeTo appends [version, headers, exceptions].
func (h *head) EncodeTo(e *types.Encoder) {
	e.Array(3)
	e.Uint(headVersion)
	h.Headers.EncodeTo(e)
	e.Link(h.Exceptions)
}

// DecodeFrom reads the tuple.
func (h *head) DecodeFrom(d *types.Decoder) {
	d.Tuple(3)
	if v := d.Uint8(); d.Err() == nil && v != headVersion {
		d.Fail("log head of version %d, this program reads %d", v, headVersion)
	}
	h.Headers.DecodeFrom(d)
	h.Exceptions = d.Link()
	if d.Err() == nil && len(h.Headers) == 0 {
		d.Fail("log head without headers")
	}
}

// seal is the file of a head: magic, tuple, H("staddle/logs/head/1", tuple).
func (h *head) seal() []byte {
	b := types.Marshal(h)
	sum := types.H("staddle/logs/head/1", b)
	return append(append([]byte(headMagic), b...), sum[:]...)
}

// parseHead reads what seal wrote. Error: ErrDamaged.
func parseHead(b []byte) (*head, error) {
	rest, ok := strings.CutPrefix(string(b), headMagic)
	if !ok || len(rest) < types.HashSize || len(b) > maxHead {
		return nil, fmt.Errorf("%w: head of %d bytes", ErrDamaged, len(b))
	}
	body, sum := []byte(rest[:len(rest)-types.HashSize]), rest[len(rest)-types.HashSize:]
	if want := types.H("staddle/logs/head/1", body); string(want[:]) != sum {
		return nil, fmt.Errorf("%w: wrong checksum of the head", ErrDamaged)
	}
	h := new(head)
	if err := types.Unmarshal(body, h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return h, nil
}

func (b *Logbook) dir(e types.Epoch) string {
	return filepath.Join(b.cfg.Dir, strconv.FormatUint(uint64(e), 10))
}

// head reads the sidecar of an epoch. Errors: ErrNoLog, ErrDamaged.
func (b *Logbook) head(e types.Epoch) (*head, error) {
	f, err := os.Open(filepath.Join(b.dir(e), headFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %d", ErrNoLog, e)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxHead+1))
	if err != nil {
		return nil, err
	}
	h, err := parseHead(raw)
	if err != nil {
		return nil, fmt.Errorf("epoch %d: %w", e, err)
	}
	if h.epoch() != e {
		return nil, fmt.Errorf("%w: head of epoch %d in the place of %d", ErrDamaged, h.epoch(), e)
	}
	return h, nil
}

// write puts the logs of an epoch down, all or none, and gives their head; nil
// when they say nothing, and then nothing is written. After it has returned the
// headers survive a crash: only then may they be committed (K2).
func (b *Logbook) write(e types.Epoch, d *draft) (*head, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tmp := b.dir(e) + unfinished
	if err := os.RemoveAll(tmp); err != nil {
		return nil, err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	h, err := fill(tmp, d)
	if err == nil && !h.empty() {
		err = settleDir(tmp, b.dir(e), b.cfg.Dir)
	}
	if err != nil || h.empty() {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	return h, nil
}

func fill(dir string, d *draft) (*head, error) {
	h := new(head)
	for _, role := range d.roles {
		var header types.LogHeader
		err := create(filepath.Join(dir, logFile(role)), func(w io.Writer) (err error) {
			header, err = d.log(role, w)
			return err
		})
		if err != nil {
			return nil, err
		}
		h.Headers = append(h.Headers, header)
	}
	name, block := d.block()
	h.Exceptions = name
	if name.Defined() {
		if err := create(filepath.Join(dir, exceptionFile), raw(block)); err != nil {
			return nil, err
		}
	}
	return h, create(filepath.Join(dir, headFile), raw(h.seal()))
}

func raw(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// create writes and syncs a new file.
func create(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// settleDir gives a filled directory its name, durably.
func settleDir(tmp, final, parent string) error {
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	return syncDir(parent)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// tidy makes the directory and removes what was never finished.
func (b *Logbook) tidy() error {
	if err := os.MkdirAll(b.cfg.Dir, 0o700); err != nil {
		return err
	}
	list, err := os.ReadDir(b.cfg.Dir)
	if err != nil {
		return err
	}
	for _, x := range list {
		if strings.HasSuffix(x.Name(), unfinished) {
			if err := os.RemoveAll(filepath.Join(b.cfg.Dir, x.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Epochs lists the epochs with logs here, ascending.
func (b *Logbook) Epochs() ([]types.Epoch, error) {
	list, err := os.ReadDir(b.cfg.Dir)
	if err != nil {
		return nil, err
	}
	return epochs(list), nil
}
