package logbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

func epochs(list []fs.DirEntry) (out []types.Epoch) {
	for _, x := range list {
		n, err := strconv.ParseUint(x.Name(), 10, 40)
		if err == nil && strconv.FormatUint(n, 10) == x.Name() && x.IsDir() {
			out = append(out, types.Epoch(n))
		}
	}
	slices.Sort(out)
	return out
}

// newest is the headers of the last epoch before e that has logs here; nil when
// there is none.
func (b *Logbook) newest(e types.Epoch) (lines.Headers, error) {
	list, err := b.Epochs()
	if err != nil {
		return nil, err
	}
	for _, x := range slices.Backward(list) {
		if x < e {
			h, err := b.head(x)
			if err != nil {
				return nil, err
			}
			return h.Headers, nil
		}
	}
	return nil, nil
}

// prune removes logs whose time is over, but never the newest: the next headers
// name it.
func (b *Logbook) prune(running types.Epoch) error {
	list, err := b.Epochs()
	if err != nil || len(list) == 0 {
		return err
	}
	for _, e := range list[:len(list)-1] {
		if e+Keep < running {
			if err := b.remove(e); err != nil {
				return fmt.Errorf("remove logs of epoch %d: %w", e, err)
			}
		}
	}
	return nil
}

// remove takes the directory's name away first, so that a crash leaves no half.
func (b *Logbook) remove(e types.Epoch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	tmp := b.dir(e) + unfinished
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Rename(b.dir(e), tmp); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// Open gives one log of an epoch, with its header. The reader is a file: close
// it. Errors: ErrNoLog, ErrDamaged when the file has another length.
func (b *Logbook) Open(role types.LogRole, e types.Epoch) (io.ReadSeekCloser, types.LogHeader, error) {
	var none types.LogHeader
	h, err := b.head(e)
	if err != nil {
		return nil, none, err
	}
	header := h.Headers.Find(role)
	if header == nil {
		return nil, none, fmt.Errorf("%w: %s log of epoch %d", ErrNoLog, role, e)
	}
	f, err := b.file(e, logFile(role))
	if err != nil {
		return nil, none, err
	}
	info, err := f.Stat()
	if err == nil && uint64(info.Size()) != header.Bytes {
		err = fmt.Errorf("%w: %s log of epoch %d has %d bytes, want %d", ErrDamaged, role, e, info.Size(), header.Bytes)
	}
	if err != nil {
		return nil, none, errors.Join(err, f.Close())
	}
	return f, *header, nil
}

func (b *Logbook) file(e types.Epoch, name string) (*os.File, error) {
	f, err := os.Open(filepath.Join(b.dir(e), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s of epoch %d", ErrNoLog, name, e)
	}
	return f, err
}

// Headers are what the kind 11 of an epoch commits. Errors: ErrNoLog, ErrDamaged.
func (b *Logbook) Headers(e types.Epoch) (lines.Headers, error) {
	h, err := b.head(e)
	if err != nil {
		return nil, err
	}
	return h.Headers, nil
}

// Exceptions is the block that the kind 11 of an epoch names; nil when it names
// none. Errors: ErrNoLog, ErrDamaged.
func (b *Logbook) Exceptions(e types.Epoch) ([]byte, error) {
	h, err := b.head(e)
	if err != nil || !h.Exceptions.Defined() {
		return nil, err
	}
	f, err := b.file(e, exceptionFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	block, err := io.ReadAll(io.LimitReader(f, lines.MaxExceptionsBytes+1))
	if err != nil {
		return nil, err
	}
	if _, err := lines.ParseExceptions(h.Exceptions, block); err != nil {
		return nil, fmt.Errorf("%w: exceptions of epoch %d: %w", ErrDamaged, e, err)
	}
	return block, nil
}

// Lines copies one log of an epoch to w, checking it against its header on the
// way. Errors: ErrNoLog, ErrDamaged, of ctx and of w.
func (b *Logbook) Lines(ctx context.Context, role types.LogRole, e types.Epoch, w io.Writer) error {
	f, h, err := b.Open(role, e)
	if err != nil {
		return err
	}
	defer f.Close()
	var line []byte
	err = lines.Check(f, &h, func(l []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		line = append(append(line[:0], l...), '\n')
		_, err := w.Write(line)
		return err
	})
	if errors.Is(err, lines.ErrLog) {
		return fmt.Errorf("%w: %s log of epoch %d: %w", ErrDamaged, role, e, err)
	}
	return err
}
