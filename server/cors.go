package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	connectcors "connectrpc.com/cors"
	"github.com/rs/cors"
)

// LoopbackOrigins are those of pages that come from this machine.
var LoopbackOrigins = []string{
	"http://localhost", "http://localhost:*", "https://localhost", "https://localhost:*",
	"http://127.0.0.1", "http://127.0.0.1:*", "https://127.0.0.1", "https://127.0.0.1:*",
	"http://[::1]", "http://[::1]:*", "https://[::1]", "https://[::1]:*",
}

// preflightAge is how long a browser remembers that it may call; no browser
// remembers it for longer.
const preflightAge = 2 * time.Hour

// crossOrigin lets pages of other origins call the API from browsers (CORS). A
// page learns nothing of a node that does not name its origin, and what it sends
// needs a preflight, which such a node answers without a yes: that is what keeps
// any page a user visits from reaching a node on the user's network.
//
// It lies outside admission, for a preflight is no work.
func crossOrigin(next http.Handler, origins []string) http.Handler {
	if len(origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: connectcors.AllowedMethods(),
		AllowedHeaders: connectcors.AllowedHeaders(),
		ExposedHeaders: append(connectcors.ExposedHeaders(), pushbackHeader),
		MaxAge:         int(preflightAge.Seconds()),
	}).Handler(next)
}

// CheckOrigin tells what is wrong with an origin for Config.Origins.
func CheckOrigin(origin string) error {
	if origin == "*" {
		return nil
	}
	// A * stands for a part of it, and may be the port.
	one := strings.Replace(origin, "*", "1", 1)
	u, err := url.Parse(one)
	whole := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && one == u.Scheme+"://"+u.Host
	if !whole || strings.Contains(one, "*") {
		return fmt.Errorf("origin %q: want scheme://host or scheme://host:port, in which one * stands for anything, or * for all", origin)
	}
	return nil
}
