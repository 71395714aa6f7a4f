package cartwheel_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// fakeCluster is one store behind several listeners: what a cluster looks like
// from outside when nothing is wrong inside. What goes wrong is planted at the
// door of a node, as a fault.
type fakeCluster struct {
	mu      sync.Mutex
	clock   func() time.Time
	stamp   uint64
	sets    map[string]map[string]*cartwheelv1.Member
	counts  map[string]int64
	regs    map[string][]byte
	blobs   map[string]map[int][]byte // by dot
	lastDot int
	maps    map[string]*[]*cartwheelv1.MapField
	updates []*cartwheelv1.MapServiceUpdateRequest // those that reached a handler
	deletes []string                               // their contexts

	ring         *cartwheelv1.ClusterServiceRingResponse // nil for that of strangers
	coordinator  string                                  // who says to have coordinated; empty for the asked node
	addresses    map[string]string                       // of nodes, where not those they listen at
	staleness    *cartwheelv1.Staleness                  // of reads
	expires      []uint64                                // what reads say of the expiry of values, in order
	sessionLimit int                                     // a session that has seen this many replies grows no more; 0 for none
	answers      map[string]proto.Message                // by operation id: a retry gets the first answer
	seen         []request
	forced       []*cartwheelv1.ClusterServiceForceReadyRequest
}

// request is one that reached a handler.
type request struct {
	node        int
	procedure   string
	operationID string
	stamp       uint64
	w, r        uint32
	fast        bool
	maxStale    uint64
	expires     uint64
	session     *cartwheelv1.SessionTokens
	covers      []int  // what the session's tokens stand for
	reply       uint64 // the stamp of the reply, which is also what its session has seen beside
}

// fakeNode is one listener of the cluster.
type fakeNode struct {
	*fakeCluster
	number int
	server *httptest.Server

	faultMu sync.Mutex
	faults  map[string][]fault // by procedure, each used once
	hits    map[string]int
	hanging chan struct{} // told of requests that hang, if anybody listens

	old      bool  // it knows no pipelines
	messages []int // calls in each message of a pipeline
	piped    []*cartwheelv1.PipelinedCall
	canceled []uint64
}

// fault is what a node does with one request instead of answering it.
type fault int

const (
	refuse  fault = iota // an unexplained unavailable, nothing done
	abort                // does the work and cuts the connection
	cut                  // cuts the connection, nothing done
	hang                 // never answers
	working              // none: a place holder between faults
	busied               // refused for overload
)

func newCluster(t *testing.T, nodes int) (*fakeCluster, []*fakeNode) {
	t.Helper()
	cluster, list := startCluster(nodes)
	for _, node := range list {
		t.Cleanup(node.server.Close)
	}
	return cluster, list
}

// callers run beside a test. It waits for them even when it gives up: they end with its
// context, and one that reports to a test that is over ends the whole process.
func callers(t *testing.T) *sync.WaitGroup {
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	return &running
}

// hold lets nodes answer nobody until release is called, or the test is over.
func (c *fakeCluster) hold(t *testing.T) (release func()) {
	c.mu.Lock()
	release = sync.OnceFunc(c.mu.Unlock)
	t.Cleanup(release)
	return release
}

func startCluster(nodes int) (*fakeCluster, []*fakeNode) {
	cluster := &fakeCluster{
		clock: time.Now, sets: map[string]map[string]*cartwheelv1.Member{}, counts: map[string]int64{},
		regs: map[string][]byte{}, blobs: map[string]map[int][]byte{}, answers: map[string]proto.Message{},
	}
	var list []*fakeNode
	for number := range nodes {
		node := &fakeNode{fakeCluster: cluster, number: number, faults: map[string][]fault{}, hits: map[string]int{}, hanging: make(chan struct{}, 1)}
		mux := http.NewServeMux()
		mux.Handle(cartwheelv1connect.NewSetServiceHandler(setService{node}))
		mux.Handle(cartwheelv1connect.NewCounterServiceHandler(counterService{node}))
		mux.Handle(cartwheelv1connect.NewRegisterServiceHandler(registerService{node}))
		mux.Handle(cartwheelv1connect.NewBlobServiceHandler(blobService{node}))
		mux.Handle(cartwheelv1connect.NewMapServiceHandler(mapService{node}))
		mux.Handle(cartwheelv1connect.NewPipelineServiceHandler(pipelineService{node}))
		mux.Handle(cartwheelv1connect.NewClusterServiceHandler(clusterService{node}))
		mux.Handle(cartwheelv1connect.NewMembershipServiceHandler(membershipService{node}))
		node.server = httptest.NewUnstartedServer(node.door(mux))
		node.server.Config.Protocols = new(http.Protocols)
		// Only unencrypted HTTP/2: a client that falls back to HTTP/1 fails.
		node.server.Config.Protocols.SetUnencryptedHTTP2(true)
		node.server.Start()
		list = append(list, node)
	}
	return cluster, list
}

// open returns a client whose calls come one by one, unless options say otherwise.
func open(t *testing.T, nodes []*fakeNode, options ...cartwheel.Option) *cartwheel.DB {
	t.Helper()
	options = append([]cartwheel.Option{cartwheel.WithAPI(cartwheel.Unary)}, options...)
	var addresses []string
	for _, node := range nodes {
		addresses = append(addresses, node.server.URL)
	}
	db, err := cartwheel.Open(t.Context(), addresses, options...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// plant makes the node's next requests to a procedure, "SetService/Add", fail
// one after another.
func (n *fakeNode) plant(procedure string, faults ...fault) {
	n.faultMu.Lock()
	defer n.faultMu.Unlock()
	n.faults[procedure] = append(n.faults[procedure], faults...)
}

func (n *fakeNode) requests(procedure string) int {
	n.faultMu.Lock()
	defer n.faultMu.Unlock()
	return n.hits[procedure]
}

func (n *fakeNode) door(inside http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		procedure := strings.TrimPrefix(r.URL.Path, "/cartwheel.v1.")
		if n.old && strings.HasPrefix(procedure, "PipelineService/") {
			n.today(procedure)
			http.NotFound(w, r)
			return
		}
		switch n.today(procedure) {
		case refuse:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		case abort:
			inside.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case cut:
			panic(http.ErrAbortHandler)
		case hang:
			// The server notices a client that leaves only once the body is read.
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case n.hanging <- struct{}{}:
			default:
			}
			<-r.Context().Done()
		case busied:
			w.Header().Set("Grpc-Retry-Pushback-Ms", "150")
			_ = connect.NewErrorWriter().Write(w, r, failure(connect.CodeResourceExhausted, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_OVERLOADED}))
		case working:
			inside.ServeHTTP(w, r)
		}
	})
}

// today is what a procedure is planted to do now.
func (n *fakeNode) today(procedure string) fault {
	n.faultMu.Lock()
	defer n.faultMu.Unlock()
	n.hits[procedure]++
	if planted := n.faults[procedure]; len(planted) > 0 {
		n.faults[procedure] = planted[1:]
		return planted[0]
	}
	return working
}

// begin notes what arrived and ticks the logical clock past what the client
// has seen. The caller holds mu.
func (n *fakeNode) begin(procedure string, w *cartwheelv1.WriteOptions, r *cartwheelv1.ReadOptions) *cartwheelv1.ReplyInfo {
	n.seen = append(n.seen, request{
		node: n.number, procedure: procedure, operationID: w.GetOperationId(),
		stamp: max(w.GetStamp(), r.GetStamp()), w: w.GetW(), r: r.GetR(), fast: r.GetFast(), expires: w.GetExpiresAtMs(),
	})
	n.stamp = max(n.stamp, w.GetStamp(), r.GetStamp()) + 1
	info := &cartwheelv1.ReplyInfo{Stamp: n.stamp, ReplicasAnswered: 2, Coordinator: cmp.Or(n.coordinator, fmt.Sprint("node-", n.number))}
	if r != nil {
		info.Staleness = n.staleness
	}
	asked := &n.seen[len(n.seen)-1]
	asked.maxStale, asked.reply = r.GetMaxStalenessMs(), n.stamp
	if asked.session = w.GetSession(); r != nil {
		asked.session = r.GetSession()
	}
	if asked.session == nil {
		return info
	}
	// A fake session is the stamps of the replies that it has seen. Two that began
	// alike never cover each other.
	for _, t := range asked.session.GetTokens() {
		asked.covers = append(asked.covers, covered(t)...)
	}
	slices.Sort(asked.covers)
	asked.covers = slices.Compact(asked.covers)
	if info.SessionOverflow = n.sessionLimit > 0 && len(asked.covers) >= n.sessionLimit; !info.SessionOverflow {
		info.Session = token(append(slices.Clone(asked.covers), int(n.stamp)))
	}
	return info
}

// expiry is that of the only value of a key. The caller holds mu.
func (c *fakeCluster) expiry() uint64 {
	if len(c.expires) == 0 {
		return 0
	}
	return c.expires[0]
}

// once is a mutation: at most one effect per operation id, and the first answer
// for every retry.
func once[Res proto.Message](n *fakeNode, procedure string, options *cartwheelv1.WriteOptions, work func(*cartwheelv1.ReplyInfo) (Res, error)) (Res, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	info := n.begin(procedure, options, nil)
	if first, ok := n.answers[options.GetOperationId()]; ok {
		return first.(Res), nil
	}
	if w := options.GetW(); w > 3 {
		var none Res
		return none, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_INVALID_OPTION, Limit: 3, Actual: uint64(w)})
	}
	res, err := work(info)
	if err == nil && options.GetOperationId() != "" {
		n.answers[options.GetOperationId()] = res
	}
	return res, err
}

func reply[Res any](res *Res, err error) (*connect.Response[Res], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}

func failure(code connect.Code, detail *cartwheelv1.ErrorDetail) error {
	err := connect.NewError(code, errors.New(strings.ToLower(detail.GetReason().String())))
	attached, wrong := connect.NewErrorDetail(detail)
	if wrong != nil {
		panic(wrong)
	}
	err.AddDetail(attached)
	return err
}

func (c *fakeCluster) requests(procedure string) []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []request
	for _, r := range c.seen {
		if r.procedure == procedure {
			list = append(list, r)
		}
	}
	return list
}

func at(bucket, key string) string { return bucket + "/" + key }

// A fake context is the words "ctx" and the dots it covers.
func token(dots []int) string { return "ctx" + strings.Trim(fmt.Sprint(dots), "[]") }

func covered(context string) (dots []int) {
	for word := range strings.FieldsSeq(strings.TrimPrefix(context, "ctx")) {
		dot, err := strconv.Atoi(word)
		if err != nil {
			panic(err)
		}
		dots = append(dots, dot)
	}
	return dots
}

type setService struct{ *fakeNode }

func (s setService) members(bucket, key string) map[string]*cartwheelv1.Member {
	set := s.sets[at(bucket, key)]
	if set == nil {
		set = map[string]*cartwheelv1.Member{}
		s.sets[at(bucket, key)] = set
	}
	return set
}

func (s setService) Add(_ context.Context, r *connect.Request[cartwheelv1.SetServiceAddRequest]) (*connect.Response[cartwheelv1.SetServiceAddResponse], error) {
	return reply(once(s.fakeNode, "add", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.SetServiceAddResponse, error) {
		for _, member := range r.Msg.GetMembers() {
			s.members(r.Msg.GetBucket(), r.Msg.GetKey())[member.GetMember()] = member
		}
		return &cartwheelv1.SetServiceAddResponse{Info: info, Context: "added"}, nil
	}))
}

func (s setService) Remove(_ context.Context, r *connect.Request[cartwheelv1.SetServiceRemoveRequest]) (*connect.Response[cartwheelv1.SetServiceRemoveResponse], error) {
	return reply(once(s.fakeNode, "remove", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.SetServiceRemoveResponse, error) {
		if r.Msg.GetContext() == "forged" {
			return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_CONTEXT_FORGED})
		}
		for _, member := range r.Msg.GetMembers() {
			delete(s.members(r.Msg.GetBucket(), r.Msg.GetKey()), member)
		}
		return &cartwheelv1.SetServiceRemoveResponse{Info: info}, nil
	}))
}

func (s setService) Update(_ context.Context, r *connect.Request[cartwheelv1.SetServiceUpdateRequest]) (*connect.Response[cartwheelv1.SetServiceUpdateResponse], error) {
	return reply(once(s.fakeNode, "update", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.SetServiceUpdateResponse, error) {
		set := s.members(r.Msg.GetBucket(), r.Msg.GetKey())
		for _, step := range r.Msg.GetChanges() {
			if add := step.GetAdd(); add != nil {
				set[add.GetMember()] = add
			} else {
				delete(set, step.GetRemove())
			}
		}
		return &cartwheelv1.SetServiceUpdateResponse{Info: info}, nil
	}))
}

func (s setService) Clear(_ context.Context, r *connect.Request[cartwheelv1.SetServiceClearRequest]) (*connect.Response[cartwheelv1.SetServiceClearResponse], error) {
	return reply(once(s.fakeNode, "clear", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.SetServiceClearResponse, error) {
		clear(s.members(r.Msg.GetBucket(), r.Msg.GetKey()))
		return &cartwheelv1.SetServiceClearResponse{Info: info}, nil
	}))
}

func (s setService) Contains(_ context.Context, r *connect.Request[cartwheelv1.SetServiceContainsRequest]) (*connect.Response[cartwheelv1.SetServiceContainsResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := &cartwheelv1.SetServiceContainsResponse{Info: s.begin("contains", nil, r.Msg.GetOptions()), Context: "shown"}
	for _, member := range r.Msg.GetMembers() {
		_, ok := s.members(r.Msg.GetBucket(), r.Msg.GetKey())[member]
		res.Contains = append(res.Contains, ok)
	}
	return connect.NewResponse(res), nil
}

func (s setService) Size(_ context.Context, r *connect.Request[cartwheelv1.SetServiceSizeRequest]) (*connect.Response[cartwheelv1.SetServiceSizeResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.begin("size", nil, r.Msg.GetOptions())
	return connect.NewResponse(&cartwheelv1.SetServiceSizeResponse{Info: info, Size: uint64(len(s.members(r.Msg.GetBucket(), r.Msg.GetKey())))}), nil
}

func (s setService) Members(_ context.Context, r *connect.Request[cartwheelv1.SetServiceMembersRequest]) (*connect.Response[cartwheelv1.SetServiceMembersResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := &cartwheelv1.SetServiceMembersResponse{Info: s.begin("members", nil, r.Msg.GetOptions()), Context: "page of " + r.Msg.GetCursor()}
	if r.Msg.GetCursor() == "wrong" {
		return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_CURSOR_INVALID})
	}
	set := s.members(r.Msg.GetBucket(), r.Msg.GetKey())
	for _, name := range slices.Sorted(maps.Keys(set)) {
		switch {
		case !strings.HasPrefix(name, r.Msg.GetPrefix()) || name <= r.Msg.GetCursor() || name < r.Msg.GetFrom() || r.Msg.GetUntil() != "" && name >= r.Msg.GetUntil():
		case len(res.Members) == int(cmp.Or(r.Msg.GetLimit(), 1000)):
			res.NextCursor = res.Members[len(res.Members)-1].GetMember()
			return connect.NewResponse(res), nil
		default:
			res.Members = append(res.Members, set[name])
		}
	}
	return connect.NewResponse(res), nil
}

type counterService struct{ *fakeNode }

func (s counterService) Add(_ context.Context, r *connect.Request[cartwheelv1.CounterServiceAddRequest]) (*connect.Response[cartwheelv1.CounterServiceAddResponse], error) {
	return reply(once(s.fakeNode, "counter.add", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.CounterServiceAddResponse, error) {
		switch r.Msg.GetKey() {
		case "full":
			return nil, failure(connect.CodeOutOfRange, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_COUNTER_OVERFLOW})
		case "split":
			return nil, failure(connect.CodeUnavailable, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED, Needed: 2, Answered: 1, OutcomeUnknown: true})
		case "alone":
			return nil, failure(connect.CodeUnavailable, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_QUORUM_NOT_REACHED, Needed: 2})
		case "tripping":
			return nil, connect.NewError(connect.CodeInternal, errors.New("tripped"))
		}
		issued, err := strconv.ParseInt(r.Msg.GetOptions().GetOperationId()[strings.LastIndex(r.Msg.GetOptions().GetOperationId(), "-")+1:], 10, 64)
		if err != nil {
			return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_OPERATION_INVALID})
		}
		if s.clock().Sub(time.UnixMilli(issued)) > 10*time.Minute {
			return nil, failure(connect.CodeFailedPrecondition, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_OPERATION_EXPIRED})
		}
		s.counts[at(r.Msg.GetBucket(), r.Msg.GetKey())] += r.Msg.GetDelta()
		return &cartwheelv1.CounterServiceAddResponse{Info: info, Value: s.counts[at(r.Msg.GetBucket(), r.Msg.GetKey())]}, nil
	}))
}

func (s counterService) Get(_ context.Context, r *connect.Request[cartwheelv1.CounterServiceGetRequest]) (*connect.Response[cartwheelv1.CounterServiceGetResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.begin("counter.get", nil, r.Msg.GetOptions())
	best := &cartwheelv1.Staleness{BoundMs: proto.Uint64(7300), ReachableBoundMs: proto.Uint64(40), Unreachable: []string{"n2", "n3"}}
	switch r.Msg.GetKey() {
	case "stale":
		return nil, failure(connect.CodeFailedPrecondition, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_TOO_STALE, Limit: r.Msg.GetOptions().GetMaxStalenessMs(), Actual: 7300, Staleness: best})
	case "unmet":
		return nil, failure(connect.CodeUnavailable, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_SESSION_UNMET, Staleness: best})
	case "torn":
		return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_SESSION_INVALID, Limit: 21, Actual: 3})
	}
	return connect.NewResponse(&cartwheelv1.CounterServiceGetResponse{Info: info, Value: s.counts[at(r.Msg.GetBucket(), r.Msg.GetKey())], Saturated: r.Msg.GetKey() == "brimming", ExpiresAtMs: s.expiry()}), nil
}

func (s counterService) Reset(_ context.Context, r *connect.Request[cartwheelv1.CounterServiceResetRequest]) (*connect.Response[cartwheelv1.CounterServiceResetResponse], error) {
	return reply(once(s.fakeNode, "counter.reset", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.CounterServiceResetResponse, error) {
		before := s.counts[at(r.Msg.GetBucket(), r.Msg.GetKey())]
		delete(s.counts, at(r.Msg.GetBucket(), r.Msg.GetKey()))
		return &cartwheelv1.CounterServiceResetResponse{Info: info, Value: before}, nil
	}))
}

type registerService struct{ *fakeNode }

func (s registerService) Set(_ context.Context, r *connect.Request[cartwheelv1.RegisterServiceSetRequest]) (*connect.Response[cartwheelv1.RegisterServiceSetResponse], error) {
	return reply(once(s.fakeNode, "register.set", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.RegisterServiceSetResponse, error) {
		s.regs[at(r.Msg.GetBucket(), r.Msg.GetKey())] = r.Msg.GetValue()
		return &cartwheelv1.RegisterServiceSetResponse{Info: info}, nil
	}))
}

func (s registerService) Get(_ context.Context, r *connect.Request[cartwheelv1.RegisterServiceGetRequest]) (*connect.Response[cartwheelv1.RegisterServiceGetResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := s.begin("register.get", nil, r.Msg.GetOptions())
	value, exists := s.regs[at(r.Msg.GetBucket(), r.Msg.GetKey())]
	res := &cartwheelv1.RegisterServiceGetResponse{Info: info, Exists: exists, Value: value, Stamp: info.GetStamp(), Context: "shown", ExpiresAtMs: s.expiry()}
	if r.Msg.GetWithConcurrent() {
		res.Concurrent = []*cartwheelv1.RegisterLoser{{Value: []byte("late"), Stamp: 7}}
	}
	return connect.NewResponse(res), nil
}

func (s registerService) Delete(_ context.Context, r *connect.Request[cartwheelv1.RegisterServiceDeleteRequest]) (*connect.Response[cartwheelv1.RegisterServiceDeleteResponse], error) {
	return reply(once(s.fakeNode, "register.delete", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.RegisterServiceDeleteResponse, error) {
		delete(s.regs, at(r.Msg.GetBucket(), r.Msg.GetKey()))
		return &cartwheelv1.RegisterServiceDeleteResponse{Info: info}, nil
	}))
}

type blobService struct{ *fakeNode }

func (s blobService) Get(_ context.Context, r *connect.Request[cartwheelv1.BlobServiceGetRequest]) (*connect.Response[cartwheelv1.BlobServiceGetResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := &cartwheelv1.BlobServiceGetResponse{Info: s.begin("blob.get", nil, r.Msg.GetOptions())}
	live := s.blobs[at(r.Msg.GetBucket(), r.Msg.GetKey())]
	dots := slices.Sorted(maps.Keys(live))
	for _, dot := range dots {
		res.Siblings = append(res.Siblings, live[dot])
	}
	res.Context, res.ExpiresAtMs = token(dots), s.expires
	return connect.NewResponse(res), nil
}

func (s blobService) Put(_ context.Context, r *connect.Request[cartwheelv1.BlobServicePutRequest]) (*connect.Response[cartwheelv1.BlobServicePutResponse], error) {
	return reply(once(s.fakeNode, "blob.put", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.BlobServicePutResponse, error) {
		live := s.blobs[at(r.Msg.GetBucket(), r.Msg.GetKey())]
		if live == nil {
			live = map[int][]byte{}
			s.blobs[at(r.Msg.GetBucket(), r.Msg.GetKey())] = live
		}
		replaced := covered(r.Msg.GetContext())
		for _, dot := range replaced {
			delete(live, dot)
		}
		s.lastDot++
		live[s.lastDot] = r.Msg.GetValue()
		return &cartwheelv1.BlobServicePutResponse{Info: info, Context: token(append(replaced, s.lastDot))}, nil
	}))
}

func (s blobService) Delete(_ context.Context, r *connect.Request[cartwheelv1.BlobServiceDeleteRequest]) (*connect.Response[cartwheelv1.BlobServiceDeleteResponse], error) {
	return reply(once(s.fakeNode, "blob.delete", r.Msg.GetOptions(), func(info *cartwheelv1.ReplyInfo) (*cartwheelv1.BlobServiceDeleteResponse, error) {
		live := s.blobs[at(r.Msg.GetBucket(), r.Msg.GetKey())]
		if r.Msg.GetContext() == "" {
			clear(live)
		}
		for _, dot := range covered(r.Msg.GetContext()) {
			delete(live, dot)
		}
		return &cartwheelv1.BlobServiceDeleteResponse{Info: info}, nil
	}))
}

type clusterService struct{ *fakeNode }

func (s clusterService) node() *cartwheelv1.Node {
	return &cartwheelv1.Node{Id: fmt.Sprint("node-", s.number), State: cartwheelv1.NodeState_NODE_STATE_READY, Weight: 1, ApiAddress: s.server.Listener.Addr().String()}
}

func (s clusterService) Status(context.Context, *connect.Request[cartwheelv1.ClusterServiceStatusRequest]) (*connect.Response[cartwheelv1.ClusterServiceStatusResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return connect.NewResponse(&cartwheelv1.ClusterServiceStatusResponse{
		Node: s.node(), Version: "v0.0.1", ServerTimeMs: uint64(s.clock().UnixMilli()), Stamp: s.stamp, UptimeMs: 1500,
		Config:   &cartwheelv1.ClusterConfig{ClusterId: "fake", N: 3, R: 2, W: 2, Q: 2},
		RingHash: "feed", Peers: []*cartwheelv1.PeerStatus{{Node: &cartwheelv1.Node{Id: "other"}, Alive: true, RingHash: "beef", AgeMs: proto.Uint64(60), MissingEvents: 7}},
		PartitionsStored: 4, PartitionsOwned: 3, PartitionsReady: 2, PartitionsHandingOff: 1,
		Partitions: &cartwheelv1.PartitionCounts{Joining: 1, Recovering: 2, Ready: 3, Draining: 4},
		Staleness:  &cartwheelv1.Staleness{ReachableBoundMs: proto.Uint64(5), Unreachable: []string{"other"}},
		Installs:   []*cartwheelv1.SnapshotInstall{{Partition: 1, From: "other", Phase: "log", Done: 5}},
		LogGroups:  1, LogBytes: 2, Operations: 3, DamagedRows: 4, TrimmedEarly: 5,
	}), nil
}

func (s clusterService) Members(context.Context, *connect.Request[cartwheelv1.ClusterServiceMembersRequest]) (*connect.Response[cartwheelv1.ClusterServiceMembersResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := &cartwheelv1.ClusterServiceMembersResponse{Nodes: []*cartwheelv1.Node{s.node()}}
	for id, address := range s.addresses {
		res.Nodes = append(res.Nodes, &cartwheelv1.Node{Id: id, ApiAddress: address})
	}
	return connect.NewResponse(res), nil
}

func (s clusterService) Ring(context.Context, *connect.Request[cartwheelv1.ClusterServiceRingRequest]) (*connect.Response[cartwheelv1.ClusterServiceRingResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring != nil {
		return connect.NewResponse(s.ring), nil
	}
	return connect.NewResponse(&cartwheelv1.ClusterServiceRingResponse{RingHash: "feed", Partitions: []*cartwheelv1.RingPartition{
		{Partition: 0, Owners: []string{"a", "b"}}, {Partition: 1, Owners: []string{"b", "a"}},
	}}), nil
}

func (s clusterService) Locate(_ context.Context, r *connect.Request[cartwheelv1.ClusterServiceLocateRequest]) (*connect.Response[cartwheelv1.ClusterServiceLocateResponse], error) {
	if r.Msg.GetType() == cartwheelv1.DataType_DATA_TYPE_UNSPECIFIED {
		return nil, failure(connect.CodeInvalidArgument, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_INVALID_OPTION})
	}
	return connect.NewResponse(&cartwheelv1.ClusterServiceLocateResponse{Partition: uint32(r.Msg.GetType()), Owners: []string{"a", "b"}, Active: []*cartwheelv1.ActiveNode{
		{Node: &cartwheelv1.Node{Id: "a"}, Standing: cartwheelv1.Standing_STANDING_PRIMARY, Reachable: true},
		{Node: &cartwheelv1.Node{Id: "c"}, Standing: cartwheelv1.Standing_STANDING_FALLBACK, FallbackFor: "b"},
	}}), nil
}

func (s clusterService) Partitions(_ context.Context, r *connect.Request[cartwheelv1.ClusterServicePartitionsRequest]) (*connect.Response[cartwheelv1.ClusterServicePartitionsResponse], error) {
	if r.Msg.GetFrom() == 0 {
		return connect.NewResponse(&cartwheelv1.ClusterServicePartitionsResponse{Next: 7, Partitions: []*cartwheelv1.PartitionHealth{{
			Partition: 0, State: cartwheelv1.PartitionState_PARTITION_STATE_JOINING, Staleness: &cartwheelv1.Staleness{BoundMs: proto.Uint64(12), ReachableBoundMs: proto.Uint64(12)},
			LogGroups: 1, LogBytes: 2, Operations: 3, DamagedRows: 4,
			Install: &cartwheelv1.SnapshotInstall{Partition: 0, From: "other", Phase: "rows", Done: 5, Total: 6},
			Peers:   []*cartwheelv1.PartitionPeer{{Id: "other", AgeMs: proto.Uint64(12), MissingEvents: 8}},
		}}}), nil
	}
	return connect.NewResponse(&cartwheelv1.ClusterServicePartitionsResponse{Partitions: []*cartwheelv1.PartitionHealth{{
		Partition: r.Msg.GetFrom(), State: cartwheelv1.PartitionState_PARTITION_STATE_DRAINING, Peers: []*cartwheelv1.PartitionPeer{{Id: "other"}},
	}}}), nil
}

func (s clusterService) Verify(_ context.Context, _ *connect.Request[cartwheelv1.ClusterServiceVerifyRequest], out *connect.ServerStream[cartwheelv1.ClusterServiceVerifyResponse]) error {
	for i := range uint32(3) {
		report := &cartwheelv1.ClusterServiceVerifyResponse{Node: fmt.Sprint("node-", s.number), Total: 2, Compared: i, Equal: i}
		if s.number == 2 && i == 1 {
			return failure(connect.CodeUnavailable, &cartwheelv1.ErrorDetail{Reason: cartwheelv1.ErrorDetail_REASON_NOT_READY})
		}
		if i == 2 {
			report.Equal, report.Differed, report.RepairedRows, report.Done = 1, 1, 9, true
			report.Findings = []*cartwheelv1.VerifyFinding{{Partition: 1, Peer: "other", Outcome: cartwheelv1.VerifyOutcome_VERIFY_OUTCOME_UNLIKE, Differed: true}}
		}
		if err := out.Send(report); err != nil {
			return err
		}
	}
	return nil
}

func (s clusterService) ForceReady(_ context.Context, r *connect.Request[cartwheelv1.ClusterServiceForceReadyRequest]) (*connect.Response[cartwheelv1.ClusterServiceForceReadyResponse], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forced = append(s.forced, r.Msg)
	return connect.NewResponse(&cartwheelv1.ClusterServiceForceReadyResponse{Partitions: []uint32{3, 5}}), nil
}
