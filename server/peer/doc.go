// Package peer is the link between the nodes of one cluster: it carries opaque messages over TCP, many to a frame, and
// promises little, so that what it promises always holds. [Append] and [Decode] are what the replicas' messages look like
// inside; the transport knows nothing of them.
//
// # The link
//
// Every node dials every other member and sends on the connection it dialled. A pair of nodes thus holds two connections,
// each with data in one direction only:
//
//	         n1                                                n2
//	  Send ─▶ queue ─▶ writer ══ frames of messages ═════▶ reader ─▶ Deliver
//	                   reader ◀─ heartbeats ────────────── pulse
//
//	         n1                                                n2
//	Deliver ◀─ reader ◀═════ frames of messages ══ writer ◀─ queue ◀─ Send
//	           pulse ─────────────── heartbeats ─▶ reader
//
// One connection per pair would save a socket and cost an agreement on who dials and which of two crossing connections
// survives. Two connections need no agreement, and a direction that is cut (it happens) is seen by the side that sends
// into it.
//
// What a link promises:
//
//   - Order. What was sent on one link while it was up arrives in that order, each message at most once, frame by frame:
//     Deliver is never called twice at a time for one peer, also while a new connection replaces an old one.
//   - No memory. A link that breaks forgets what it had queued and what was under way; nothing arrives late from before
//     the break. The protocol above repairs loss anyway (an event is applied once, clocks show what is missing), and a
//     message whose request has long failed is best not sent.
//   - No waiting. Send only enqueues. A full queue or a link that is down refuses at once, typed and counted.
//   - Backpressure. Deliver may block: then TCP fills, then the sender's queue, and then its Send refuses.
//
// # Batches form by themselves
//
// The writer takes all that waits into one frame and writes it; what arrives during that write is the next frame. At low
// load a message leaves alone and at once, at high load one system call and one checksum serve hundreds. Nothing ever
// waits for company.
//
// # The frame
//
//	 0        4        8
//	┌────────┬────────┬──────────────────────────────────────────────────┐
//	│ length │ CRC32C │ body: msgpack                                     │
//	│ uint32 │ uint32 │ [ ring hash, stamp, [ message, message, ... ] ]   │
//	└────────┴────────┴──────────────────────────────────────────────────┘
//	  big-endian        93 cf........ cf........ 9n c4 len bytes c4 len ...
//
// The ring hash says under which ring the sender spoke, the stamp is the highest hybrid logical clock it knows (Kulkarni
// et al., OPODIS 2014): every frame carries both, so knowledge of either spreads with the traffic. A frame without
// messages is a heartbeat. The decoder accepts the one shortest form of each value and nothing else, so a frame has
// exactly one encoding, and it believes a declared length only as far as bytes are there.
//
// # Noticing death
//
// Each side writes a heartbeat every second; a side that has read nothing for three closes the connection. The heartbeats
// of the receiving side come from a goroutine of their own, so a receiver that is slow in Deliver is slow, not dead; a
// process that is stopped, or a cable that is cut, is noticed in 3 s. A broken link is dialled again after a growing
// random pause (50 ms up to 2 s), or at once when that peer dials us: it must be back.
//
// # The handshake
//
//	dialler                                                      acceptor
//	   │ hello: CWPL, version, cluster, Q, N, id, to, boot, ring, challenge │
//	   │ ─────────────────────────────────────────────────────────────────▶ │
//	   │ hello: the same, of the other side                                 │
//	   │ ◀───────────────────────────────────────────────────────────────── │  both compare; both name both values
//	   │ proof: HMAC-SHA256(key, "dialler"  + both hellos)                  │
//	   │ ─────────────────────────────────────────────────────────────────▶ │
//	   │ verdict: HMAC-SHA256(key, "acceptor" + both hellos), or a refusal  │
//	   │ ◀───────────────────────────────────────────────────────────────── │
//
// The key comes from the cluster's secret by HKDF (RFC 5869); both challenges are fresh, so no proof can be replayed, and
// the role in the proof keeps one from being reflected. The dialler proves itself first: a stranger gets nothing to guess
// the secret from. It authenticates the ends and does not encrypt: peers' traffic belongs on a network one trusts.
//
// A node that is not among SetPeers may dial in if it authenticates: a joining node speaks before it is a member. Deliver
// gets its id and is where to judge it.
//
// # The messages
//
// A message is a kind byte and msgpack values one after the other. There are no headers between the parts of one thing:
// an array's header counts things, not values. What may be left out (marked ?) is an array of no parts, or of all.
//
//	 1  Replicate  [partition, [group ...] ...]
//	 2  Acked      [partition, [actor, seq ...] ...]
//	 3  Forward    id, mutation, w, nanoseconds left
//	 4  Forwarded  id, failure?, wrote, context, answer, coordinator, answers, degraded
//	 5  Asking     id, partition, key, [member ...], span?
//	 6  Answered   id, owner, failed; unless failed: clock, dead, type, [field, row ...], more
//	 7  Digest     [partition, 16 bytes of fingerprint ...]
//	 8  CatchUp    partition, clock, final
//	 9  Events     partition, [group ...], more, gap, report
//	10  Offer      partition, ring hash
//	11  Coverage   partition, ring hash, clock
//	12  Nudge      partition, node
//	from 240 on   left to who runs the link, for what is no business of the replicas
//
//	key       type, bucket, name
//	mutation  key, verb, operation?, sum, [member, remove, expires, note ...], value, delta, context?
//	failure   reason, needed, got, unknown, text
//	span      prefix, after, limit
//
// Groups, rows, clocks and operations are those of package crdt. The decoder takes what the encoder writes and nothing
// else; the formats carry no versions of their own, since the handshake lets only nodes of one version talk.
package peer
