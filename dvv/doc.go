// Package dvv says which events a replica, a reader or a message has seen.
//
// # The story
//
// Mary and Peter share a shopping list that is kept on three machines, and no
// machine is in charge. Mary writes "milk" while her train is in a tunnel; Peter
// writes "bread" at home. Wall clocks cannot say who was first, and the honest
// answer is: neither. All we need to know, for any two writes, is whether the
// author of one had seen the other. Three small nouns carry that knowledge.
//
// A [Dot] names one event: "the third event minted by actor a" is a:3. An
// [Actor] is one opening of one node's store, a random number that dies with
// the process, so no dot is ever minted twice, not even from a restored backup.
//
// A [Clock] is a set of dots. Because each actor counts 1, 2, 3..., the set is
// mostly solid runs, and is kept as such: intervals per actor, a version
// vector with gaps.
//
//	seq      1   2   3   4   5   6   7
//	       +---+---+---+---+---+---+---+
//	a      | x | x | x |   |   |   |   |    a:3           a run from 1
//	b      | x | x |   |   | x |   |   |    b:2 +b:5      a run, then a gap
//	c      |   |   |   |   |   | x | x |    +c:6-7        only ever heard late news
//	       +---+---+---+---+---+---+---+
//
//	{a:3 b:2 +b:5 +c:6-7}
//
// A plain version vector would have to say b:5 and lie about b:3 and b:4, or
// say b:2 and forget b:5. With the gap written down a lost message stays
// visible as exactly the hole it left, and catching up is a subtraction:
// [Clock.Minus] of what you have from what I have is what I must send you.
//
// A context is a clock handed to a client: exactly the dots it was shown. When
// the client writes, it hands the context back, and the write replaces those
// dots and no others:
//
//	Peter reads          sees {a:1}            gets context {a:1}
//	Mary writes eggs     becomes a:2, with context {a:1}: kills a:1
//	Peter writes bread   becomes b:1, with context {a:1}: a:1 is dead already,
//	                     a:2 he never saw, so it stays beside his b:1
//
// Two siblings, a:2 and b:1: exactly the concurrent writes. The dot of a new
// value is kept apart from the clock of what it replaces; that is the "dotted"
// in dotted version vectors, and it is what keeps two clients who write
// through one node from silently overwriting each other.
//
// Contexts leave the house, so they travel as opaque tokens ([Sealer]): signed
// with a secret of the cluster, bound to the bucket, key and type they were
// issued for, and of bounded size.
//
// # The set laws
//
// A Clock is a set and nothing more, so [Clock.Join] is union: commutative,
// associative, idempotent. Everything else in the store leans on these three
// words; they are what makes order, repetition and delay of messages harmless.
// Equal sets have equal bytes ([Clock.AppendBinary]) on every machine.
//
// # Sharing
//
// A Clock is a small struct over slices. Copying the struct shares the slices,
// as with a map: treat a copy as read-only, or [Clock.Clone] it before changing
// either. Join, Clone, Minus and Intersect never share with their argument. No
// function here locks; a Clock that is being changed has one user.
//
// # Reading
//
//   - Preguiça, Baquero, Almeida, Fonte, Gonçalves: Dotted Version Vectors:
//     Logical Clocks for Optimistic Replication, 2010. The dot apart from its past.
//   - Almeida, Baquero, Gonçalves, Preguiça, Fonte: Scalable and Accurate
//     Causality Tracking for Eventually Consistent Stores, DAIS 2014. Server
//     side minting and the compact set of siblings.
//   - Gonçalves, Almeida, Baquero, Fonte: DottedDB: Anti-Entropy without Merkle
//     Trees, Deletes without Tombstones, SRDS 2017. One clock per node instead
//     of one per key; the clock remembers what was deleted.
//   - Malkhi, Terry: Concise Version Vectors in WinFS, DISC 2005. A vector with
//     exceptions for the whole replica.
package dvv
