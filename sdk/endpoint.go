package cartwheel

import (
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// endpoint is one address with its clients, and until when to leave it alone.
type endpoint struct {
	url      string
	position int
	set      cartwheelv1connect.SetServiceClient
	counter  cartwheelv1connect.CounterServiceClient
	register cartwheelv1connect.RegisterServiceClient
	blob     cartwheelv1connect.BlobServiceClient
	maps     cartwheelv1connect.MapServiceClient
	cluster  cartwheelv1connect.ClusterServiceClient

	membership cartwheelv1connect.MembershipServiceClient

	coolUntil atomic.Int64 // nanoseconds since endpoints.began; 0 for healthy
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

func newEndpoints(addresses []string, cfg config) (*endpoints, error) {
	if len(addresses) == 0 {
		return nil, errNoEndpoints
	}
	es := &endpoints{rotate: cfg.rotate, cooldown: cfg.cooldown, began: time.Now()}
	for i, address := range addresses {
		base, err := baseURL(address)
		if err != nil {
			return nil, err
		}
		limit := connect.WithReadMaxBytes(maxReply)
		es.list = append(es.list, &endpoint{
			url:      base,
			position: i,
			set:      cartwheelv1connect.NewSetServiceClient(cfg.http, base, limit),
			counter:  cartwheelv1connect.NewCounterServiceClient(cfg.http, base, limit),
			register: cartwheelv1connect.NewRegisterServiceClient(cfg.http, base, limit),
			blob:     cartwheelv1connect.NewBlobServiceClient(cfg.http, base, limit),
			maps:     cartwheelv1connect.NewMapServiceClient(cfg.http, base, limit),
			cluster:  cartwheelv1connect.NewClusterServiceClient(cfg.http, base, limit),

			membership: cartwheelv1connect.NewMembershipServiceClient(cfg.http, base, limit),
		})
	}
	return es, nil
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

// round lists every endpoint once, in the order in which to ask: from the given
// position on, those that cool down last. Nobody is ever left out, for when all
// are cooling one of them may be back.
func (es *endpoints) round(from int) []*endpoint {
	now := int64(time.Since(es.began))
	order := make([]*endpoint, 0, len(es.list))
	var cooling []*endpoint
	for i := range es.list {
		e := es.list[(from+i)%len(es.list)]
		if now < e.coolUntil.Load() {
			cooling = append(cooling, e)
		} else {
			order = append(order, e)
		}
	}
	return append(order, cooling...)
}

func (es *endpoints) answered(e *endpoint) {
	e.coolUntil.Store(0)
	if !es.rotate {
		es.turn.Store(uint64(e.position))
	}
}

func (es *endpoints) failed(e *endpoint) {
	e.coolUntil.Store(int64(time.Since(es.began) + es.cooldown))
}
