package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// create builds an empty store beside path and then gives it its name, so that a
// crash leaves no half of one: what has the name is whole. Whoever finds the
// name taken meanwhile leaves it alone.
func create(path string, o Options) error {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	stale, err := filepath.Glob(filepath.Join(dir, base+".new-*"))
	if err != nil {
		return err
	}
	for _, name := range stale {
		_ = os.Remove(name) // what a crash left
	}
	f, err := os.CreateTemp(dir, base+".new-*") // its mode is 0600
	if err != nil {
		return err
	}
	name := f.Name()
	defer func() { _ = os.Remove(name) }()
	if err := errors.Join(f.Close(), fill(name, o)); err != nil {
		return err
	}
	if err := os.Link(name, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func fill(name string, o Options) error {
	bo := boltOptions(o)
	bo.NoSync = false
	db, err := bolt.Open(name, 0o600, bo)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, bucket := range bucketNames {
			if _, err := tx.CreateBucket([]byte(bucket)); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(bucketNames[meta])).Put([]byte(metaKey), seal(meta, []byte(metaKey), o.identity().append(nil)))
	})
	return errors.Join(err, db.Close())
}

// syncDir makes the file's name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
