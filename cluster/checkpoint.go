package cluster

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/staddle/staddle/settle"
	"github.com/staddle/staddle/types"
)

// sidecarVersion is the version of the sidecar's format.
const sidecarVersion = 1

// maxSidecar bounds what is read of a sidecar, in bytes.
const maxSidecar = 4096

// sidecar stands beside a part and says that it is whole.
type sidecar struct {
	Version int    `json:"version"`
	Key     string `json:"key"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	Report  bool   `json:"report"`
	Map     string `json:"map"` // counts of the whole step
	Reduce  string `json:"reduce"`

	sum             types.Hash
	mapped, reduced settle.Counts
}

// load gives the sidecar of a part that is there, whole and of this key; nil
// otherwise, whatever the reason: the part is then made again.
func (t *task) load(p int) *sidecar {
	f, err := os.Open(t.path("done", p))
	if err != nil {
		return nil
	}
	defer f.Close() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxSidecar))
	if err != nil {
		return nil
	}
	s, err := parseSidecar(b)
	if err != nil || s.Key != t.key.String() {
		return nil
	}
	n, sum, err := hashFile(t.path("part", p))
	if err != nil || n != s.Bytes || sum != s.sum {
		return nil
	}
	if _, err := os.Stat(t.path("report", p)); s.Report && err != nil {
		return nil
	}
	return s
}

func parseSidecar(b []byte) (*sidecar, error) {
	var s sidecar
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read sidecar: %w", err)
	}
	if s.Version != sidecarVersion || s.Bytes < 0 {
		return nil, fmt.Errorf("sidecar of version %d with %d bytes, want version %d", s.Version, s.Bytes, sidecarVersion)
	}
	var errs [3]error
	s.sum, errs[0] = types.ParseHash(s.SHA256)
	s.mapped, errs[1] = settle.ParseCounts(s.Map)
	s.reduced, errs[2] = settle.ParseCounts(s.Reduce)
	return &s, errors.Join(errs[:]...)
}

func hashFile(path string) (int64, types.Hash, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, types.Hash{}, err
	}
	defer f.Close() // only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, types.Hash(h.Sum(nil)), err
}

// partWriter writes the rows of one part under a temporary name.
type partWriter struct {
	f     *os.File
	hash  hash.Hash
	bytes int64
}

func newPartWriter(path string) (*partWriter, error) {
	f, err := os.Create(path)
	return &partWriter{f: f, hash: sha256.New()}, err
}

// Write adds rows.
func (w *partWriter) Write(b []byte) (int, error) {
	n, err := w.f.Write(b)
	w.hash.Write(b[:n])
	w.bytes += int64(n)
	return n, err
}

// reportWriter makes its file with the first line.
type reportWriter struct {
	path string
	f    *os.File
}

// Write adds feedback lines.
func (w *reportWriter) Write(b []byte) (n int, err error) {
	if w.f == nil {
		if w.f, err = os.Create(w.path); err != nil {
			return 0, err
		}
	}
	return w.f.Write(b)
}

// keep puts a file that was written as path.tmp in its place, durably.
func keep(f *os.File, path string) error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".tmp", path)
}

// commit ends a part: rows, then report, then the sidecar that makes them count.
func (t *task) commit(p int, rows *partWriter, report *reportWriter, mapped, reduced settle.Counts) error {
	if err := keep(rows.f, t.path("part", p)); err != nil {
		return err
	}
	if report.f != nil {
		if err := keep(report.f, t.path("report", p)); err != nil {
			return err
		}
	}
	s := &sidecar{
		Version: sidecarVersion, Key: t.key.String(), Bytes: rows.bytes, Report: report.f != nil,
		Map: mapped.String(), Reduce: reduced.String(), sum: types.Hash(rows.hash.Sum(nil)), mapped: mapped, reduced: reduced,
	}
	s.SHA256 = s.sum.String()
	if err := writeSidecar(t.path("done", p), s); err != nil {
		return err
	}
	t.done[p] = s
	return syncDir(t.dir)
}

func writeSidecar(path string, s *sidecar) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		return errors.Join(err, f.Close())
	}
	return keep(f, path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
