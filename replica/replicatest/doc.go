// Package replicatest runs whole clusters from a seed and holds them to oracles.
//
// The protocol is a value (see package replica), so a cluster is a handful of
// values, and time is a number. One goroutine takes one event after another from
// one heap; dice of one seed decide how long a message travels, whether it
// arrives twice or never, when a disk forgets what was not synced, and who is
// paused, split off, wiped or copied. The code that is run is the code of the
// server, not a model of it.
//
//	            ┌──────────── heap of events, virtual time ───────────┐
//	clients ──▶ │  n1 ══╦══ n2      driver: Receive, Tick, Fill,      │ ──▶ checkers
//	nemesis ──▶ │       ║  ╲╱       Commit, Committed                 │
//	            │  n4 ══╩══ n3      network: delay, loss, cut, repeat │
//	            └─────────────────────────────────────────────────────┘
//	                         trace: a hash, and the last of the story
//
// Play it again with the line that a failure prints:
//
//	go test ./replica/replicatest -run TestSimulation -seed 42 -seeds 1 -v
//
// and with -story all that happens is told. The other ways to run a seed are
// -freeze (liveness), -ragged (logs with holes) and -alone handoff, logs,
// snapshots, trees or reads.
//
// The weather of a seed also sets how soon logs are cut, retries forgotten, trees
// compared and snapshots promoted in pieces, and how many hours the nodes' clocks
// are apart, so that each mechanism is used within the half minute of a seed.
//
// # The checkers
//
// The registry sees every group that any shard writes, and keeps a copy. It knows
// what the shards cannot: everything. What a replica holds and what a read shows
// must be the fold of the events in its clock, computed anew, without order.
//
//	registry.go          no dot is minted twice; the fold
//	folded_rows.go       stores are the fold of their clocks; owners are equal bytes at quiet
//	first_durable.go     the books: who holds what, and since when
//	durable_acks.go      nothing is acknowledged before it is durable, and at W nodes;
//	                     nothing leaves a log before all owners had it durable
//	bounded_staleness.go a bound of staleness is never below the truth; sessions and
//	                     max_staleness are honoured, or the read fails and says so
//	ready_owners.go      who becomes ready has what each member it reaches held before
//	promised_writes.go   what W=2 owners held when the client was told is in every read
//	                     at R=2 that is not degraded, through kills and lost disks
//	fresh_reads.go       a read at R misses nothing that R owners had to know, and shows
//	                     groups whole
//	observed_kills.go    nobody kills what was not shown; what was removed stays away;
//	                     nothing acknowledged is lost; "nothing was done" is true
//	exact_counters.go    all acknowledged increments, those in doubt at most once; the
//	                     counters of maps like all others
//	expired_rows.go      what nobody asked to remove was over by its minter's clock, and
//	                     another owner agreed; nothing that is over is left at quiet
//	register_winners.go  the latest write wins; blob siblings are the concurrent writes
//
// The promise speaks of writes with surviving copies: a disk is lost only when
// everything acknowledged has a copy elsewhere.
//
// At quiet every owner is ready, logs are empty, closed windows forgotten, trees
// equal and the sums of the rows (folded_rows.go). Two more plays end there too:
// alone.go, where one way of repair must suffice and be the one that was used, and
// frozen_rest.go, where a core serves its keys within five seconds while the rest
// is dead, stopped or cut off.
//
// A checker that never fails proves nothing: planted_test.go plants mistakes in
// what surrounds the shards, and mutants_test.go those of one line that package
// replica lists in its own code. Each must be found:
//
//	go test -tags mutants ./replica/replicatest -run TestEveryMutantIsFound
//
// # The store
//
// [MemStore] is the store in memory with the contract of the one on disk, whose
// views are snapshots that cost nothing and whose commits a crash can prevent.
//
// # Models
//
// TigerBeetle's VOPR, for real code under a simulated clock, network and disk,
// and checkers that are files named after what they check. Pebble's vfs, for the
// disk that forgets. FoundationDB's simulation, for doing this first.
package replicatest
