package crdt

import "fmt"

// Stamp is a hybrid logical clock reading (Kulkarni et al. 2014): milliseconds
// since the Unix epoch in the upper 48 bits, a logical counter in the lower 16.
// Stamps order writes that follow one another through any chain of messages,
// whatever the nodes' clocks say.
type Stamp uint64

const logicalBits = 16

// StampAt returns the first stamp of a millisecond.
func StampAt(wallMillis int64) Stamp { return Stamp(wallMillis) << logicalBits }

// Millis returns the wall-clock part, in milliseconds since the Unix epoch.
func (s Stamp) Millis() int64 { return int64(s >> logicalBits) }

// Next returns the stamp of an event that happens after s, at wallMillis by the
// local clock: never before s, and close to the wall clock where that is ahead.
func (s Stamp) Next(wallMillis int64) Stamp { return max(s+1, StampAt(wallMillis)) }

// Ahead returns how many milliseconds s lies ahead of the local clock; 0 when
// it does not.
func (s Stamp) Ahead(wallMillis int64) int64 { return max(0, s.Millis()-wallMillis) }

func (s Stamp) String() string {
	return fmt.Sprintf("%d.%d", s.Millis(), s&(1<<logicalBits-1))
}
