package replicatest

import (
	"fmt"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// Dump returns the canonical bytes of what all replicas of a partition must
// agree on after quiet: clock, rows and deferred clears. Logs and remembered
// operations differ between replicas and are left out.
func Dump(v replica.View, p int) ([]byte, error) {
	c, stored, err := v.Clock(p)
	if err != nil {
		return nil, err
	}
	out := crdt.AppendClock(pack.AppendBool(nil, stored), c)
	err = v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
		out = crdt.AppendRow(pack.AppendBytes(out, a.AppendBinary(nil)), r)
		return true
	})
	if err != nil {
		return nil, err
	}
	out = append(out, 0xff) // no row begins with it
	err = v.AllDead(p, func(k crdt.Key, dots dvv.Clock) bool {
		out = crdt.AppendClock(pack.AppendBytes(out, k.AppendPrefix(nil)), dots)
		return true
	})
	return out, err
}

// DumpText is everything of a partition in words, logs and remembered operations
// included, for the message of a test that failed.
func DumpText(v replica.View, p int) string {
	var b strings.Builder
	note := func(err error) {
		if err != nil {
			fmt.Fprintf(&b, "  error: %v\n", err)
		}
	}
	c, stored, err := v.Clock(p)
	fmt.Fprintf(&b, "partition %d stored=%t clock %v\n", p, stored, c)
	note(err)
	note(v.AllRows(p, nil, func(a crdt.Address, r crdt.Row) bool {
		fmt.Fprintf(&b, "  row %q %v\n", a.String(), r)
		return true
	}))
	note(v.AllDead(p, func(k crdt.Key, dots dvv.Clock) bool {
		fmt.Fprintf(&b, "  dead %q %v\n", k.String(), dots)
		return true
	}))
	note(v.Log(p, c, func(g crdt.Group, size int) bool {
		fmt.Fprintf(&b, "  log %v op %v, %d bytes\n", g, g.Op, size)
		return true
	}))
	note(v.AllRemembered(p, crdt.Operation{}, func(m crdt.Remembered) bool {
		fmt.Fprintf(&b, "  operation %v answered %d\n", m, m.Answer)
		return true
	}))
	return b.String()
}

// Dump is [Dump] of what is committed. A store in memory has no errors to report
// but a payload that a test planted malformed; it panics on it.
func (m *MemStore) Dump(p int) []byte {
	b, err := Dump(m.View(), p)
	if err != nil {
		panic(fmt.Sprintf("replicatest: dump partition %d: %v", p, err))
	}
	return b
}

// DumpText is [DumpText] of what is committed.
func (m *MemStore) DumpText(p int) string { return DumpText(m.View(), p) }
