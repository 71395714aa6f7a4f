// Package crdttest holds the laws that every replicated type must obey, and
// random histories to try them on.
//
// # The idea
//
// Whatever a few coordinators do to a partition, and in whatever order, however
// often and through whomever their groups reach a replica, three computations
// must give the same bytes:
//
//	               ┌─ Fold, group by group, in any order, with repeats ──┐
//	Histories ─────┼─ Join of what two replicas folded of it ────────────┼─▶ equal bytes
//	               └─ Oracle: live is what nobody killed ────────────────┘
//
// The oracle is too plain to be wrong. [Histories] mints like real coordinators
// with partial knowledge do: batches, clears, contexts of dots not seen here,
// resets of what a merged read showed, operations applied twice and taken back.
// A [Trial] adds an order of delivery, three replicas that each got an
// arbitrary part of the history, and dots that impossibly bear two payloads.
// [History.Value] says what a counter of a map comes to when everybody knows all.
// [Trial.Verify] takes the join as a parameter, so that broken joins can be
// shown to be caught.
//
// The rare paths are counted in [Paths]; a run that never took one proves
// nothing about it, and [Laws] fails.
//
// # Papers
//
// Shapiro, Preguiça, Baquero, Zawirski: Conflict-free Replicated Data Types (SSS
// 2011), for the laws. The one suite for all types follows riak_dt's
// crdt_statem_eqc.
package crdttest
