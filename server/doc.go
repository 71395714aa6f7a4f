// Package server is one node: it wires the parts together and drives them.
//
//	clients ──Connect──▶ handlers ──Request──▶ ┌──────┐ ──▶ store (one writer, group commit)
//	                                           │ loop │
//	peers ◀──frames──▶ server/peer ─Receive──▶ └──────┘ ──▶ Send, Reply
//	gossip ──liveness, facts──▶ ring ─SetRing────▲
//
// The protocol itself is [replica.Shard], a value without goroutines. The loop
// (loop.go) is the only goroutine that touches it; a second one syncs
// transactions, so that while one commit is under way the next one gathers.
// Everything else here translates: HTTP to requests (set.go, counter.go,
// register.go, blob.go, cluster.go), frames to messages (links.go), facts to
// rings (membership.go), counts to metrics (metrics.go).
package server
