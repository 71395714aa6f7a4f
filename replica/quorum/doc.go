// Package quorum counts: who was asked, who answered, is it enough, can it
// still become enough.
//
// A leaderless store asks several replicas and stops at the first moment the
// answers suffice. Sending, waiting and retrying belong to the coordinator; what
// is left is arithmetic, and it is small enough to be seen whole:
//
//	write, W=2                            read, R=2
//
//	asked    n1? n2? n3?      pending     asked       n1? n2?      pending
//	ack n1   n1+ n2? n3?      pending     ready n1    n1+ n2?      pending
//	fail n3  n1+ n2? n3-      pending     behind n2   n1+ n2~      degraded
//	ask f4   n1+ n2? n3- f4?  pending     ask n3      n1+ n2~ n3?  pending
//	ack f4   n1+ n2? n3- f4+  reached     ready n3    n1+ n2~ n3+  reached
//
//	?  asked, nothing heard      +  durable ack, or answer that counts toward R
//	-  cannot answer any more    ~  answer whose rows join but that does not count
//
// [Write] counts durable acknowledgements of one event group. It is a sloppy
// quorum: a fallback that stands in for an absent owner counts like the owner
// (DeCandia et al., "Dynamo", SOSP 2007, section 4.6).
//
// [Read] counts answers of one merged read. "I have no such key" is an answer
// like any other. What counts toward R is only a ready replica: an owner that
// has caught up since it opened. Others still contribute their rows, and when
// the walk over the preference list ends with R answers of which fewer than R
// were ready, the result is given, marked degraded.
//
// Both hold one small slice in the order of asking and look through it: with N
// at most seven that beats any map. They know no clock, no network and no error
// text beyond their own String; a deadline is a call of Expire. Neither is safe
// for concurrent use, and a copy shares its slice with the original: keep one.
//
// The split is that of Riak's riak_kv_get_core (accounting) beside
// riak_kv_get_fsm (sending and waiting); the golden tests in testdata, which
// read as prose, command, picture, follow etcd's raft/quorum.
package quorum
