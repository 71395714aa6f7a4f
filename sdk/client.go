package cartwheel

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
)

// DB is a client of one cluster. Make it with Open.
type DB struct {
	config    config
	endpoints *endpoints
	router    *router // nil where calls are not routed
	clock     *serverClock
	issuer    *issuer
	seen      stamp
	stats     counters
	throttle  throttle
	life      *life
	close     func() // idle connections
}

type config struct {
	timeout        time.Duration
	attemptTimeout time.Duration
	cooldown       time.Duration
	attempts       int
	rotate         bool
	http           connect.HTTPClient
	observe        func(Attempt)
	api            API
	unrouted       bool

	withoutSessions bool
}

// Option configures Open.
type Option func(*config)

// WithTimeout bounds calls whose context has no deadline. Default 10 s.
func WithTimeout(d time.Duration) Option { return func(c *config) { c.timeout = d } }

// WithAttemptTimeout bounds one attempt at one endpoint; it should leave room
// for several within the deadline of a call. Default 2 s.
func WithAttemptTimeout(d time.Duration) Option { return func(c *config) { c.attemptTimeout = d } }

// WithAttempts bounds the attempts of one call; 0, the default, is as many as its
// deadline allows. Calls of one attempt are sent whatever became of others: such
// a client is not kept from asking an overloaded cluster for more, as others are.
func WithAttempts(n int) Option { return func(c *config) { c.attempts = n } }

// WithCooldown sets for how long an endpoint that failed is asked only when no
// other is left. Default 1 s.
func WithCooldown(d time.Duration) Option { return func(c *config) { c.cooldown = d } }

// WithRotation begins each call at the next endpoint, spreading the load.
// Without it calls stay with one endpoint as long as that one answers.
func WithRotation() Option { return func(c *config) { c.rotate = true } }

// WithoutSessions makes handles that have no session, unless InSession gives
// them one. It spares the nodes a signature on every reply.
func WithoutSessions() Option { return func(c *config) { c.withoutSessions = true } }

// WithHTTPClient replaces the HTTP client, for TLS settings or an in-memory
// network. The default speaks HTTP/2 on https and, without TLS, on http.
func WithHTTPClient(client connect.HTTPClient) Option { return func(c *config) { c.http = client } }

// WithObserver calls observe after every attempt, on the goroutine of the
// caller: be quick.
func WithObserver(observe func(Attempt)) Option { return func(c *config) { c.observe = observe } }

// maxReply bounds what a reply may make this process hold, in bytes: a node fills a
// batch up to 64 MiB.
const maxReply = 72 << 20

// Open connects to a cluster through any of its endpoints, each "host:port",
// "http://host:port" or "https://host:port". It asks for the status of the
// first that answers, for the clock of operation ids, and fails when none does
// before the deadline.
func Open(ctx context.Context, addresses []string, opts ...Option) (*DB, error) {
	cfg := config{timeout: 10 * time.Second, attemptTimeout: 2 * time.Second, cooldown: time.Second}
	for _, opt := range opts {
		opt(&cfg)
	}
	closeConnections := func() {}
	if cfg.http == nil {
		client, transport := newHTTPClient()
		cfg.http, closeConnections = client, transport.CloseIdleConnections
	}
	l := newLife()
	list, err := newEndpoints(addresses, cfg, l)
	if err != nil {
		return nil, err
	}
	ids, err := newIssuer()
	if err != nil {
		return nil, err
	}
	db := &DB{config: cfg, endpoints: list, router: newRouter(cfg, list, l), clock: &serverClock{}, issuer: ids, life: l, close: closeConnections}
	if err := db.setClock(ctx); err != nil {
		_ = db.Close()
		var failed *Error
		if errors.As(err, &failed) {
			failed.Op = "open" // that it asks for the time is nobody's business
		}
		return nil, err
	}
	if db.router != nil {
		db.router.learn()
	}
	return db, nil
}

// Close releases the connections. Calls under way are not interrupted.
func (db *DB) Close() error {
	db.life.end(db.close)
	return nil
}

// newHTTPClient speaks HTTP/2 everywhere: one connection carries all calls to
// an endpoint, with pings so that a peer that vanished without a word is
// noticed and not handed to the next call.
func newHTTPClient() (*http.Client, *http.Transport) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 2 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 2 * time.Second},
	}
	return &http.Client{Transport: transport}, transport
}

var errNoEndpoints = errors.New("cartwheel: no endpoints to connect to")
