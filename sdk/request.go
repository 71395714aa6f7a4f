package cartwheel

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Context is an opaque token for exactly what a reply showed of one value.
// Handing it back with a mutation replaces or removes just that. The zero value
// is none.
type Context string

// Info is what a reply says about itself; see Report.
type Info struct {
	Stamp       uint64    // the answering node's hybrid logical clock
	Degraded    bool      // a read that may miss an acknowledged write
	Replicas    int       // replicas a read joined, or known to hold a mutation durably
	Coordinator string    // id of the node that coordinated
	Saturated   bool      // a counter went past int64; its value is the nearest end
	Staleness   Staleness // of a read: how far behind it may be
	// SessionOverflow tells that the session grew too large for a token: what this
	// reply reflects is not in it.
	SessionOverflow bool
	OperationID     string // of a mutation
	Attempts        int    // how often it was tried
	Endpoint        string // who answered
}

// CallOption is an option of the operations of a handle:
//
//	db.Set("carts", "42").With(cartwheel.W(3)).Add(ctx, "milk")
type CallOption func(*settings)

type settings struct {
	w, r         uint32
	fast         bool
	maxStaleness uint64 // milliseconds
	session      *Session
	operationID  string
	expires      func(*DB) time.Time // of what is written; nil for never
	info         *Info
	reissued     bool // an operation id was replaced once already
}

// at returns the address of a value, with a session of its own.
func (db *DB) at(bucket, key string) address {
	a := address{db: db, bucket: bucket, key: key}
	if !db.config.withoutSessions {
		a.settings.session = NewSession("")
	}
	return a
}

// W makes mutations wait for w durable copies, instead of the cluster's default.
func W(w uint32) CallOption { return func(s *settings) { s.w = w } }

// R makes reads join r replicas, instead of the cluster's default.
func R(r uint32) CallOption { return func(s *settings) { s.r = r } }

// Fast makes reads ask one replica: cheapest, and possibly behind.
func Fast() CallOption { return func(s *settings) { s.fast = true } }

// Operation makes a mutation run under a given operation id, such as that of an
// Error whose outcome is unknown: it then takes effect at most once in all. Use
// such a handle for that one operation only; for another the id is refused.
func Operation(id string) CallOption { return func(s *settings) { s.operationID = id } }

// Report fills info after each operation that is answered. Such a handle is not
// for several goroutines.
func Report(info *Info) CallOption { return func(s *settings) { s.info = info } }

// address is the part all handles share.
type address struct {
	db          *DB
	bucket, key string
	settings    settings
}

func (a address) with(options []CallOption) address {
	for _, option := range options {
		option(&a.settings)
	}
	return a
}

// reply is any reply of a value service.
type reply interface{ GetInfo() *cartwheelv1.ReplyInfo }

// invoke sends one request to one endpoint.
type invoke[Res any] func(context.Context, *endpoint) (*connect.Response[Res], error)

// read carries out a read.
func read[Res any, P interface {
	*Res
	reply
}](ctx context.Context, a address, op string, names []string, send func(*cartwheelv1.ReadOptions) invoke[Res]) (*Res, error) {
	c := &call{op: op, bucket: a.bucket, key: a.key}
	if err := c.checkNames(names...); err != nil {
		return nil, err
	}
	return inTurn[Res, P](ctx, a, c, func(session *cartwheelv1.SessionTokens) invoke[Res] {
		return send(&cartwheelv1.ReadOptions{
			R: a.settings.r, Fast: a.settings.fast, Stamp: a.db.seen.load(), MaxStalenessMs: a.settings.maxStaleness, Session: session,
		})
	})
}

// mutate carries out a mutation under one operation id.
func mutate[Res any, P interface {
	*Res
	reply
}](ctx context.Context, a address, op string, names []string, send func(*cartwheelv1.WriteOptions) invoke[Res]) (*Res, error) {
	for {
		c := &call{op: op, bucket: a.bucket, key: a.key, operationID: a.settings.operationID}
		if err := c.checkNames(names...); err != nil {
			return nil, err
		}
		given := c.operationID != ""
		if !given {
			c.operationID = a.db.issue(ctx)
		}
		until := a.settings.until(a.db)
		res, err := inTurn[Res, P](ctx, a, c, func(session *cartwheelv1.SessionTokens) invoke[Res] {
			return send(&cartwheelv1.WriteOptions{W: a.settings.w, OperationId: c.operationID, Stamp: a.db.seen.load(), Session: session, ExpiresAtMs: until})
		})
		// An id of our own making that was refused as too old by the first node
		// that ever saw it proves that nothing happened: our reckoning of the
		// server's clock is off. A second id under a clock asked anew is safe.
		if errors.Is(err, OperationExpired) && !given && c.attempts == 1 && !a.settings.reissued {
			a.settings.reissued = true
			if a.db.setClock(ctx) == nil {
				continue
			}
		}
		return res, err
	}
}

// inTurn carries out a call within the session of its handle.
func inTurn[Res any, P interface {
	*Res
	reply
}](ctx context.Context, a address, c *call, send func(*cartwheelv1.SessionTokens) invoke[Res]) (*Res, error) {
	ctx, cancel := a.db.inTime(ctx)
	defer cancel()
	c.routable = true
	t, err := a.settings.session.begin(ctx)
	if err != nil {
		a.db.stats.operations.Add(1)
		return nil, a.db.giveUp(c, err)
	}
	res, err := ask(ctx, a.db, c, send(t.request()))
	if err != nil {
		t.end("")
		return nil, err
	}
	info := P(res).GetInfo()
	t.end(info.GetSession())
	a.db.seen.raise(info.GetStamp())
	a.db.router.heard(c, info.GetCoordinator())
	if a.settings.info != nil {
		*a.settings.info = Info{
			Stamp:           info.GetStamp(),
			Degraded:        info.GetDegraded(),
			Replicas:        int(info.GetReplicasAnswered()),
			Coordinator:     info.GetCoordinator(),
			Staleness:       staleness(info.GetStaleness()),
			SessionOverflow: info.GetSessionOverflow(),
			OperationID:     c.operationID,
			Attempts:        c.attempts,
			Endpoint:        c.endpoint.url,
		}
	}
	return res, nil
}

// ask carries a call through its attempts and returns the reply.
func ask[Res any](ctx context.Context, db *DB, c *call, send invoke[Res]) (res *Res, err error) {
	err = db.run(ctx, c, func(ctx context.Context, e *endpoint) error {
		answer, err := send(ctx, e)
		if err == nil {
			res = answer.Msg
		}
		return err
	})
	return res, err
}

// checkNames refuses what protobuf could not carry; limits are the server's to
// hold.
func (c *call) checkNames(names ...string) error {
	for _, given := range [][]string{{c.bucket, c.key}, names} {
		for _, name := range given {
			if !utf8.ValidString(name) {
				return &Error{
					Op: c.op, Bucket: c.bucket, Key: c.key, Reason: InvalidName, OperationID: c.operationID,
					Err: fmt.Errorf("%w, and %q is not", errNotUTF8, clip(name, 64)),
				}
			}
		}
	}
	return nil
}

var errShortReply = errors.New("the reply answers for fewer members than were asked about")

var errNotUTF8 = errors.New("names are UTF-8")

// saturated passes on what only counters report.
func (a address) saturated(saturated bool) {
	if a.settings.info != nil {
		a.settings.info.Saturated = saturated
	}
}
