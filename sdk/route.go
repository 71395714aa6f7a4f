package cartwheel

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// WithoutRouting asks the given endpoints only. By default a client learns who owns
// which keys, and where those nodes are, and asks an owner of the key at first: that
// saves handing the operation on. The first owner coordinates what changes a value;
// any owner answers reads from what it holds. (DeCandia et al. 2007, section 6.4,
// "client-driven coordination".)
//
// Where nodes cannot be reached at the addresses they give, behind a proxy or a
// gateway, nothing is lost: an owner is asked once it was seen to answer, and is
// sought in the background only.
func WithoutRouting() Option { return func(c *config) { c.unrouted = true } }

// router knows the ring as well as it can be known without keeping anybody waiting.
// Whatever it knows may be wrong: any node serves any key.
type router struct {
	config    config
	endpoints *endpoints
	life      *life
	ring      atomic.Pointer[ring]

	mu       sync.Mutex
	learned  map[string]*endpoint // beside the given ones, by URL
	learning bool
	notUntil time.Time // the ring is not asked for again before

	reads    atomic.Uint64 // with rotation, which of the owners is next
	goodTill atomic.Int64  // nanoseconds since endpoints.began: then it is asked for anew
}

const (
	ringGoodFor = 5 * time.Minute
	// ringPause is the least time between two questions.
	ringPause = 5 * time.Second
	// After each probe in a row that fails, the next waits twice as long.
	firstProbePause = 500 * time.Millisecond
	lastProbePause  = 30 * time.Second
)

// trustFor is how long silence leaves a node that nobody named at its address: then
// it is asked for its name before it is asked for anything else.
var trustFor = 5 * time.Second

// newRouter is nil where calls are not to be routed. A path in an endpoint is that
// of a proxy, and who configured it wants it asked.
func newRouter(cfg config, es *endpoints, l *life) *router {
	for _, e := range es.list {
		if u, err := url.Parse(e.url); err != nil || u.Path != "" {
			return nil
		}
	}
	if cfg.unrouted {
		return nil
	}
	return &router{config: cfg, endpoints: es, life: l, learned: map[string]*endpoint{}}
}

// route appends the owners to ask about a key, the best first: those seen to answer,
// and not cooling down. The others are looked for meanwhile.
func (r *router) route(order []*endpoint, c *call) []*endpoint {
	if r == nil || !c.routable {
		return order
	}
	known := r.ring.Load()
	if known == nil {
		r.learn()
		return order
	}
	owners := known.ownersOf(c.bucket, c.key)
	first := 0
	if c.operationID == "" && r.endpoints.rotate && len(owners) > 0 {
		first = int(r.reads.Add(1) % uint64(len(owners)))
	}
	now := r.endpoints.now()
	if now > r.goodTill.Load() {
		r.learn()
	}
	for i := range owners {
		e := owners[(first+i)%len(owners)].at
		switch {
		case e == nil || slices.Contains(order, e):
		case !e.answers.Load() || e.member != "" && now-e.heardAt.Load() > int64(trustFor):
			r.probe(e)
		case now >= e.coolUntil.Load():
			order = append(order, e)
		}
	}
	return order
}

// heard looks at who coordinated a mutation: if not whom the ring names, the ring
// is another by now.
func (r *router) heard(c *call, coordinator string) {
	if r == nil || c.operationID == "" || coordinator == "" {
		return
	}
	known := r.ring.Load()
	if known == nil {
		return
	}
	owners := known.ownersOf(c.bucket, c.key)
	at := slices.IndexFunc(owners, func(m *member) bool { return m.id == coordinator })
	if at < 0 || at > 0 && owners[0].at == c.endpoint {
		r.learn()
	}
}

// failed takes note of an endpoint that does not answer: it may have left.
func (r *router) failed(e *endpoint) {
	if e.answers.Store(false); r != nil {
		r.learn()
	}
}

// learn asks for the ring in the background, but not too often.
func (r *router) learn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !r.learning && !now.Before(r.notUntil) {
		r.notUntil = now.Add(ringPause)
		r.learning = r.life.begin(r.ask)
	}
}

func (r *router) ask() {
	var met sync.WaitGroup
	for _, e := range r.endpoints.list {
		met.Go(func() { r.meet(e) })
	}
	met.Wait()
	for _, e := range r.endpoints.round(nil, 0) {
		if found := r.askOne(e); found != nil {
			r.ring.Store(found)
			break
		}
	}
	r.goodTill.Store(r.endpoints.now() + int64(ringGoodFor))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learning = false
}

func (r *router) askOne(e *endpoint) *ring {
	ctx, cancel := context.WithTimeout(r.life.closing, r.config.attemptTimeout)
	defer cancel()
	res, err := e.cluster.Ring(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceRingRequest{}))
	if err != nil {
		return nil
	}
	members, err := e.cluster.Members(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceMembersRequest{}))
	if err != nil {
		return nil
	}
	addresses := map[string]string{}
	for _, n := range members.Msg.GetNodes() {
		addresses[n.GetId()] = n.GetApiAddress()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	scheme := r.scheme()
	found := map[string]*endpoint{}
	known := newRing(res.Msg, func(id string) *endpoint { return r.find(id, scheme, addresses[id], found) })
	if known != nil {
		r.learned = found // streams to others end by themselves when nobody uses them
	}
	return known
}

// find returns the endpoint of a node: the given one that it was met at, or that of
// its address.
func (r *router) find(id, scheme, address string, found map[string]*endpoint) *endpoint {
	base := scheme + "://" + address
	for _, e := range r.endpoints.list {
		if node := e.node.Load(); e.url == base || node != nil && *node == id && !e.many.Load() {
			return e
		}
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		return nil // it listens everywhere, which is no address
	}
	e := r.learned[base]
	if e == nil || e.member != id {
		e = newEndpoint(base, r.config, r.life)
		e.member = id
	}
	found[base] = e
	return e
}

// scheme is how nodes are reached that nobody named: by TLS where any of the given
// endpoints is.
func (r *router) scheme() string {
	for _, e := range r.endpoints.list {
		if strings.HasPrefix(e.url, "https://") {
			return "https"
		}
	}
	return "http"
}

// meet asks an endpoint who it is. One that is several is a balancer. Where a member
// was to be found and somebody else is, a node of another cluster maybe, nobody is:
// addresses mean different nodes in different networks, and are given away again.
func (r *router) meet(e *endpoint) bool {
	ctx, cancel := context.WithTimeout(r.life.closing, r.config.attemptTimeout)
	defer cancel()
	res, err := e.cluster.Status(ctx, connect.NewRequest(&cartwheelv1.ClusterServiceStatusRequest{}))
	if err != nil {
		return false
	}
	id := res.Msg.GetNode().GetId()
	if e.member != "" && e.member != id {
		e.answers.Store(false)
		return false
	}
	if before := e.node.Swap(&id); before != nil && *before != id {
		e.many.Store(true)
	}
	e.heardAt.Store(r.endpoints.now())
	e.answers.Store(true)
	e.warm()
	return true
}

// probe finds out in the background whether an endpoint answers.
func (r *router) probe(e *endpoint) {
	now := r.endpoints.now()
	if now < e.probeAt.Load() || !e.probing.CompareAndSwap(false, true) {
		return
	}
	begun := r.life.begin(func() {
		defer e.probing.Store(false)
		pause := min(lastProbePause, max(firstProbePause, 2*time.Duration(e.probePause.Load())))
		if r.meet(e) {
			pause = 0
		}
		e.probePause.Store(int64(pause))
		e.probeAt.Store(r.endpoints.now() + int64(pause))
	})
	if !begun {
		e.probing.Store(false)
	}
}
