// Package gossip tells nodes who else is there, whether they are up, and which
// membership facts have been signed off. It is an adapter of hashicorp's
// memberlist (SWIM: Das, Gupta, Motivala 2002; Lifeguard: Dadgar, Phillips,
// Currey 2018) and nothing it says is more than a hint: a death is noticed a
// second or two late, and a busy machine may look dead for a while.
//
//	      meta: address, boot, ring hash, state  (each ping's company)
//	n1 <------------------------------------------------> n2
//	 |    facts: broadcast when new, whole set by push/pull
//	 |
//	 '--x--  n3   not alive: the rejoin loop knocks again and again
//
// # What travels
//
// Every node shows a [Peer] of at most 512 bytes. Membership facts ([ring.Facts],
// a set that only grows) are broadcast one by one when somebody adds them, and
// exchanged whole in every push/pull. A push/pull opens with cluster, Q and N, and
// both are strictly decoded, bounded by the bytes that came.
//
// # Who is let in
//
// Packets and streams are encrypted with a key derived from the cluster's
// secret and carry a label with the cluster's id, so nobody else can join or
// even be understood. That is safe, but poor at explaining itself: a node with
// the wrong cluster file would see an end of file. So a stream may also open with
// a hello in clear (hello.go), which says no more than cluster id, Q and N, and a
// join asks for that first:
//
//	gossip: node n7 at 10.0.0.7:7946 belongs to cluster A with 256 partitions and 3 replicas; this node to cluster B with 64 partitions and 3 replicas
//
// # Splits
//
// memberlist gives a dead node up: after a network split longer than that, both
// halves live on apart for good. One push/pull heals it, so a loop dials every
// member it ever heard of that is not alive and has not departed, with bounded
// backoff, for ever.
//
// # Threads
//
// memberlist calls its delegates on the path of its packets. They copy, note and
// return; one goroutine of this package decodes facts and calls back. Callbacks
// therefore come one at a time, in order, and may take their time.
package gossip
