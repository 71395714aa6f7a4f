package server

import (
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/dvv"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// A session is a clock in the hands of a client: what its next answer must
// cover. Nodes keep nothing of it.
//
//	tokens of the request ─▶ joined ─▶ the engine covers it ─▶ and what it read or wrote ─▶ token of the reply
//
// So a reply's token covers those of its request, and a client that gets replies
// to concurrent calls keeps each until a later call has taken it along.

// MaxSessionTokens is the most session tokens of one request: a client holds one
// for each call that it makes at the same time.
const MaxSessionTokens = 32

// begin opens the session that a request carries; a call that reads several
// times does it once. Without a session nothing is sealed: it is a hash over
// every reply.
func (c *call) begin(s *cartwheelv1.SessionTokens) *problem {
	if s == nil || c.session != nil {
		return nil
	}
	if n := len(s.GetTokens()); n > MaxSessionTokens {
		return &problem{reason: cartwheelv1.ErrorDetail_REASON_SESSION_INVALID, limit: MaxSessionTokens, actual: uint64(n),
			text: fmt.Sprintf("session: %d tokens, limit %d", n, MaxSessionTokens)}
	}
	var seen dvv.Clock
	for i, token := range s.GetTokens() {
		clock, err := c.backend.Sealer().OpenContext(c.scope(dvv.PurposeSession), token)
		if err != nil {
			p := c.badSession(err)
			if n := len(s.GetTokens()); n > 1 {
				p.in("token", i, n, "")
			}
			return p
		}
		seen.Join(clock)
	}
	c.session = &seen
	return nil
}

// covered is what the engine has to cover, nil for nothing. It is the engine's
// from then on.
func (c *call) covered() *dvv.Clock {
	if c.session == nil || c.session.IsEmpty() {
		return nil
	}
	seen := c.session.Clone()
	return &seen
}

// cover takes what was read or written into the session, and its token into the
// reply. A session too large for a token is told as such, for the call itself
// has succeeded; the client keeps what it had.
func (c *call) cover(dots dvv.Clock) *problem {
	if c.session == nil {
		return nil
	}
	c.session.Join(dots)
	token, err := c.backend.Sealer().SealContext(c.scope(dvv.PurposeSession), *c.session)
	switch {
	case errors.Is(err, dvv.ErrTokenTooLarge):
		c.info.Session, c.info.SessionOverflow = "", true
	case err != nil:
		return c.badSession(err)
	default:
		c.info.Session = token
	}
	return nil
}

// badSession says why a session token was refused.
func (c *call) badSession(err error) *problem {
	p := c.badToken("session", err)
	if p.reason != cartwheelv1.ErrorDetail_REASON_NOT_READY {
		p.reason = cartwheelv1.ErrorDetail_REASON_SESSION_INVALID
	}
	return p
}
