// Package crdt holds what a replica stores and how it merges: events, rows and
// the four types. It is the algebra of the store and nothing else; it starts no
// goroutine, holds no lock, reads no clock.
//
// # The idea
//
// A partition is a set of events, and a row is the fold of the events that
// touch it. An event names the dots it kills and may bring one payload that
// lives under its own dot:
//
//	event a:1  add milk                 row milk: live {a:1}
//	event b:1  add milk                 row milk: live {a:1 b:1}
//	event a:2  remove milk, kills a:1   row milk: live {b:1}        add wins
//
// Whatever was killed before it arrived is remembered as deferred and is dead
// on arrival, so events fold to the same row in any order:
//
//	event a:2  kills a:1                row milk: live {} deferred {a:1}
//	event a:1  add milk                 row milk: live {} deferred {}
//
// Rows of two replicas join under their clocks: a payload both have stays; one
// that only one side has stays if the other side never saw its dot, and is dead
// if it did. Nothing is left behind by a removal: the clock remembers.
//
// # The four types
//
//	set       add-wins OR-set, a row per member       set.go
//	counter   PN-counter with observed reset          counter.go
//	register  last writer wins by hybrid clock        register.go
//	blob      opaque siblings, reconciled by clients  blob.go
//
// # Papers
//
// Shapiro, Preguiça, Baquero, Zawirski: Conflict-free Replicated Data Types
// (SSS 2011). Almeida, Shoker, Baquero: Delta State Replicated Data Types (JPDC
// 2018). Brown, Lakhani, Place: Big(ger) Sets (PaPoC 2016), for a row per
// member. Kulkarni, Demirbas et al.: Logical Physical Clocks (OPODIS 2014), for
// the stamps. Preguiça, Baquero, Almeida, Fonte, Gonçalves: Dotted Version
// Vectors (2010), for the blob.
package crdt
