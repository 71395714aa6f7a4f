// Package cartwheel is the Go client of a Cartwheel cluster.
//
//	db, err := cartwheel.Open(ctx, []string{"127.0.0.1:7401", "127.0.0.1:7402"})
//	cart := db.Set("carts", "42")
//	err = cart.Add(ctx, "milk", "eggs")
//	for member, err := range cart.Members(ctx) { ... }
//
// A handle (Set, Counter, Register, Blob, Map) is an address with options: making
// one costs nothing and asks nobody. All of it may be used by many goroutines
// at once.
//
// # What happens to a call
//
//	          operation id, once          one attempt: at most AttemptTimeout
//	call ──▶ 8f..e1-17-1764000000000 ──▶ ┌─ node 1 ── x  connection refused
//	              the same id throughout  ├─ node 2 ── ?  no answer in time
//	                                      └─ node 3 ── ✓  first answer counts
//	                                         pause, next round, until the deadline
//
// Any node serves any key. When an endpoint fails, the next one is asked, and
// the failed one is left alone for a while. That is safe for mutations too:
// each carries an operation id, under which the cluster takes effect at most
// once and repeats its first answer, whichever node the retry reaches. The id
// names its issue time on the clock of the server, which the client learns at
// Open, so a wrong clock on this machine does no harm.
//
// A call ends at the deadline of its context, or after the timeout of the
// client where the context has none. If a mutation then still has no answer,
// nobody knows whether it took effect, and the error says just that:
// errors.Is(err, ErrUnknownOutcome). Its operation id is in the error; calling
// again under it (see Operation) remains safe for at least ten minutes.
//
// # How calls travel
//
// Calls of many goroutines travel together: what is waiting makes one message of
// a stream to the node, and each is answered when it is done. A call that is alone
// leaves alone, at once. See WithAPI for other ways.
//
// The client learns the ring and asks an owner of the key first, whether that was
// among the addresses given to Open or not; it seeks owners in the background, and
// a call never waits for one that was not seen to answer. See WithoutRouting.
//
// # Causality
//
// Reads and some writes return a Context: a token for exactly what was shown.
// Hand it back to say "this replaces what I saw", and whatever somebody else
// did meanwhile survives. Separately the client echoes the highest hybrid
// logical clock it has met, so that of two register writes through one client
// the second wins, whatever the clocks of the nodes say.
//
// # Sessions and staleness
//
// A handle reads what was written through it, and what it has read once does not
// go away again, whichever nodes and replicas answer: each reply brings a token
// for what it reflects, and the next request carries it. Two handles on one value
// are two sessions, as two people are; see Session for how to share one, hand it
// to another process, or do without. A session that cannot be honoured is an
// error, never an older answer: errors.Is(err, SessionUnmet).
//
// Every read says how far behind it may be (Info.Staleness), measured by the
// nodes without comparing their clocks, and who could not be asked. MaxStaleness
// makes it a condition:
//
//	size, err := cart.With(cartwheel.MaxStaleness(5*time.Second)).Size(ctx)
//	if errors.Is(err, cartwheel.TooStale) { ... } // a node is away: take an older answer, or none
//
// # Expiry
//
// What is written may last until a time, on the clock of the cluster (ServerTime):
// a member, a value, an increment, a change of a map. Then no read shows it, and it
// is removed as by somebody who saw just that. A renewal is a write, and wins.
//
//	err = room.With(cartwheel.ExpiresIn(30*time.Second)).Add(ctx, "ann")
//
// The words are those of DeCandia et al., "Dynamo: Amazon's Highly Available
// Key-value Store" (SOSP 2007), and of Preguiça et al., "Dotted Version
// Vectors" (2010).
package cartwheel
