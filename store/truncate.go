package store

import (
	"errors"
	"os"
)

// truncate shortens a file on disk durably.
func truncate(name string, end int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(end)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
