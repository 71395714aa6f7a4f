package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// HandlerOptions say what a node serves beside the API.
type HandlerOptions struct {
	Metrics      http.Handler          // at /metrics; nil for none
	Interceptors []connect.Interceptor // around each call of the API

	admission *admission      // nil for no bound on requests at a time
	draining  <-chan struct{} // closed when the node begins to stop; nil for never
	log       *slog.Logger    // nil for the default
}

// services are the names that health and reflection answer for.
var services = []string{
	cartwheelv1connect.SetServiceName,
	cartwheelv1connect.CounterServiceName,
	cartwheelv1connect.RegisterServiceName,
	cartwheelv1connect.BlobServiceName,
	cartwheelv1connect.MapServiceName,
	cartwheelv1connect.PipelineServiceName,
	cartwheelv1connect.ClusterServiceName,
	cartwheelv1connect.MembershipServiceName,
}

// Handler serves the client API of a node: its services by the Connect,
// gRPC and gRPC-Web protocols, gRPC health and reflection, metrics, and a page
// that says what this is. Requests are bounded by [MaxRequest]. The owner of the
// http.Server decides on protocols; gRPC needs HTTP/2.
func Handler(b Backend, o HandlerOptions) http.Handler {
	a := &api{backend: b, issuer: newIssuer(), admission: o.admission, draining: o.draining, log: o.log}
	bounds := []connect.HandlerOption{
		connect.WithReadMaxBytes(MaxRequest),
		connect.WithCompressMinBytes(minCompress),
		connect.WithCodec(strictJSON{"json"}),
		connect.WithCodec(strictJSON{"json; charset=utf-8"}),
	}
	options := append(slices.Clip(bounds), connect.WithInterceptors(append(slices.Clip(o.Interceptors), inTime)...))
	mux := http.NewServeMux()
	mux.Handle(cartwheelv1connect.NewSetServiceHandler(setService{a}, options...))
	mux.Handle(cartwheelv1connect.NewCounterServiceHandler(counterService{a}, options...))
	mux.Handle(cartwheelv1connect.NewRegisterServiceHandler(registerService{a}, options...))
	mux.Handle(cartwheelv1connect.NewBlobServiceHandler(blobService{a}, options...))
	mux.Handle(cartwheelv1connect.NewMapServiceHandler(mapService{a}, options...))
	mux.Handle(cartwheelv1connect.NewPipelineServiceHandler(pipelineService{a}, options...))
	mux.Handle(cartwheelv1connect.NewClusterServiceHandler(clusterService{a}, options...))
	mux.Handle(cartwheelv1connect.NewMembershipServiceHandler(membershipService{a}, options...))
	mux.Handle(grpchealth.NewHandler(health{b}, bounds...))
	reflector := grpcreflect.NewStaticReflector(append([]string{grpchealth.HealthV1ServiceName}, services...)...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, bounds...))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, bounds...))
	if o.Metrics != nil {
		mux.Handle("/metrics", o.Metrics)
	}
	mux.HandleFunc("/", a.welcome)
	refusal := connect.NewErrorWriter()
	bounded := boundingBodies(explained(sized(mux, refusal), refusal), mux)
	if o.admission != nil {
		return admitting(bounded, o.admission, refusal)
	}
	return bounded
}

// boundingBodies bounds what a request may send in all, but for streams, which
// last: of them each message is bounded.
func boundingBodies(next, streams http.Handler) http.Handler {
	bounded := http.MaxBytesHandler(next, maxBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == cartwheelv1connect.PipelineServiceStreamProcedure {
			streams.ServeHTTP(w, r)
			return
		}
		bounded.ServeHTTP(w, r)
	})
}

// sized refuses calls that announce a message above [MaxRequest]. Connect would
// too, and not say how large it was; of a message that is sent without its length
// nobody knows.
func sized(next http.Handler, refusal *connect.ErrorWriter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := r.ContentLength; n > MaxRequest && strings.HasPrefix(r.URL.Path, apiPrefix) && refusal.IsSupported(r) {
			c := &call{op: operationOf(r.URL.Path)}
			_ = refusal.Write(w, r, c.error(tooLarge(MaxRequest, int(n), "request of %d bytes, limit %d", n, MaxRequest)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

const apiPrefix = "/cartwheel.v1."

// operationOf names a procedure as errors do: "/cartwheel.v1.SetService/Add" is
// "set.add".
func operationOf(procedure string) string {
	service, method, _ := strings.Cut(strings.TrimPrefix(procedure, apiPrefix), "Service/")
	return strings.ToLower(service + "." + method)
}

// inTime refuses calls that have no time left once their message is read. Connect
// would too, and not say that nothing was done.
var inTime = connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := ctx.Err(); err != nil {
			return nil, (&call{op: operationOf(req.Spec().Procedure)}).error(overdue(err))
		}
		return next(ctx, req)
	}
})

// health answers for the node as a whole and for each service alike.
type health struct{ backend Backend }

func (h health) Check(_ context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if req.Service != "" && req.Service != grpchealth.HealthV1ServiceName && !slices.Contains(services, req.Service) {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("unknown service "+req.Service))
	}
	switch h.backend.Snapshot().State {
	case Starting, Draining, Left:
		return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}

func (a *api) welcome(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, fmt.Sprintf(`This is node %s of a Cartwheel cluster: replicated sets, counters, registers, blobs and maps.

Try

  curl http://%s%s -H 'Content-Type: application/json' -d '{"bucket":"carts","key":"42","members":[{"member":"milk"}]}'

Health: %sCheck. Metrics: /metrics.
`, a.backend.Self(), r.Host, cartwheelv1connect.SetServiceAddProcedure, "/"+grpchealth.HealthV1ServiceName+"/"))
}
