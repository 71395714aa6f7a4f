package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
)

func TestAPageIsLetInIfItsOriginIsNamed(t *testing.T) {
	for _, test := range []struct {
		name    string
		origins []string
		origin  string
		in      bool
	}{
		{"a node that names none", nil, "https://shop.example", false},
		{"an origin that is named", []string{"https://shop.example"}, "https://shop.example", true},
		{"another host", []string{"https://shop.example"}, "https://evil.example", false},
		{"another scheme", []string{"https://shop.example"}, "http://shop.example", false},
		{"another port", []string{"https://shop.example"}, "https://shop.example:8443", false},
		{"a host that only begins like it", []string{"https://shop.example"}, "https://shop.example.evil.example", false},
		{"any port of this machine", LoopbackOrigins, "http://localhost:5173", true},
		{"this machine by its address", LoopbackOrigins, "http://127.0.0.1:5173", true},
		{"this machine without a port", LoopbackOrigins, "http://localhost", true},
		{"a host that is not this machine", LoopbackOrigins, "http://localhost.evil.example:80", false},
		{"all", []string{"*"}, "https://evil.example", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			handler := crossOrigin(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }), test.origins)
			preflight := httptest.NewRequest(http.MethodOptions, "/cartwheel.v1.SetService/Add", nil)
			preflight.Header.Set("Origin", test.origin)
			preflight.Header.Set("Access-Control-Request-Method", "POST")
			preflight.Header.Set("Access-Control-Request-Headers", "connect-protocol-version,connect-timeout-ms,content-type")
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, preflight)
			if got := answer.Header().Get("Access-Control-Allow-Origin") != ""; got != test.in {
				t.Errorf("preflight let in: %v, want %v: %v", got, test.in, answer.Header())
			}
			if test.in && (asked != 0 || answer.Header().Get("Access-Control-Allow-Headers") == "" || answer.Header().Get("Access-Control-Max-Age") != "7200") {
				t.Errorf("a preflight reached the API %d times, and was answered %v", asked, answer.Header())
			}
			call := httptest.NewRequest(http.MethodPost, "/cartwheel.v1.SetService/Add", strings.NewReader(""))
			call.Header.Set("Origin", test.origin)
			answer = httptest.NewRecorder()
			handler.ServeHTTP(answer, call)
			exposed := strings.Contains(strings.ToLower(answer.Header().Get("Access-Control-Expose-Headers")), strings.ToLower(pushbackHeader))
			if exposed != test.in {
				t.Errorf("the page may read how long to wait: %v, want %v: %v", exposed, test.in, answer.Header())
			}
		})
	}
}

func TestAPreflightIsAnsweredByANodeThatHasNoRoom(t *testing.T) {
	full := newAdmission(1, time.Now)
	if !full.enter(t.Context(), 0, 0) {
		t.Fatal("no room for the first")
	}
	defer full.leave(0)
	handler := crossOrigin(admitting(http.NotFoundHandler(), full, connect.NewErrorWriter()), []string{"https://shop.example"})
	preflight := httptest.NewRequest(http.MethodOptions, "/cartwheel.v1.SetService/Add", nil)
	preflight.Header.Set("Origin", "https://shop.example")
	preflight.Header.Set("Access-Control-Request-Method", "POST")
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, preflight)
	if answer.Code != http.StatusNoContent {
		t.Errorf("status %d: %v", answer.Code, answer.Header())
	}
}

func TestOriginsThatNoBrowserSendsAreRefused(t *testing.T) {
	for _, good := range append([]string{"*", "https://shop.example", "https://*.shop.example", "http://10.0.0.1:8080"}, LoopbackOrigins...) {
		if err := CheckOrigin(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "shop.example", "https://shop.example/", "https://shop.example/path", "https://", "ftp://shop.example", "https://*.*.example", "null", "https://user@shop.example"} {
		if CheckOrigin(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
