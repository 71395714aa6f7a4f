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
//	meta        "store"                              format, cluster, node, partitions
//	clocks      p                                    clock
//	rows        p, row address                       row
//	dead        p, key prefix                        clock: dots deferred at the key by clears
//	deferred    p, actor, seq, row address           nothing: an index of the rows' deferred dots
//	expiring    p, time, row address                 nothing: an index of when rows expire
//	summaries   p, key prefix                        members, rows, sum of hashes: of a set's rows
//	log         p, actor, last seq of the group      group
//	remembered  p, issue time, client, seq           remembered operation
//	marks       p                                    one byte: ready 1, promoting 2
//	trees       p                                    the bytes of a tree, as they were put
//	staged      p, key                               record of a snapshot on its way in
//
// A set's members are rows of their own beside each other, so an add costs the
// same in a set of ten and of a million (bigset: Brown, Lakhani, Place, PaPoC
// 2016). A group is filed under its last dot, so one seek finds the group that
// holds any dot. Operations are filed by time of issue, so they are appended, and
// the oldest are found first. How many groups and operations a partition has is
// counted in memory, at opening and by each commit.
//
// # What is durable
//
// A commit is in the map once its meta page is written, and durable only after
// the sync behind that. A view never shows what is between: it gets the state
// before the commit. [Open] writes the meta pages again and syncs before it shows
// anything: after a process that died in between, or a sync that failed, a page may
// be in the kernel's memory only, and the kernel takes a page whose sync failed for
// written (Rebello et al., Can Applications Recover from fsync Failures?, ATC
// 2020). Those two pages are enough, for what they lead to was synced before they
// were written. So after any failed commit, close and open.
//
// A view that is held for long has its price: see [Store.Held].
//
// Where space was lacking while pages were written that nothing leads to yet, the
// commit is rolled back ([ErrFull]) and the store goes on. A disk must write
// sectors of 512 bytes whole or not at all.
//
// # Damage
//
// bbolt guards its meta pages only, so everything else is guarded here. Each
// value ends in a CRC-32C over bucket, key and bytes, and a record that fails is
// never returned: the error is a [*DamageError] that names it. A read that finds
// nothing checks the two neighbours of the gap, for a damaged key looks like an
// absent one. A walk passes over damaged records and tells of the first in the
// end. Since the sum covers the key, it also tells which single bit of a key is
// wrong: such a record is known by the key it should have, and goes when that is
// written.
//
// [Open] walks all pages first, on the file and not through the map: a page that
// is torn, lost, linked twice or out of order is refused with a [*RefusalError]
// before bbolt, which would panic or loop, sees it. The refusal tells a damaged
// file, which may be set aside, from a foreign one, which may not. What breaks
// later, down to a page fault in the map, fails the store: a *DamageError that is
// also [ErrFailed].
//
// The design follows DottedDB's node-wide clocks (Gonçalves et al., SRDS 2017)
// for what is kept, and Prabhakaran et al., IRON File Systems (SOSP 2005), for
// trusting no page.
package store
