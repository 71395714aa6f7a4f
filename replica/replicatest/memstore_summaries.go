package replicatest

import (
	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/replica"
)

func (v *MemView) Expiring(p int, until int64, fn func(at int64, a crdt.Address) bool) error { return nil }

func (v *MemView) Summary(p int, k crdt.Key) (s replica.Summary, found bool, err error) { return }

func (t *MemTx) PutSummary(p int, k crdt.Key, s replica.Summary) error { return nil }
