// Package replica is the protocol of the store, as values: what one node does
// for the partitions it stores, without a goroutine, a lock, a clock, a socket
// or a file. A driver feeds a [Shard] with requests, messages and time, commits
// what it fills, and sends what it puts out. The very same code runs five nodes
// on one goroutine from a seed, in replicatest.
//
// # One idea
//
// A partition is a set of events; a clock says which; rows are the fold of that
// set. Replicas of a partition reconcile sets of events, and everything else
// follows:
//
//	replication     send the event
//	handoff         send the events that a returning owner lacks
//	read repair,
//	anti-entropy    the clocks differ: pull what is missing
//	delete          a kill and no tombstone: the clock remembers
//
// # The life of a write
//
//	client ─▶ any node ─▶ first live owner: the coordinator
//	                        │ read at R what is to be removed   (observed kills)
//	                        │ mint dots, fill the next commit   (mutation.go, write.go)
//	                        ├────────────▶ the rest of the active list
//	                        │ sync                    │ sync
//	client ◀── W acks ──────┴◀──── Acked ─────────────┘
//
// # The parts
//
//	partition.go  rules 1, 2, 4: apply, mint, trim            (one partition, one transaction)
//	snapshot.go   rule 5: await, compare, stage, abort; staging.go: what lies on disk meanwhile
//	promote.go    rule 5: joining what was staged, in one commit or in pieces behind a mark
//	cut.go        the source of snapshots; installing*.go: who pulls them, page by page
//	mutation.go   what each type's write kills and puts
//	query.go      what a read asks of a replica, and its answer
//	merged.go     rule 6: what several answers come to
//	shard.go      the value that a driver feeds
//	commit.go     group commit: jobs, transactions, what waits for durability
//	write.go      coordinating a write; exactly-once by operation id
//	unsettled.go  increments that name the one they follow
//	forward.go    handing a mutation to its coordinator
//	read.go       coordinating a merged read; read repair as a nudge
//	exchange.go   anti-entropy by clocks
//	tree*.go      the Merkle tree kept with the rows, saved, grown in the background
//	compare*.go   anti-entropy by trees: roots, the walk down, the union of rows, verify
//	handoff.go    the one handoff rule
//	peers.go      who can be reached
//	timers.go     what happens later
//	message.go    what nodes say to each other; store.go: what a store must do
//
// # Papers
//
// DeCandia et al.: Dynamo (SOSP 2007), for the ring, sloppy quorums and
// handoff. Gonçalves, Almeida, Baquero, Fonte: DottedDB (SRDS 2017), for
// node-wide clocks in place of tombstones. Brown, Lakhani, Place: Big(ger) Sets
// (PaPoC 2016), for a row per member. Ongaro's and etcd's raft, for the protocol
// as a value.
package replica
