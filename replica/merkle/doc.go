// Package merkle tells two replicas of a partition, in a few small messages,
// whether they hold the same rows, and if not, where.
//
// Every row belongs to one leaf, chosen by a keyed hash of its address. A leaf
// is the sum of the keyed hashes of its rows, taken modulo 2^128; a node above
// is a hash of its up to sixteen children:
//
//	level 0                     root                        1
//	                 _________/  |  \_________
//	level 1         o      o         o        o             4
//	              / | \                     / | \
//	level 2      o  o  o ...            ... o  o  o        64
//	            /|\                               /|\
//	level 3    . . . .  16 leaves below each  . . . . .  1024
//
//	leaf = hash(row a) + hash(row b) + hash(row c)      mod 2^128
//
// Sums make a leaf independent of history. Adding commutes, so rows may arrive
// in any order; subtracting undoes adding, so replacing a row needs its old and
// its new bytes and no other row. Equal rows give equal bytes on every replica,
// and one change costs one addition, one subtraction and a dirty mark. Nodes above
// the leaves are computed when somebody asks.
//
// To compare, two peers walk down level by level ([Tree.Open], [Tree.Descend]):
// one sends the sums of some nodes, the other answers with the sums of the
// children of those that differ. One differing row costs one message per level,
// at most sixteen sums each. Writes that land during a walk show up as
// differences too: compare cuts taken at the same clock, or look again before
// acting.
//
// A sum of hashes is only as strong as its key: whoever knew it could choose rows
// whose hashes cancel (Wagner, "A Generalized Birthday Problem", CRYPTO 2002).
// So rows are hashed with SipHash-2-4-128 (Aumasson and Bernstein, INDOCRYPT
// 2012) under a key derived from the cluster's secret. This is the incremental
// hash AdHash (Bellare and Micciancio, "A New Paradigm for Collision-Free
// Hashing", EUROCRYPT 1997) in the keyed form. The tree is Merkle's (CRYPTO 1987),
// its use here Dynamo's (SOSP 2007, section 4.7).
//
// A tree proves agreement and steers repair; it is not where truth is kept. It
// can always be computed again from the rows.
package merkle
