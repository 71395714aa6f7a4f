package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Format is the version of the layout that this package writes and reads.
const Format = 3

// MaxPartitions is how many partitions a two-byte number names.
const MaxPartitions = 1 << 16

type bucket int

const (
	meta bucket = iota
	clocks
	rows
	dead
	deferred
	expiring
	summaries
	log
	remembered
	marks
	trees
	staged
	buckets // how many there are
)

var bucketNames = [buckets]string{"meta", "clocks", "rows", "dead", "deferred", "expiring", "summaries", "log", "remembered", "marks", "trees", "staged"}

func (b bucket) String() string { return bucketNames[b] }

// metaKey is the key of the one record in the meta bucket.
const metaKey = "store"

// partitioned are the buckets whose keys begin with a partition.
var partitioned = [...]bucket{clocks, rows, dead, deferred, expiring, summaries, log, remembered, marks, trees, staged}

func appendPartition(b []byte, p int) []byte { return binary.BigEndian.AppendUint16(b, uint16(p)) }

func appendAddress(b []byte, p int, a crdt.Address) []byte {
	return a.AppendBinary(appendPartition(b, p))
}

func appendKey(b []byte, p int, k crdt.Key) []byte { return k.AppendPrefix(appendPartition(b, p)) }

// dotPrefix is the length of the keys' part that all dots of an actor share.
const dotPrefix = 2 + 8

func appendDot(b []byte, p int, d dvv.Dot) []byte {
	b = binary.BigEndian.AppendUint64(appendPartition(b, p), uint64(d.Actor))
	return binary.BigEndian.AppendUint64(b, d.Seq)
}

func readDot(key []byte) dvv.Dot {
	return dvv.Dot{Actor: dvv.Actor(binary.BigEndian.Uint64(key[2:])), Seq: binary.BigEndian.Uint64(key[dotPrefix:])}
}

// dotKeySize is the length of a key made by appendDot.
const dotKeySize = dotPrefix + 8

// timePrefix is the length of the keys' part that all rows share which expire at
// one moment.
const timePrefix = 2 + 8

func appendTime(b []byte, p int, at int64) []byte {
	return binary.BigEndian.AppendUint64(appendPartition(b, p), uint64(at)) // times of expiry are never negative
}

// operationKeySize is the length of a key made by appendOperation.
const operationKeySize = 2 + 8 + 16 + 8

func appendOperation(b []byte, p int, o crdt.Operation) []byte {
	b = binary.BigEndian.AppendUint64(appendPartition(b, p), uint64(o.Issued)) // issue times are never negative
	return binary.BigEndian.AppendUint64(append(b, o.Client[:]...), o.Seq)
}

// The seal is a CRC-32C, which the processor computes, over the bucket's name,
// the key and the bytes: a record that was moved or copied to another key fails
// like one that was changed.
const sealSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var bucketSums = func() (sums [buckets]uint32) {
	for b, name := range bucketNames {
		sums[b] = crc32.Checksum([]byte(name), castagnoli)
	}
	return sums
}()

func sum(b bucket, key, bytes []byte) uint32 {
	return crc32.Update(crc32.Update(bucketSums[b], castagnoli, key), castagnoli, bytes)
}

// seal appends the sum of what value holds for the key.
func seal(b bucket, key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(value, sum(b, key, value))
}

// unseal returns the bytes of a record, still in the map, or an error that says
// why they cannot be trusted.
func unseal(b bucket, key, value []byte) ([]byte, error) {
	n := len(value) - sealSize
	if n < 0 {
		return nil, damaged(b, key, "%d bytes are too few for a checksum", len(value))
	}
	want, got := binary.BigEndian.Uint32(value[n:]), sum(b, key, value[:n])
	if want != got {
		if right := rightKey(b, key, value); right != nil {
			return nil, damaged(b, right, "is stored under %x", key)
		}
		return nil, damaged(b, key, "checksum %08x of %d bytes, stored %08x", got, n, want)
	}
	return value[:n:n], nil
}

// identity says whose store a file is.
type identity struct {
	format     uint64
	cluster    string
	node       string
	partitions uint64
}

const maxIdentity = 256 // bytes of a cluster or node id

func (id identity) append(b []byte) []byte {
	b = pack.AppendUint(pack.AppendArray(b, 4), id.format)
	b = pack.AppendString(pack.AppendString(b, id.cluster), id.node)
	return pack.AppendUint(b, id.partitions)
}

// readIdentity of another format knows nothing but the format.
func readIdentity(b []byte) (identity, error) {
	r := pack.NewReader(b)
	n := r.Array()
	id := identity{format: r.Uint()}
	if r.Err() != nil || id.format != Format {
		return id, r.Err()
	}
	if n != 4 {
		r.Fail("identity of %d parts", n)
	}
	id.cluster, id.node = r.String(maxIdentity), r.String(maxIdentity)
	id.partitions = r.Uint()
	return id, r.Close()
}

// compare refuses what is another's.
func (id identity) compare(path string, got identity) error {
	for _, c := range []struct {
		what      string
		want, got any
	}{
		{"format", id.format, got.format},
		{"cluster id", id.cluster, got.cluster},
		{"node id", id.node, got.node},
		{"number of partitions", id.partitions, got.partitions},
	} {
		if c.want != c.got {
			return &RefusalError{Path: path, What: c.what, Want: fmt.Sprint(c.want), Got: fmt.Sprint(c.got), Foreign: true}
		}
	}
	return nil
}

// sortedNames are the buckets' names as they lie in the file.
func sortedNames() []string {
	names := slices.Clone(bucketNames[:])
	slices.Sort(names)
	return names
}

func bucketNamed(name string) bucket { return bucket(slices.Index(bucketNames[:], name)) }
