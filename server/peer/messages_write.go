package peer

import (
	"slices"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

// smallBytes is room for the fixed parts of any message.
const smallBytes = 96

// begin makes room once, since growing a buffer step by step copies the message several times, and writes the kind.
// size is an estimate of what has no fixed size.
func begin(b []byte, k kind, size int) []byte {
	return append(slices.Grow(b, smallBytes+size), byte(k))
}

func shipmentsSize(batch []replica.Shipment) int {
	n := 0
	for i := range batch {
		n += 8 + groupsSize(batch[i].Groups)
	}
	return n
}

func groupsSize(groups []crdt.Group) int {
	n := 0
	for i := range groups {
		n += groups[i].Bytes()
	}
	return n
}

func receiptsSize(batch []replica.Receipt) int {
	n := 0
	for i := range batch {
		n += 8 + 14*len(batch[i].Dots)
	}
	return n
}

func mutationSize(m *replica.Mutation) int {
	n := len(m.Key.Bucket) + len(m.Key.Name) + len(m.Value)
	for i := range m.Changes {
		n += 24 + len(m.Changes[i].Member) + len(m.Changes[i].Note) + len(m.Changes[i].Shown)
	}
	if m.Context != nil {
		n += clockSize(*m.Context)
	}
	return n
}

func answerSize(a *replica.Answer) int {
	n := clockSize(a.Clock) + clockSize(a.Dead)
	for i := range a.Rows {
		f := &a.Rows[i]
		n += 8 + len(f.Field) + 14*len(f.Row.Deferred)
		for j := range f.Row.Live {
			n += 20 + len(f.Row.Live[j].Payload)
		}
	}
	return n
}

func clockSize(c dvv.Clock) int { return 20 * c.Actors() }

func appendPartition(b []byte, p int) []byte { return pack.AppendUint(b, uint64(p)) }

// appendCount writes a number that is never negative; one that is all the same is refused by the reader.
func appendCount(b []byte, n int) []byte { return pack.AppendUint(b, uint64(n)) }

func appendGroups(b []byte, groups []crdt.Group) []byte {
	b = pack.AppendArray(b, len(groups))
	for i := range groups {
		b = crdt.AppendGroup(b, &groups[i])
	}
	return b
}

func appendReplicate(b []byte, m replica.Replicate) []byte {
	b = pack.AppendArray(b, len(m.Batch))
	for i := range m.Batch {
		b = appendGroups(appendPartition(b, m.Batch[i].Partition), m.Batch[i].Groups)
	}
	return b
}

// appendAcked keeps the order of dots: it is that in which groups became durable, not that of [dvv.Dot.Compare].
func appendAcked(b []byte, m replica.Acked) []byte {
	b = pack.AppendArray(b, len(m.Batch))
	for i := range m.Batch {
		b = pack.AppendArray(appendPartition(b, m.Batch[i].Partition), len(m.Batch[i].Dots))
		for _, d := range m.Batch[i].Dots {
			b = pack.AppendUint(pack.AppendUint(b, uint64(d.Actor)), d.Seq)
		}
	}
	return b
}

func appendForward(b []byte, m replica.Forward) []byte {
	b = appendMutation(pack.AppendUint(b, m.ID), &m.Mutation)
	return pack.AppendInt(appendCount(b, m.W), m.Left)
}

func appendKey(b []byte, k crdt.Key) []byte {
	b = pack.AppendUint(b, uint64(k.Type))
	return pack.AppendString(pack.AppendString(b, k.Bucket), k.Name)
}

func appendMutation(b []byte, m *replica.Mutation) []byte {
	b = pack.AppendUint(appendKey(b, m.Key), uint64(m.Verb))
	b = pack.AppendUint(crdt.AppendOperation(b, m.Op), m.Sum)
	b = pack.AppendArray(b, len(m.Changes))
	for i := range m.Changes {
		c := &m.Changes[i]
		b = pack.AppendBool(pack.AppendString(b, c.Member), c.Remove)
		b = pack.AppendBytes(pack.AppendUint(b, uint64(c.Expires)), c.Note)
		if m.Key.Type == crdt.Map {
			b = pack.AppendBytes(pack.AppendInt(b, c.Delta), c.Shown)
		}
	}
	b = pack.AppendUint(pack.AppendInt(pack.AppendBytes(b, m.Value), m.Delta), uint64(m.Expires))
	return appendMaybe(appendMaybe(b, m.Context), m.Session)
}

func appendMaybe(b []byte, c *dvv.Clock) []byte {
	if c == nil {
		return pack.AppendArray(b, 0)
	}
	return crdt.AppendClock(pack.AppendArray(b, 1), *c)
}

func appendForwarded(b []byte, m replica.Forwarded) []byte {
	res := &m.Result
	b = appendFailure(pack.AppendUint(b, m.ID), res.Failure)
	b = crdt.AppendClock(crdt.AppendClock(pack.AppendBool(b, res.Wrote), res.Context), res.Minted)
	b = pack.AppendString(pack.AppendInt(b, res.Answer), string(res.Coordinator))
	return pack.AppendBool(appendCount(b, res.Answers), res.Degraded)
}

func appendFailure(b []byte, f *replica.Failure) []byte {
	if f == nil {
		return pack.AppendArray(b, 0)
	}
	b = pack.AppendUint(pack.AppendArray(b, 5), uint64(f.Reason))
	b = appendCount(appendCount(b, f.Needed), f.Got)
	return pack.AppendString(pack.AppendBool(b, f.Unknown), f.Text)
}

func appendAsking(b []byte, m replica.Asking) []byte {
	b = appendPartition(pack.AppendUint(b, m.ID), m.Partition)
	b = pack.AppendArray(appendKey(b, m.Query.Key), len(m.Query.Fields))
	for _, f := range m.Query.Fields {
		b = pack.AppendString(b, f)
	}
	if s := m.Query.Span; s == nil {
		b = pack.AppendArray(b, 0)
	} else {
		b = pack.AppendString(pack.AppendArray(b, 5), s.Prefix)
		b = pack.AppendString(pack.AppendString(b, s.From), s.Until)
		b = appendCount(pack.AppendString(b, s.After), s.Limit)
	}
	b = pack.AppendUint(pack.AppendBool(b, m.Query.Every), uint64(max(0, m.Query.Count)))
	b = pack.AppendUint(b, uint64(max(0, m.MaxStale)))
	if !m.Hashed {
		return pack.AppendArray(b, 0)
	}
	return pack.AppendBytes(pack.AppendArray(b, 1), m.Hash[:])
}

func appendAnswered(b []byte, m replica.Answered) []byte {
	b = pack.AppendBool(pack.AppendBool(pack.AppendUint(b, m.ID), m.Ready), m.Failed)
	if m.Failed {
		return b
	}
	b = appendStaleness(pack.AppendBool(b, m.Same), m.Staleness)
	b = crdt.AppendClock(crdt.AppendClock(b, m.Answer.Clock), m.Answer.Dead)
	b = pack.AppendArray(pack.AppendUint(b, uint64(m.Answer.Type)), len(m.Answer.Rows))
	for i := range m.Answer.Rows {
		f := &m.Answer.Rows[i]
		b = crdt.AppendRow(pack.AppendString(b, f.Field), f.Row)
	}
	if b = pack.AppendBool(b, m.Answer.More); !m.Answer.Counted {
		return pack.AppendArray(b, 0)
	}
	return pack.AppendBytes(pack.AppendUint(pack.AppendArray(b, 2), m.Answer.Count), m.Answer.Sum[:])
}

func appendDigest(b []byte, m replica.Digest) []byte {
	b = pack.AppendArray(b, len(m.Batch))
	for i := range m.Batch {
		b = pack.AppendBytes(appendPartition(b, m.Batch[i].Partition), m.Batch[i].Print[:])
	}
	return b
}

func appendCatchUp(b []byte, m replica.CatchUp) []byte {
	return pack.AppendBool(crdt.AppendClock(appendPartition(b, m.Partition), m.Clock), m.Final)
}

func appendEvents(b []byte, m replica.Events) []byte {
	b = appendGroups(appendPartition(b, m.Partition), m.Groups)
	return pack.AppendBool(pack.AppendBool(pack.AppendBool(b, m.More), m.Gap), m.Report)
}

func appendOffer(b []byte, m replica.Offer) []byte {
	return pack.AppendUint(appendPartition(b, m.Partition), m.Ring)
}

func appendCoverage(b []byte, m replica.Coverage) []byte {
	return crdt.AppendClock(pack.AppendUint(appendPartition(b, m.Partition), m.Ring), m.Clock)
}

func appendNudge(b []byte, m replica.Nudge) []byte {
	return pack.AppendString(appendPartition(b, m.Partition), string(m.From))
}
