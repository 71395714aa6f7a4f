package cartwheel

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// issuer makes operation ids: a random client id, and a sequence that never
// repeats within it.
type issuer struct {
	client string
	last   atomic.Uint64
}

func newIssuer() (*issuer, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("cartwheel: making a client id: %w", err)
	}
	return &issuer{client: hex.EncodeToString(id[:])}, nil
}

func (i *issuer) next(issued time.Time) string {
	b := append(make([]byte, 0, len(i.client)+42), i.client...)
	b = strconv.AppendUint(append(b, '-'), i.last.Add(1), 10)
	return string(strconv.AppendInt(append(b, '-'), issued.UnixMilli(), 10))
}

// serverClock tells the time of the server: what it said once, plus what has
// passed here since on the monotonic clock. A wall clock that is wrong or gets
// set does not matter.
type serverClock struct {
	mu     sync.Mutex
	server time.Time // what the server said
	at     time.Time // when, here
}

// resetAfter is how far the client drifts, or sleeps, before it asks again. It
// is well inside the ten minutes for which ids are good.
const resetAfter = 3 * time.Minute

func (c *serverClock) set(server, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server, c.at = server, at
}

// now returns the time of the server, and whether it is worth asking anew.
func (c *serverClock) now() (now time.Time, old bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	here := time.Now()
	passed := here.Sub(c.at)
	return c.server.Add(passed), stale(passed, here.Round(0).Sub(c.at.Round(0)))
}

// stale looks at what passed on the monotonic clock and, because that one may
// stand still while the machine is suspended, at what passed on the wall.
func stale(monotonic, wall time.Duration) bool {
	return max(monotonic, wall, -wall) > resetAfter
}

// ServerTime returns what time it is on the clock of the cluster, as learnt when
// one of its nodes was last asked. Expiries of members go by that clock.
func (db *DB) ServerTime() time.Time {
	now, _ := db.clock.now()
	return now
}

// setClock asks the cluster what time it is.
func (db *DB) setClock(ctx context.Context) error {
	c := &call{op: "cluster.status"}
	return db.run(ctx, c, func(ctx context.Context, e *endpoint) error {
		asked := time.Now()
		reply, err := e.cluster.Status(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceStatusRequest{}))
		if err != nil {
			return err
		}
		// The server looked at its clock somewhere between asking and hearing.
		half := time.Since(asked) / 2
		db.clock.set(time.UnixMilli(int64(reply.Msg.GetServerTimeMs())), asked.Add(half))
		db.seen.raise(reply.Msg.GetStamp())
		return nil
	})
}

// issue makes an operation id. If the clock is stale and nobody can be asked
// in one attempt's time, the old reckoning has to do.
func (db *DB) issue(ctx context.Context) string {
	now, old := db.clock.now()
	if old {
		short, cancel := context.WithTimeout(ctx, db.config.attemptTimeout)
		defer cancel()
		if db.setClock(short) == nil {
			now, _ = db.clock.now()
		}
	}
	return db.issuer.next(now)
}

// stamp is the highest hybrid logical clock seen.
type stamp struct{ highest atomic.Uint64 }

func (s *stamp) raise(to uint64) {
	for {
		now := s.highest.Load()
		if to <= now || s.highest.CompareAndSwap(now, to) {
			return
		}
	}
}

func (s *stamp) load() uint64 { return s.highest.Load() }
