package merkle

// Summary is what a replica knows of a set without reading its members: how many
// rows have something live, and a sum over all its rows. Two replicas with equal
// sums have equal rows, so the count of either is that of both joined.
type Summary struct {
	Members uint64
	Rows    uint64 // those with deferred dots only included
	Sum     Sum    // of the hashes of the rows, under the cluster's key
}
