package server_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
	"github.com/cartwheel-db/cartwheel/server"
)

var update = flag.Bool("update", false, "write the golden files anew")

// post is what curl does.
func (c client) post(t testing.TB, path, body string) (status int, answer string) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+path, strings.NewReader(body)))
	req.Header.Set("Content-Type", "application/json")
	res := must(http.DefaultClient.Do(req)) // HTTP/1.1
	defer res.Body.Close()
	raw := must(io.ReadAll(res.Body))
	var flat bytes.Buffer // protojson varies its white space on purpose
	if err := json.Compact(&flat, raw); err != nil {
		t.Fatalf("%s: %v in %s", path, err, raw)
	}
	return res.StatusCode, flat.String()
}

func TestASessionWithCurlReadsAsItIsWrittenDown(t *testing.T) {
	n := newSingle(t, 1)
	n.health = make([]replica.Health, 4)
	for i := range n.health {
		n.health[i] = replica.Health{Partition: i, State: replica.Ready, Groups: 3, LogBytes: 300, Operations: 2}
	}
	c := serve(t, n)
	tokens := map[string]string{}
	field := regexp.MustCompile(`"(context|nextCursor|session)":"([^"]*)"`)
	var golden strings.Builder
	for _, step := range []struct{ path, body, keep string }{
		{"SetService/Add", `{"bucket":"carts","key":"42","members":[{"member":"milk"},{"member":"eggs","note":"c2l4"}]}`, ""},
		{"SetService/Members", `{"bucket":"carts","key":"42","limit":1}`, "PAGE"},
		{"SetService/Members", `{"bucket":"carts","key":"42","cursor":"{PAGE.nextCursor}"}`, ""},
		{"SetService/Contains", `{"bucket":"carts","key":"42","members":["milk","tea"]}`, ""},
		{"SetService/Update", `{"bucket":"carts","key":"42","changes":[{"add":{"member":"tea"}},{"remove":"eggs"}],"context":"{PAGE.context}"}`, ""},
		{"SetService/Remove", `{"bucket":"carts","key":"42","members":["milk"],"options":{"w":1}}`, ""},
		{"SetService/Size", `{"bucket":"carts","key":"42","options":{"fast":true}}`, ""},
		{"SetService/Clear", `{"bucket":"carts","key":"42"}`, ""},
		{"SetService/Members", `{"bucket":"carts","key":"42"}`, ""},
		{"CounterService/Add", `{"bucket":"hits","key":"home","delta":"5","options":{"operationId":"000102030405060708090a0b0c0d0e0f-1-1700000000000"}}`, ""},
		{"CounterService/Add", `{"bucket":"hits","key":"home","delta":"5","options":{"operationId":"000102030405060708090a0b0c0d0e0f-1-1700000000000"}}`, ""},
		{"CounterService/Add", `{"bucket":"hits","key":"home","delta":6,"options":{"operationId":"000102030405060708090a0b0c0d0e0f-1-1700000000000"}}`, ""},
		{"CounterService/Get", `{"bucket":"hits","key":"home"}`, ""},
		{"CounterService/Reset", `{"bucket":"hits","key":"home"}`, ""},
		{"RegisterService/Set", `{"bucket":"regs","key":"name","value":"Q2FydHdoZWVs"}`, ""},
		{"RegisterService/Get", `{"bucket":"regs","key":"name","withConcurrent":true}`, ""},
		{"RegisterService/Delete", `{"bucket":"regs","key":"name"}`, ""},
		{"RegisterService/Get", `{"bucket":"regs","key":"name"}`, ""},
		{"BlobService/Put", `{"bucket":"blobs","key":"b","value":"b25l"}`, ""},
		{"BlobService/Put", `{"bucket":"blobs","key":"b","value":"dHdv"}`, ""},
		{"BlobService/Get", `{"bucket":"blobs","key":"b"}`, "BOTH"},
		{"BlobService/Put", `{"bucket":"blobs","key":"b","value":"dGhyZWU=","context":"{BOTH.context}"}`, ""},
		{"BlobService/Get", `{"bucket":"blobs","key":"b"}`, ""},
		{"BlobService/Delete", `{"bucket":"blobs","key":"b"}`, ""},
		{"CounterService/Add", `{"bucket":"hits","key":"home","delta":"2","options":{"session":{}}}`, "MINE"},
		{"CounterService/Get", `{"bucket":"hits","key":"home","options":{"session":{"tokens":["{MINE.session}"]},"maxStalenessMs":"5000"}}`, ""},
		{"CounterService/Get", `{"bucket":"hits","key":"away","options":{"session":{"tokens":["{MINE.session}"]}}}`, ""},
		{"ClusterService/Status", `{}`, ""},
		{"ClusterService/Partitions", `{"from":1,"limit":1}`, ""},
		{"ClusterService/ForceReady", `{"partitions":[7]}`, ""},
		{"ClusterService/Members", `{}`, ""},
		{"ClusterService/Ring", `{}`, ""},
		{"ClusterService/Locate", `{"type":"DATA_TYPE_SET","bucket":"carts","key":"42"}`, ""},
		{"SetService/Add", `{"bucket":"carts","key":"","members":[{"member":"milk"}]}`, ""},
		{"SetService/Remove", `{"bucket":"carts","key":"43","members":["milk"],"context":"{PAGE.context}"}`, ""},
		{"SetService/Add", `{"bucket":"carts","key":"42","members":[{"member":"milk"}],"options":{"w":4}}`, ""},
		{"SetService/Add", `{"basket":"carts"}`, ""},
		{"grpc.health", `{}`, ""},
	} {
		path, body := "/cartwheel.v1."+step.path, step.body
		if step.path == "grpc.health" {
			path = "/grpc.health.v1.Health/Check"
		}
		for name, token := range tokens {
			body = strings.ReplaceAll(body, "{"+name+"}", token)
		}
		status, answer := c.post(t, path, body)
		if step.keep != "" {
			for _, m := range field.FindAllStringSubmatch(answer, -1) {
				tokens[step.keep+"."+m[1]] = m[2]
			}
		}
		fmt.Fprintf(&golden, "POST %s %s\n%d %s\n\n", path, step.body, status, answer)
	}
	file := filepath.Join("testdata", "session.golden")
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(must(os.ReadFile(file))); golden.String() != want {
		got, kept := strings.Split(golden.String(), "\n"), strings.Split(want, "\n")
		for i := range min(len(got), len(kept)) {
			if got[i] != kept[i] {
				t.Fatalf("line %d\ngot  %s\nwant %s", i+1, got[i], kept[i])
			}
		}
		t.Fatalf("%d lines, want %d", len(got), len(kept))
	}
}

func TestJSONThatIsMisspeltIsRefusedAndWritesNothing(t *testing.T) {
	c := serve(t, newSingle(t, 1))
	for _, step := range []struct{ name, body, says string }{
		{"a field that is not there", `{"bucket":"b","key":"k","amount":"3"}`, `unknown field \"amount\"`},
		{"where the fields are named", `{"bucket":"b","key":"k","amount":"3"}`, `its fields are in cartwheel/v1/counter.proto`},
		{"an option that is not there", `{"bucket":"b","key":"k","delta":"3","options":{"expires":"5"}}`, `unknown field \"expires\"`},
		{"a number in words", `{"bucket":"b","key":"k","delta":"three"}`, `invalid value for int64 field delta`},
		{"no JSON", `delta=3`, "syntax error"},
		{"nothing", ``, "an empty body"},
	} {
		t.Run(step.name, func(t *testing.T) {
			status, answer := c.post(t, "/cartwheel.v1.CounterService/Add", step.body)
			if status != http.StatusBadRequest || !strings.Contains(answer, step.says) {
				t.Errorf("%d %s, want %q", status, answer, step.says)
			}
		})
	}
	if _, answer := c.post(t, "/cartwheel.v1.CounterService/Get", `{"bucket":"b","key":"k"}`); strings.Contains(answer, `"value"`) {
		t.Errorf("after that: %s", answer)
	}
}

// What people with curl get wrong first.
func TestARequestThatIsNoCallIsToldWhatACallIs(t *testing.T) {
	c := serve(t, newSingle(t, 1))
	const add = "/cartwheel.v1.SetService/Add"
	for _, test := range []struct {
		name, method, path, kind, body string
		status                         int
		says                           []string
	}{
		{"a GET", "GET", add, "", "", 405, []string{"set.add is called by POST", "a GET", "nothing was done"}},
		{"no content type, as curl -d sends it", "POST", add, "application/x-www-form-urlencoded", "{}", 415, []string{"Content-Type: application/json", "x-www-form-urlencoded", "nothing was done"}},
		{"a method that is not there", "POST", "/cartwheel.v1.SetService/Put", "application/json", "{}", 501, []string{`no \"/cartwheel.v1.SetService/Put\" here`, "cartwheel.v1.SetService has Add, ", "unimplemented"}},
		{"a service that is not there", "POST", "/cartwheel.v1.ListService/Add", "application/json", "{}", 501, []string{"the services are cartwheel.v1.SetService, "}},
		{"a service without a method", "POST", "/cartwheel.v1.SetService", "application/json", "{}", 501, []string{"cartwheel.v1.SetService has Add, "}},
		{"a path of 1 MB", "POST", "/cartwheel.v1." + strings.Repeat("x", 1<<19), "application/json", "{}", 501, []string{"xxx…"}},
		{"text where bytes belong", "POST", "/cartwheel.v1.RegisterService/Set", "application/json", `{"bucket":"b","key":"k","value":"hello world"}`, 400, []string{"field value", "bytes in base64 belong", "cartwheel/v1/register.proto"}},
		{"a word where one of a few belongs", "POST", "/cartwheel.v1.ClusterService/Locate", "application/json", `{"bucket":"b","key":"k","type":"set"}`, 400, []string{"one of DATA_TYPE_SET, DATA_TYPE_COUNTER, "}},
		{"one deep in a list", "POST", "/cartwheel.v1.MapService/Update", "application/json", `{"bucket":"b","key":"k","changes":[{"field":"a","remove":"counter"}]}`, 400, []string{"one of FIELD_KIND_COUNTER, "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := must(http.NewRequestWithContext(t.Context(), test.method, c.url+test.path, strings.NewReader(test.body)))
			if test.kind != "" {
				req.Header.Set("Content-Type", test.kind)
			}
			res := must(http.DefaultClient.Do(req))
			defer res.Body.Close()
			body := string(must(io.ReadAll(res.Body)))
			if res.StatusCode != test.status || len(body) > 1000 {
				t.Errorf("%s, %d bytes: %.200s", res.Status, len(body), body)
			}
			for _, says := range test.says {
				if !strings.Contains(body, says) {
					t.Errorf("%s: want %q", body, says)
				}
			}
		})
	}
}

func TestHealthFollowsTheStateOfTheNode(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	const check = "/grpc.health.v1.Health/Check"
	for _, test := range []struct {
		name, state, service string
		status               int
		want                 string
	}{
		{"a ready node serves", server.Ready, "", 200, `"SERVING_STATUS_SERVING"`},
		{"each of its services does", server.Ready, "cartwheel.v1.BlobService", 200, `"SERVING_STATUS_SERVING"`},
		{"a node that catches up serves", server.Recovering, "", 200, `"SERVING_STATUS_SERVING"`},
		{"a starting node does not", server.Starting, "", 200, `"SERVING_STATUS_NOT_SERVING"`},
		{"nor does one that drains", server.Draining, "cartwheel.v1.SetService", 200, `"SERVING_STATUS_NOT_SERVING"`},
		{"an unknown service is not found", server.Ready, "cartwheel.v1.HeapService", 404, `"not_found"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			n.mu.Lock()
			n.state = test.state
			n.mu.Unlock()
			status, answer := c.post(t, check, fmt.Sprintf(`{"service":%q}`, test.service))
			if status != test.status || !strings.Contains(answer, test.want) {
				t.Errorf("got %d %s, want %d and %s", status, answer, test.status, test.want)
			}
		})
	}
}

func TestTheHandlerServesMoreThanTheServices(t *testing.T) {
	c := serve(t, newSingle(t, 1))
	for _, test := range []struct {
		name, path string
		status     int
		want       string
	}{
		{"the front page says what this is and what to paste", "/", 200, "/cartwheel.v1.SetService/Add"},
		{"metrics pass through", "/metrics", 200, "cartwheel_up 1"},
		{"anything else is not found", "/favicon.ico", 404, "not found"},
		{"a procedure is posted to", "/cartwheel.v1.SetService/Add", 405, "by POST"},
		{"reflection is there", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 405, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			res := must(c.http.Do(must(http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+test.path, nil))))
			defer res.Body.Close()
			body := string(must(io.ReadAll(res.Body)))
			if res.StatusCode != test.status || !strings.Contains(body, test.want) {
				t.Errorf("got %s %s", res.Status, body)
			}
			if test.path == "/" && strings.Count(body, "http://") != 1 {
				t.Errorf("no command to paste in %s", body)
			}
		})
	}
}
