// Package breaker decides, for one peer, whether it is worth asking now.
//
// A dead peer noticed by gossip is noticed after seconds; the data path knows
// after a few failed requests, or at once when the link drops. Each peer link
// therefore carries a circuit breaker (Nygard, "Release It!", 2007): while it is
// open the coordinator passes the peer over and asks a fallback, and only now and
// then one request goes through to see whether the peer is back.
//
//	+--------+   Threshold failures in a row, or link down   +--------+
//	| closed | --------------------------------------------> |  open  |
//	+--------+                                               +--------+
//	    ^                                                     ^      |
//	    |                      failure: wait twice as long,   |      | wait is over,
//	    | success              or link down                   |      | or link up
//	    |                                                     |      v
//	    |                                                   +-----------+
//	    +-------------------------------------------------- | half-open |
//	                                                        +-----------+
//	                                                     one probe at a time
//
// It is a value without a clock: every call is told the instant, in nanoseconds
// of any monotonic clock. It has no dice either: what spreads the probes of many
// nodes over time is a seed given in [Config]. Not safe for concurrent use.
package breaker
