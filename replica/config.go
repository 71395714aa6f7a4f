package replica

import (
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica/merkle"
	"github.com/cartwheel-db/cartwheel/ring"
)

// Config is what a shard goes by. Durations are nanoseconds of [Now.Mono]
// unless they say otherwise; zero values take the defaults of [Config.Defaults].
type Config struct {
	Self     ring.NodeID
	NewActor func() dvv.Actor // dice: a random actor that nobody ever used
	R, W     int              // defaults of the cluster

	// Read gives the committed state for the time of one call.
	Read func(func(View) error) error

	HedgeAfter    int64 // a read asks one more replica, until enough answers tell how long they take
	FallbackAfter int64 // a write that lacks acknowledgements asks fallbacks
	ForwardAfter  int64 // a forwarded mutation is given to the next coordinator
	ExchangeEvery int64 // digests of clocks to all co-owners
	HandoffEvery  int64 // offers of partitions that are stored and not owned
	NudgeEvery    int64 // at most one nudge per peer and partition
	SoundEvery    int64 // soundings of all members, for staleness, stability and the barrier
	Patience      int64 // how long a member that does not show up is waited for by the barrier
	TrimEvery     int64 // stable events leave the logs, old operations are forgotten
	ExpireEvery   int64 // what expired is looked for, to be removed
	VerifyEvery   int64 // every partition's tree is compared with every co-owner's within this time

	OpWindow int64 // milliseconds in which a retry is recognised
	MaxSkew  int64 // milliseconds a foreign stamp may lie ahead

	LogCap       int64 // bytes that one partition logs for owners that stay away
	OpCap        int64 // operations that one partition remembers for members that stay away
	SnapshotRate int64 // bytes a second of snapshots that this node sends
	FewRows      int   // members of a set that are counted by reading them; of more a summary is kept
	LargeRows    int   // bytes of rows from which on a read asks others for a hash first

	TreeKey merkle.Key // of the cluster
	Leaves  int        // of a partition's tree

	// Hold opens a view that stays open until release is called: a cut for a
	// snapshot, while commits go on.
	Hold func() (v View, release func() error, err error)

	// Without switches ways of repair off, NoBarrier lets every owner count as
	// ready: for tests that show what each of them is there for.
	Without   Mechanism
	NoBarrier bool

	MaxQueue   int // mutations and deliveries waiting for a commit
	BatchGroup int // groups of one commit
	BatchBytes int // estimated bytes of one commit and of one message
}

// Mechanism is a set of ways in which replicas become equal again.
type Mechanism uint8

// The mechanisms.
const (
	Handoff    Mechanism = 1 << iota // who stores what it does not own offers it
	LogCatchUp                       // co-owners compare clocks and pull logged events
	Snapshots                        // rows, where the log does not reach back
	Trees                            // co-owners compare Merkle trees
	ReadRepair                       // a read that finds a replica behind nudges it
)

func (s *Shard) without(m Mechanism) bool { return s.cfg.Without&m != 0 }

// Defaults fills in what is zero.
func (c Config) Defaults() Config {
	const ms = int64(1e6)
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	count := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.HedgeAfter, 50*ms)
	def(&c.FallbackAfter, 300*ms)
	def(&c.ForwardAfter, 600*ms)
	def(&c.ExchangeEvery, 5000*ms)
	def(&c.HandoffEvery, 1000*ms)
	def(&c.NudgeEvery, 1000*ms)
	def(&c.SoundEvery, 1000*ms)
	def(&c.Patience, 2000*ms)
	def(&c.TrimEvery, 5000*ms)
	def(&c.ExpireEvery, 1000*ms)
	def(&c.VerifyEvery, 3600*1000*ms)
	def(&c.LogCap, 8<<20)
	def(&c.OpCap, 1<<18)
	def(&c.SnapshotRate, 32<<20)
	count(&c.LargeRows, 4<<10)
	count(&c.FewRows, 256)
	count(&c.Leaves, 4096)
	def(&c.OpWindow, 10*60*1000)
	def(&c.MaxSkew, 60*1000)
	count(&c.R, 2)
	count(&c.W, 2)
	count(&c.MaxQueue, 1<<14)
	count(&c.BatchGroup, 1<<10)
	count(&c.BatchBytes, 2<<20)
	return c
}
