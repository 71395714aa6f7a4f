package cartwheel

import "time"

// TrustFor sets how long silence leaves a node at its address, until it is called.
func TrustFor(d time.Duration) (restore func()) {
	before := trustFor
	trustFor = d
	return func() { trustFor = before }
}

// Warm opens the streams of all endpoints, and returns how many are open.
func (db *DB) Warm() (open int) {
	for _, e := range db.endpoints.list {
		if e.warm(); e.pipe != nil && e.pipe.carrier() != nil {
			open++
		}
	}
	return open
}

// Routed tells whether the ring is known.
func (db *DB) Routed() bool { return db.router != nil && db.router.ring.Load() != nil }

// OwnersAt returns the URLs of the owners of a key, in order; "" for one that nobody
// knows how to reach.
func (db *DB) OwnersAt(bucket, key string) (urls []string) {
	for _, m := range db.router.ring.Load().ownersOf(bucket, key) {
		url := ""
		if m.at != nil {
			url = m.at.url
		}
		urls = append(urls, url)
	}
	return urls
}

// PartitionOf is the partition of a key among a power of two of them.
func PartitionOf(bucket, key string, bits int) int {
	return int(partitionOf(bucket, key, 64-bits))
}
