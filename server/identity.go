package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/cartwheel-db/cartwheel/ring"
)

// A node's directory:
//
//	DIR/node          who this is: node id, cluster id, Q (written once)
//	DIR/facts         the membership facts it knows, and gossip addresses
//	DIR/shard-0.db …  the stores
//
// Both small files are a CRC32C and msgpack, replaced by rename.

type identity struct {
	Node       string `msgpack:"node"`
	Cluster    string `msgpack:"cluster"`
	Partitions int    `msgpack:"partitions"`
	Shards     int    `msgpack:"shards"`
}

type known struct {
	Facts []byte   `msgpack:"facts"`
	Seeds []string `msgpack:"seeds"` // gossip addresses of members, tried after a restart
}

// IdentityError refuses a data directory that belongs to something else.
type IdentityError struct {
	Dir, What, Found, Want string
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("data directory %s belongs to %s %s, this node was started for %s", e.Dir, e.What, e.Found, e.Want)
}

// openIdentity reads who lives in dir, or moves in. fresh tells that the
// directory was empty.
func openIdentity(dir string, c Cluster, shards int) (id identity, fresh bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return identity{}, false, fmt.Errorf("data directory %s: %w", dir, err)
	}
	path := filepath.Join(dir, "node")
	err = readRecord(path, &id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if stores, _ := filepath.Glob(filepath.Join(dir, "shard-*.db")); len(stores) > 0 {
			return identity{}, false, fmt.Errorf("data directory %s holds %d stores but no file that says whose they are (%s)", dir, len(stores), path)
		}
		u, err := uuid.NewRandom()
		if err != nil {
			return identity{}, false, fmt.Errorf("draw a node id: %w", err)
		}
		id = identity{Node: u.String(), Cluster: c.ID, Partitions: c.Partitions, Shards: shards}
		return id, true, writeRecord(path, id)
	case err != nil:
		return identity{}, false, fmt.Errorf("data directory %s: %w", dir, err)
	case id.Cluster != c.ID:
		return identity{}, false, &IdentityError{dir, "cluster", id.Cluster, c.ID}
	case id.Partitions != c.Partitions:
		return identity{}, false, &IdentityError{dir, "a cluster with partitions:", fmt.Sprint(id.Partitions), fmt.Sprint(c.Partitions)}
	}
	return id, false, nil
}

func readFacts(dir string) (ring.Facts, []string, error) {
	var k known
	err := readRecord(filepath.Join(dir, "facts"), &k)
	if errors.Is(err, fs.ErrNotExist) {
		return ring.Facts{}, nil, nil
	}
	if err != nil {
		return ring.Facts{}, nil, fmt.Errorf("membership facts: %w", err)
	}
	facts, err := ring.DecodeFacts(k.Facts)
	if err != nil {
		return ring.Facts{}, nil, fmt.Errorf("membership facts in %s: %w", dir, err)
	}
	return facts, k.Seeds, nil
}

func writeFacts(dir string, facts ring.Facts, seeds []string) error {
	b, err := facts.AppendBinary(nil)
	if err != nil {
		return fmt.Errorf("membership facts: %w", err)
	}
	return writeRecord(filepath.Join(dir, "facts"), known{Facts: b, Seeds: seeds})
}

const maxRecord = 32 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func readRecord(path string, v any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxRecord {
		return fmt.Errorf("%s: %d bytes, at most %d", path, info.Size(), maxRecord)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(b) < 4 || crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return fmt.Errorf("%s: %d bytes with a wrong checksum", path, len(b))
	}
	if err := msgpack.Unmarshal(b[4:], v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeRecord replaces a file so that a crash leaves the old or the new one.
func writeRecord(path string, v any) error {
	body, err := msgpack.Marshal(v)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli))
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, body...))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}
