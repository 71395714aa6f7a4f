package server

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// api is what the services share.
type api struct {
	backend Backend
	issuer  *issuer

	// For calls that arrive several in a message.
	admission *admission      // nil for no bound
	draining  <-chan struct{} // closed when streams are to end; nil for never
	log       *slog.Logger    // nil for the default
	unsent    atomic.Int64    // bytes of replies of all lanes that wait
}

// call is one request on its way through a handler:
//
//	names ─▶ options, tokens ─▶ replica.Request ─▶ Backend.Do ─▶ failure or reply
//
// Whatever refuses it on the way does so before anything is written.
type call struct {
	*api
	op      string // "set.add"
	key     crdt.Key
	info    *cartwheelv1.ReplyInfo
	session *dvv.Clock         // what the reply's session covers; nil without a session
	stale   *replica.Staleness // of the reads so far, the worst
}

func (a *api) call(op string, t crdt.Type, bucket, name string) (*call, error) {
	c := &call{api: a, op: op, key: crdt.Key{Type: t, Bucket: bucket, Name: name}, info: &cartwheelv1.ReplyInfo{}}
	if err := c.key.Check(); err != nil {
		return nil, c.error(badName(err))
	}
	return c, nil
}

func (c *call) do(ctx context.Context, r replica.Request, seen uint64) (replica.Result, *problem) {
	res, stamp := c.backend.Do(ctx, r, crdt.Stamp(seen))
	if res.Failure != nil {
		p := failure(ctx, &r, &res)
		p.unknown = p.unknown && r.Mutation != nil
		return replica.Result{}, p
	}
	c.info.Stamp = max(c.info.GetStamp(), uint64(stamp))
	c.info.Coordinator = string(res.Coordinator)
	return res, nil
}

// read joins rows of the key. A call that reads several times reports the
// weakest of its reads.
func (c *call) read(ctx context.Context, o *cartwheelv1.ReadOptions, q replica.Query) (*replica.Merged, *problem) {
	r, p := c.answers(o)
	if p != nil {
		return nil, p
	}
	stale, p := maxStale(o.GetMaxStalenessMs())
	if p != nil {
		return nil, p
	}
	if p := c.begin(o.GetSession()); p != nil {
		return nil, p
	}
	q.Key = c.key
	res, p := c.do(ctx, replica.Request{Query: &q, R: r, MaxStale: stale, Session: c.covered()}, o.GetStamp())
	if p != nil {
		return nil, p
	}
	answered := uint32(res.Answers)
	if before := c.info.GetReplicasAnswered(); before > 0 {
		answered = min(answered, before)
	}
	c.info.ReplicasAnswered = answered
	c.info.Degraded = c.info.GetDegraded() || res.Degraded
	if c.stale == nil {
		c.stale = &res.Staleness
	} else {
		*c.stale = worse(*c.stale, res.Staleness)
	}
	c.info.Staleness = staleness(*c.stale)
	return res.Merged, c.cover(res.Merged.Clock)
}

// mutate carries out a mutation of the key under the context the client gave,
// and returns the context for the reply.
func (c *call) mutate(ctx context.Context, o *cartwheelv1.WriteOptions, given string, m replica.Mutation) (res replica.Result, token string, p *problem) {
	if m.Context, p = c.open(given); p != nil {
		return replica.Result{}, "", p
	}
	var shown *dvv.Clock
	if m.Context != nil {
		kept := m.Context.Clone() // the mutation belongs to the shard from here on
		shown = &kept
	}
	if res, p = c.carryOut(ctx, o, m); p != nil {
		return replica.Result{}, "", p
	}
	token, p = c.covering(res.Context, shown)
	return res, token, p
}

// carryOut carries out a mutation of the key whose context is opened.
func (c *call) carryOut(ctx context.Context, o *cartwheelv1.WriteOptions, m replica.Mutation) (res replica.Result, p *problem) {
	w, p := c.replicas("w", o.GetW())
	if p != nil {
		return res, p
	}
	if p = expiring(o, &m); p != nil {
		return res, p
	}
	if m.Op, p = c.operation(o); p != nil {
		return res, p
	}
	if p = c.begin(o.GetSession()); p != nil {
		return res, p
	}
	m.Key, m.Session = c.key, c.covered()
	if res, p = c.do(ctx, replica.Request{Mutation: &m, W: w}, o.GetStamp()); p != nil {
		return res, p
	}
	c.info.ReplicasAnswered = uint32(res.Answers)
	return res, c.cover(res.Minted)
}
