package cartwheel

import (
	"context"
	"slices"
	"strings"
	"sync"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Session is what one client has written and been shown of one value. A call
// within it is answered from a state that holds all of that, or fails with
// SessionUnmet: the client reads its own writes, and nothing that it has read
// once goes away again by itself.
//
// Every handle begins a session of its own. Handles made from it by With share
// it, and so may others on the same value: see InSession. A session may be used
// by many goroutines; a call then sees what was written or shown by each call
// that had ended before it began.
//
// What was written with W(1) and lost with the only disk that held it stays in
// the session, which then cannot be honoured any more: Forget it.
type Session struct {
	mu     sync.Mutex
	tokens []string        // which together stand for all that was seen
	epoch  uint64          // how often it was forgotten
	busy   int             // calls under way
	next   []chan struct{} // calls that wait for one of them to end, in order
}

// maxTokens is how many tokens a node takes in one request.
const maxTokens = 32

// NewSession returns a session that goes on from the token of another, made by
// Session.Token in this or another process; from an empty one it begins anew.
func NewSession(token string) *Session {
	s := &Session{}
	if token != "" {
		s.tokens = strings.Split(token, tokenSeparator)
	}
	return s
}

// tokenSeparator occurs in no token.
const tokenSeparator = "."

// Token returns the session as text, to be kept in a cookie or handed to another
// process. It is bound to the type, bucket and key of the handle. The empty text
// is that of a session that has seen nothing.
func (s *Session) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.tokens, tokenSeparator)
}

// Forget begins the session anew. Calls that are under way leave nothing in it.
func (s *Session) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = nil
	s.epoch++
}

// A reply's token covers the tokens of its request. So the tokens that a call
// took along are replaced by that of its reply, and those which other calls have
// brought meanwhile stay beside it:
//
//	seen {a}   ├─ call 1 takes a ────────────────────▶ brings b    seen {c, b}
//	           ├─ call 2 takes a ─────▶ brings c                   seen {c}
//	                                         └─ call 3 takes c …   brings d: seen {b, d}
//
// A token stays until the first call that began after its coming has ended. All
// that come in between are of calls that were under way already, so there are
// never more tokens than calls at the same time, and those are bounded.

// turn is one call's part in a session; that of no session is nil.
type turn struct {
	session *Session
	tokens  []string
	epoch   uint64
}

// begin waits until fewer calls are under way than a request can carry tokens.
func (s *Session) begin(ctx context.Context) (*turn, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy < maxTokens {
		s.busy++
	} else if err := s.queue(ctx); err != nil {
		return nil, err
	}
	return &turn{s, slices.Clone(s.tokens), s.epoch}, nil
}

// queue waits until a call has ended, and takes its place. The session is locked
// before and after, and not while it waits.
func (s *Session) queue(ctx context.Context) error {
	mine := make(chan struct{})
	s.next = append(s.next, mine)
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := slices.Index(s.next, mine); at >= 0 {
		s.next = slices.Delete(s.next, at, at+1)
	} else {
		s.pass() // it was given the place at the same time
	}
	return ctx.Err()
}

// pass gives the place of a call that has ended to the next.
func (s *Session) pass() {
	if len(s.next) == 0 {
		s.busy--
		return
	}
	close(s.next[0])
	s.next = s.next[1:]
}

// request is what the call takes along.
func (t *turn) request() *cartwheelv1.SessionTokens {
	if t == nil {
		return nil
	}
	return &cartwheelv1.SessionTokens{Tokens: t.tokens}
}

// end takes the token of the reply; without one, because the call failed or the
// session was too large for a token, all that was seen before stays.
func (t *turn) end(token string) {
	if t == nil {
		return
	}
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != "" && t.epoch == s.epoch {
		s.tokens = slices.DeleteFunc(s.tokens, func(seen string) bool { return seen == token || slices.Contains(t.tokens, seen) })
		s.tokens = append(s.tokens, token)
	}
	s.pass()
}

// Session returns the session of the handle, nil without one.
func (a address) Session() *Session { return a.settings.session }

// InSession makes a handle take part in the session of another handle on the
// same value, or in one of an earlier process; nil is none.
func InSession(session *Session) CallOption { return func(s *settings) { s.session = session } }

// NoSession makes a handle do without a session.
func NoSession() CallOption { return InSession(nil) }
