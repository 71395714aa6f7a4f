package server

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// pushbackHeader asks a refused client to wait before it tries again; the name is
// gRPC's (its proposal A6).
const pushbackHeader = "Grpc-Retry-Pushback-Ms"

// pushback is for how long, in milliseconds.
const pushback = 100

// admitting lets calls of the value services in as far as there is room, and
// refuses the rest before anything of them is read but their header. Health,
// metrics and the state of the cluster are never refused: who looks at a node in
// trouble must see something. Streams and batches are let in as such, and each of
// their calls is admitted by itself.
func admitting(next http.Handler, a *admission, writer *connect.ErrorWriter) http.Handler {
	refusals := refusalsOf(a, writer)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		no, bounded := refusals[r.URL.Path]
		if !bounded {
			next.ServeHTTP(w, r)
			return
		}
		arrived, size, left := time.Now(), max(0, r.ContentLength), timeLeft(r.Header)
		if !a.enter(r.Context(), size, left) {
			no.write(w, r, writer)
			return
		}
		defer a.leave(size)
		if waited := time.Since(arrived); left > 0 && waited > time.Millisecond {
			// The time in the header counts from arrival, and not from here.
			ctx, cancel := context.WithDeadline(r.Context(), arrived.Add(left))
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// refusal is the answer to a call of one procedure for which there is no room.
type refusal struct {
	err  error
	body []byte // for Connect's unary protocol, made once: refusing must cost little
	size []string
}

func refusalsOf(a *admission, writer *connect.ErrorWriter) map[string]refusal {
	all := map[string]refusal{}
	for _, file := range []protoreflect.FileDescriptor{
		cartwheelv1.File_cartwheel_v1_set_proto, cartwheelv1.File_cartwheel_v1_counter_proto,
		cartwheelv1.File_cartwheel_v1_register_proto, cartwheelv1.File_cartwheel_v1_blob_proto,
		cartwheelv1.File_cartwheel_v1_map_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				path := "/" + string(service.FullName()) + "/" + string(service.Methods().Get(j).Name())
				c := &call{op: operationOf(path)}
				err := c.error(a.refusal())
				body := unaryBody(err, path, writer)
				all[path] = refusal{err, body, []string{strconv.Itoa(len(body))}}
			}
		}
	}
	return all
}

func (a *admission) refusal() *problem {
	return &problem{
		reason: cartwheelv1.ErrorDetail_REASON_OVERLOADED, limit: uint64(a.most), actual: uint64(a.most),
		text: "the node has as many requests to work on as it can (" + strconv.Itoa(a.most) + " at most); nothing was done",
	}
}

// unaryBody is what Connect's unary protocol sends for an error.
func unaryBody(err error, path string, writer *connect.ErrorWriter) []byte {
	r, _ := http.NewRequest(http.MethodPost, path, nil)
	r.Header.Set("Content-Type", "application/proto")
	to := &recorder{header: http.Header{}}
	_ = writer.Write(to, r, err)
	return to.Bytes()
}

type recorder struct {
	bytes.Buffer
	header http.Header
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}

var (
	jsonType   = []string{"application/json"}
	retryAfter = []string{"1"} // seconds: there is no less
	pushbackMs = []string{strconv.Itoa(pushback)}
)

func (no refusal) write(w http.ResponseWriter, r *http.Request, writer *connect.ErrorWriter) {
	h := w.Header()
	h[pushbackHeader] = pushbackMs
	switch kind := r.Header.Get("Content-Type"); {
	case kind == "application/proto" || kind == "application/json" || !writer.IsSupported(r):
		h["Content-Type"], h["Content-Length"], h["Retry-After"] = jsonType, no.size, retryAfter
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write(no.body)
	default:
		_ = writer.Write(w, r, no.err)
	}
}

// timeLeft is what the client gives a call, by the header of Connect or gRPC; 0
// where there is none or it is not understood, which the protocol's own handler
// refuses later.
func timeLeft(h http.Header) time.Duration {
	if ms := h.Get("Connect-Timeout-Ms"); ms != "" {
		n, err := strconv.ParseUint(ms, 10, 40)
		if err != nil {
			return 0
		}
		return time.Duration(n) * time.Millisecond
	}
	given := h.Get("Grpc-Timeout")
	if given == "" {
		return 0
	}
	unit := strings.IndexByte("numSMH", given[len(given)-1])
	n, err := strconv.ParseUint(given[:len(given)-1], 10, 27) // 8 digits
	if unit < 0 || err != nil {
		return 0
	}
	each := [...]time.Duration{time.Nanosecond, time.Microsecond, time.Millisecond, time.Second, time.Minute, time.Hour}[unit]
	if time.Duration(n) > math.MaxInt64/each {
		return 0 // as good as none
	}
	return time.Duration(n) * each
}
