package cartwheel

import "time"

// ExpiresAt lets what mutations write last until a time on the clock of the
// cluster, to the millisecond; zero is for ever. Then it is no longer shown, and it
// is removed as by somebody who saw just that: what was written since stays. Members
// and changes of maps that have an expiry of their own keep it. With a mutation that
// writes nothing, such as a remove, it is refused.
func ExpiresAt(t time.Time) CallOption {
	return func(s *settings) {
		s.expires = func(*DB) time.Time { return t }
	}
}

// ExpiresIn is ExpiresAt so long after each call, by [DB.ServerTime]. To carry out
// an operation again by its id (see Operation), say the same time with ExpiresAt.
func ExpiresIn(d time.Duration) CallOption {
	return func(s *settings) {
		s.expires = func(db *DB) time.Time { return db.ServerTime().Add(d) }
	}
}

// until is the expiry of a mutation that is made now, for the wire.
func (s *settings) until(db *DB) uint64 {
	if s.expires == nil {
		return 0
	}
	return expiryMillis(s.expires(db))
}

// expiryMillis is a time for the wire, where 0 means never: the epoch and all before
// it become its first moment.
func expiryMillis(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(1, t.UnixMilli()))
}

func expiresAt(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}
