package cartwheel

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// endpoint is one address with its clients, and until when to leave it alone.
type endpoint struct {
	url      string
	position int // in the list of given ones
	set      cartwheelv1connect.SetServiceClient
	counter  cartwheelv1connect.CounterServiceClient
	register cartwheelv1connect.RegisterServiceClient
	blob     cartwheelv1connect.BlobServiceClient
	maps     cartwheelv1connect.MapServiceClient
	cluster  cartwheelv1connect.ClusterServiceClient

	membership cartwheelv1connect.MembershipServiceClient

	coolUntil atomic.Int64 // nanoseconds since endpoints.began; 0 for healthy

	// What a router knows.
	pipe       pipe
	answers    atomic.Bool            // when it was asked last
	node       atomic.Pointer[string] // id of the node behind it
	many       atomic.Bool            // there is more than one
	member     string                 // id of the node that was sought here; empty for a given endpoint
	heardAt    atomic.Int64           // nanoseconds since endpoints.began
	probing    atomic.Bool
	probeAt    atomic.Int64 // nanoseconds since endpoints.began
	probePause atomic.Int64 // nanoseconds
}

// endpoints chooses whom to ask first and whom next.
type endpoints struct {
	list     []*endpoint
	rotate   bool
	cooldown time.Duration
	began    time.Time
	// With rotation the calls begun so far, without it the position of the
	// endpoint that answered last.
	turn atomic.Uint64
}

func newEndpoints(addresses []string, cfg config, l *life) (*endpoints, error) {
	if len(addresses) == 0 {
		return nil, errNoEndpoints
	}
	es := &endpoints{rotate: cfg.rotate, cooldown: cfg.cooldown, began: time.Now()}
	for i, address := range addresses {
		base, err := baseURL(address)
		if err != nil {
			return nil, err
		}
		e := newEndpoint(base, cfg, l)
		e.position = i
		es.list = append(es.list, e)
	}
	return es, nil
}

func newEndpoint(base string, cfg config, l *life) *endpoint {
	limit := connect.WithReadMaxBytes(maxReply)
	e := &endpoint{
		url:      base,
		set:      cartwheelv1connect.NewSetServiceClient(cfg.http, base, limit),
		counter:  cartwheelv1connect.NewCounterServiceClient(cfg.http, base, limit),
		register: cartwheelv1connect.NewRegisterServiceClient(cfg.http, base, limit),
		blob:     cartwheelv1connect.NewBlobServiceClient(cfg.http, base, limit),
		maps:     cartwheelv1connect.NewMapServiceClient(cfg.http, base, limit),
		cluster:  cartwheelv1connect.NewClusterServiceClient(cfg.http, base, limit),

		membership: cartwheelv1connect.NewMembershipServiceClient(cfg.http, base, limit),
	}
	var through pipe
	switch cfg.api {
	case Stream:
		through = newStreams(base, cfg, l)
	case Batch:
		through = newBatches(base, cfg, l)
	case Unary:
		return e
	}
	e.pipe = through
	e.set, e.counter = pipedSet{e.set, through}, pipedCounter{e.counter, through}
	e.register, e.blob, e.maps = pipedRegister{e.register, through}, pipedBlob{e.blob, through}, pipedMap{e.maps, through}
	return e
}

// warm prepares to carry calls.
func (e *endpoint) warm() {
	if e.pipe != nil {
		e.pipe.carrier()
	}
}

func baseURL(address string) (string, error) {
	full := address
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("cartwheel: endpoint %q is not host:port or an http or https URL", address)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// first is where a call begins.
func (es *endpoints) first() int {
	n := uint64(len(es.list))
	if es.rotate {
		return int((es.turn.Add(1) - 1) % n)
	}
	return int(es.turn.Load() % n)
}

func (es *endpoints) now() int64 { return int64(time.Since(es.began)) }

// round appends every endpoint that is not there yet, in the order in which to ask:
// from the given position on, those that cool down last. Nobody is ever left out,
// for when all are cooling one of them may be back.
func (es *endpoints) round(order []*endpoint, from int) []*endpoint {
	now := es.now()
	for _, cooling := range []bool{false, true} {
		for i := range es.list {
			e := es.list[(from+i)%len(es.list)]
			if (now < e.coolUntil.Load()) == cooling && !slices.Contains(order, e) {
				order = append(order, e)
			}
		}
	}
	return order
}

func (es *endpoints) answered(e *endpoint, routed bool) {
	e.coolUntil.Store(0)
	if e.member != "" {
		e.heardAt.Store(es.now())
	}
	if e.answers.Store(true); !es.rotate && !routed {
		es.turn.Store(uint64(e.position))
	}
}

func (es *endpoints) failed(e *endpoint) {
	e.coolUntil.Store(int64(time.Since(es.began) + es.cooldown))
}
