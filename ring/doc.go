// Package ring decides which nodes hold which key, as a pure function of what
// operators have said about membership.
//
// A key hashes to one of Q equal partitions; Q is fixed for the life of a
// cluster (strategy 3 of Dynamo, section 6.2). Every partition is owned by N
// nodes:
//
//	key "carts/42" --xxhash64--> top bits --> partition 11 of 16
//
//	partition   0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15
//	       n1   #  .  #  #  .  #  #  .  #  #  #  .  #  #  .  #
//	       n2   #  #  .  #  #  #  .  #  #  .  #  #  #  .  #  .
//	       n3   .  #  #  .  #  .  #  #  .  #  .  #  .  #  #  #
//
// # Membership is a set that only grows
//
// There is no leader who could say who is a member. What there is, is a set of
// facts: n4 joined, n2 left, n3 was replaced by n5. Each bears a Lamport number
// and facts are only ever added, so two nodes that have heard different things
// take the union and agree. It is the simplest CRDT there is (a G-Set, Shapiro
// et al. 2011).
//
//	Facts  --sort by (number, node, kind, bytes)-->  steps  --Fold-->  Ring
//
// [Fold] replays the facts in that order. Each step moves the fewest partitions
// that restore, in this order: N distinct owners, owners in distinct zones where
// zones exist, and balance within one partition of the weighted share. Same
// facts, same ring, on every node, in whatever order they arrived; [Ring.Hash]
// is how two nodes find out that they still differ. Whether a node is up never
// enters: liveness moves requests, it does not move data.
//
// # Where a request goes
//
// [Ring.Walk] is Dynamo's preference list carried on through the whole cluster:
// owners, then former owners that may still hold data, then everybody else.
// [Ring.Active] is the part of it to use now, and says of each entry whether it
// stands as primary or in for somebody else (the annotated preference list of
// riak_core_apl):
//
//	n1 n2 n4(for n3)
//
// # Reading
//
// DeCandia et al., Dynamo, SOSP 2007 (sections 4.3, 4.6, 6.2). Thaler and
// Ravishankar, rendezvous hashing, 1998: the order of nodes within a partition.
// Klein, negative cycle cancelling, 1967: why the moves of a step are fewest
// (see cycle.go). The package has no clock, goroutine, lock or socket.
package ring
