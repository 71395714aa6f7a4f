// Package store keeps one shard on disk: the clocks, rows, logs and remembered
// operations of its partitions, in one bbolt file.
//
// A bbolt file is a B+tree whose pages are never overwritten while they are
// current. A commit writes new pages beside the old ones, syncs, then writes one
// of two meta pages, and syncs again: a crash leaves the old tree or the new.
//
//	shard loop ──Begin──▶ Tx: Row PutRow PutGroup PutClock …  (many operations)
//	                       │
//	        any goroutine  └─Commit─▶ pages ─sync─▶ meta ─sync─▶ OnSync ─▶ nil
//	                                                  ╎
//	readers ──View──▶ the tree of the newest meta ◀╌╌╌┘
//
// What lies in it, all numbers big-endian so that byte order is the order of
// iteration, p being the partition in two bytes:
//
//	bucket      key                                  value
//	meta        "store"                              format, cluster, node, partitions, leaves
//	clocks      p                                    clock
//	rows        p, row address                       row
//	dead        p, key prefix                        clock: dots deferred at the key by clears
//	deferred    p, actor, seq, row address           nothing: an index of the rows' deferred dots
//	log         p, actor, last seq of the group      group
//	remembered  p, client, seq, issue time           remembered operation
//
// A set's members are rows of their own beside each other, so an add costs the
// same in a set of ten and of a million (bigset: Brown, Lakhani, Place, PaPoC
// 2016). A group is filed under its last dot, so one seek finds the group that
// holds any dot.
//
// # Damage
//
// bbolt guards its meta pages only, so everything else is guarded here. Each
// value ends in a CRC-32C over bucket, key and bytes, and a record that fails is
// never returned: the error is a [*DamageError] that names it. A read that finds
// nothing checks the two neighbours of the gap, for a damaged key looks like an
// absent one. [Open] walks all pages first, on the file and not through the map:
// a page that is torn, lost, linked twice or out of order is refused with a
// [*RefusalError] before bbolt, which would panic or loop, sees it. What breaks
// later, down to a page fault in the map, becomes a *DamageError too.
//
// The design follows DottedDB's node-wide clocks (Gonçalves et al., SRDS 2017)
// for what is kept, and Prabhakaran et al., IRON File Systems (SOSP 2005), for
// trusting no page.
package store
