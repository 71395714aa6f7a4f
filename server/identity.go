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

	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/ring"
)

// A node's directory:
//
//	DIR/node          who this is: node id, cluster id, Q (written once)
//	DIR/facts         the membership facts it knows, and gossip addresses
//	DIR/shard-0.db …  the stores
//
// Both small files are a CRC32C and a few packed values, replaced by rename.

type identity struct {
	Node       string
	Cluster    string
	Partitions int
	Replicas   int
	Shards     int
}

func (id identity) append(b []byte) []byte {
	b = pack.AppendString(pack.AppendArray(b, 5), id.Node)
	b = pack.AppendString(b, id.Cluster)
	b = pack.AppendUint(pack.AppendUint(b, uint64(id.Partitions)), uint64(id.Replicas))
	return pack.AppendUint(b, uint64(id.Shards))
}

func readIdentity(b []byte) (identity, error) {
	r := pack.NewReader(b)
	r.ArrayOf(5)
	id := identity{
		Node: r.String(maxID), Cluster: r.String(maxID),
		Partitions: int(r.UintMax(ring.MaxPartitions)), Replicas: int(r.UintMax(ring.MaxReplicas)), Shards: int(r.UintMax(1 << 10)),
	}
	return id, r.Close()
}

// known is what a node remembers of the cluster.
type known struct {
	Facts ring.Facts
	Seeds []string // gossip addresses of members, tried after a restart
}

func (k known) append(b []byte) ([]byte, error) {
	facts, err := k.Facts.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	b = pack.AppendBytes(pack.AppendArray(b, 2), facts)
	b = pack.AppendArray(b, len(k.Seeds))
	for _, s := range k.Seeds {
		b = pack.AppendString(b, s)
	}
	return b, nil
}

func readKnown(b []byte) (known, error) {
	r := pack.NewReader(b)
	r.ArrayOf(2)
	facts := r.Bytes(maxRecord)
	var k known
	for range r.Array() {
		k.Seeds = append(k.Seeds, r.String(ring.MaxAddrLen))
		if r.Err() != nil {
			break
		}
	}
	if err := r.Close(); err != nil {
		return known{}, err
	}
	var err error
	k.Facts, err = ring.DecodeFacts(facts)
	return k, err
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
func openIdentity(dir string, c Cluster) (id identity, fresh bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return identity{}, false, fmt.Errorf("data directory %s: %w", dir, err)
	}
	path := filepath.Join(dir, "node")
	body, err := readRecord(path)
	if err == nil {
		id, err = readIdentity(body)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if stores, _ := filepath.Glob(filepath.Join(dir, "shard-*.db")); len(stores) > 0 {
			return identity{}, false, fmt.Errorf("data directory %s holds %d stores but no file that says whose they are (%s)", dir, len(stores), path)
		}
		u, err := uuid.NewRandom()
		if err != nil {
			return identity{}, false, fmt.Errorf("draw a node id: %w", err)
		}
		id = identity{Node: u.String(), Cluster: c.ID, Partitions: c.Partitions, Replicas: c.Replicas, Shards: 1}
		return id, true, writeRecord(path, id.append(nil))
	case err != nil:
		return identity{}, false, fmt.Errorf("data directory %s: %w", dir, err)
	case id.Cluster != c.ID:
		return identity{}, false, &IdentityError{dir, "cluster", id.Cluster, c.ID}
	case id.Partitions != c.Partitions:
		return identity{}, false, &IdentityError{dir, "a cluster with partitions:", fmt.Sprint(id.Partitions), fmt.Sprint(c.Partitions)}
	case id.Replicas != c.Replicas:
		return identity{}, false, &IdentityError{dir, "a cluster with replicas:", fmt.Sprint(id.Replicas), fmt.Sprint(c.Replicas)}
	}
	return id, false, nil
}

func readFacts(dir string) (known, error) {
	body, err := readRecord(filepath.Join(dir, "facts"))
	if errors.Is(err, fs.ErrNotExist) {
		return known{}, nil
	}
	var k known
	if err == nil {
		k, err = readKnown(body)
	}
	if err != nil {
		return known{}, fmt.Errorf("membership facts in %s: %w", dir, err)
	}
	return k, nil
}

func writeFacts(dir string, k known) error {
	b, err := k.append(nil)
	if err != nil {
		return fmt.Errorf("membership facts: %w", err)
	}
	return writeRecord(filepath.Join(dir, "facts"), b)
}

const (
	maxRecord = 32 << 20 // bytes
	maxID     = 256      // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readRecord returns the body of a file whose checksum holds.
func readRecord(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxRecord {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", path, info.Size(), maxRecord)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) < 4 || crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return nil, fmt.Errorf("%s: %d bytes with a wrong checksum", path, len(b))
	}
	return b[4:], nil
}

// writeRecord replaces a file so that a crash leaves the old or the new one.
func writeRecord(path string, body []byte) error {
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
