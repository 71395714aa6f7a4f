package server

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// explained gives words to what Connect refuses without any: requests of people with
// curl who misspelt a path or left out a header. Those of programs pass untouched.
func explained(next http.Handler, refusal *connect.ErrorWriter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, apiPrefix) {
			next.ServeHTTP(w, r)
			return
		}
		if err := noProcedure(r.URL.Path); err != nil {
			_ = refusal.Write(w, r, connect.NewError(connect.CodeUnimplemented, err))
			return
		}
		kind := r.Header.Get("Content-Type")
		known := kind == "application/json" || kind == "application/proto" ||
			strings.HasPrefix(kind, "application/grpc") || strings.HasPrefix(kind, "application/connect+")
		if r.Method != http.MethodPost || !known {
			w = &wordless{w, r}
		}
		next.ServeHTTP(w, r)
	})
}

// wordless is a reply to which words are added if it is one of the empty refusals.
type wordless struct {
	http.ResponseWriter
	r *http.Request
}

func (w *wordless) WriteHeader(status int) {
	var why string
	switch status {
	case http.StatusMethodNotAllowed:
		why = fmt.Sprintf("%s is called by POST, with a JSON object as its body; this was a %s", operationOf(w.r.URL.Path), w.r.Method)
	case http.StatusUnsupportedMediaType:
		why = fmt.Sprintf("%s takes JSON under the header \"Content-Type: application/json\"; this had %q", operationOf(w.r.URL.Path), w.r.Header.Get("Content-Type"))
	default:
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.ResponseWriter.WriteHeader(status)
	_, _ = io.WriteString(w.ResponseWriter, why+"; nothing was done\n")
}

// Unwrap is for [http.ResponseController].
func (w *wordless) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// methods are those of each service.
var methods = func() map[string][]string {
	all := map[string][]string{}
	for _, service := range services {
		all[service] = nil
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if known, ok := d.(protoreflect.ServiceDescriptor); err == nil && ok {
			for i := range known.Methods().Len() {
				all[service] = append(all[service], string(known.Methods().Get(i).Name()))
			}
		}
	}
	return all
}()

// noProcedure says of a path which is no procedure what there is instead.
func noProcedure(path string) error {
	service, method, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	there, known := methods[service]
	switch {
	case slices.Contains(there, method):
		return nil
	case known:
		return fmt.Errorf("there is no %q here: %s has %s", shown(path, 64), service, strings.Join(there, ", "))
	}
	return fmt.Errorf("there is no %q here: the services are %s", shown(path, 64), strings.Join(services, ", "))
}
