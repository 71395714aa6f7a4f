// Package bench measures a cluster from outside: closed loop, in the manner of
// YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC
// 2010).
//
//	load ──▶ warm up ──▶ scrape ──▶ measure ──▶ scrape ──▶ report
//	                        │                       │
//	     64 clients:        └── /metrics of nodes ──┘
//	     draw a step            CPU, syncs, commits, frames
//	     call, wait, note
//	     how long it took
//
// A closed loop has as many calls under way as there are clients, so a slow
// cluster is also asked less: the latencies are those of the calls made, not of
// the calls that a steady stream of users would have made meanwhile. Compare
// them at equal numbers of clients.
//
// What nodes spend they tell themselves, before and after. Nodes that share a
// process, as those of a dev cluster do, report the same CPU time; it counts
// once for each process.
package bench
