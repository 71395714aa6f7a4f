package server

import (
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// expiring lets what a mutation writes last as long as the options say. Members of
// a set keep an expiry of their own; the changes of a map have theirs already.
func expiring(o *cartwheelv1.WriteOptions, m *replica.Mutation) *problem {
	at, p := expiryOf(o.GetExpiresAtMs())
	if p != nil || at == 0 || m.Verb == replica.Edit {
		return p
	}
	switch m.Verb {
	case replica.Add, replica.Assign, replica.Put:
		m.Expires = at
		return nil
	case replica.Update:
		writes := false
		for i := range m.Changes {
			change := &m.Changes[i]
			if writes = writes || !change.Remove; !change.Remove && change.Expires == 0 {
				change.Expires = at
			}
		}
		if writes {
			return nil
		}
	}
	return invalidOption(0, uint64(at), "expires_at_ms is %d, and this writes nothing that could expire", at)
}
