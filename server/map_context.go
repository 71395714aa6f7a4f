package server

import (
	"bytes"
	"slices"
	"strings"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/crdt/pack"
	"github.com/cartwheel-db/cartwheel/dvv"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Dots alone do not say what a client was shown of a counter: its entry is a running
// total, of which a dot names the last step. So the context of a map carries, beside
// the dots, the reset of each counter shown: that which takes back just what was
// shown, and nothing that was added since.
//
//	dots ─── bytes of a clock │ counters ─── array of (path, reset), in order of paths
type mapContext struct {
	dots     dvv.Clock
	counters []shownCounter // sorted by path, each once
}

// shownCounter is the encoded path of a counter, and its reset.
type shownCounter struct {
	path  string
	reset crdt.Payload
}

func comparePaths(a, b shownCounter) int { return strings.Compare(a.path, b.path) }

func (m mapContext) binary() []byte {
	b := pack.AppendBytes(nil, m.dots.AppendBinary(nil))
	b = pack.AppendArray(b, len(m.counters))
	for _, s := range m.counters {
		b = pack.AppendBytes(pack.AppendString(b, s.path), s.reset)
	}
	return b
}

// decodeMapContext reads what binary wrote, and no other spelling of it.
func decodeMapContext(b []byte) (m mapContext, err error) {
	r := pack.NewReader(b)
	dots := r.Bytes(dvv.MaxTokenPayload)
	if r.Err() == nil {
		if err := m.dots.UnmarshalBinary(dots); err != nil {
			return mapContext{}, err
		}
	}
	last := ""
	for range r.Array() {
		s := shownCounter{r.String(crdt.MaxPath), crdt.Payload(bytes.Clone(r.Bytes(dvv.MaxTokenPayload)))}
		if r.Err() != nil {
			break
		}
		path, err := crdt.DecodePath(s.path)
		switch {
		case err != nil:
			return mapContext{}, err
		case path.Kind != crdt.CounterField || s.path <= last:
			r.Fail("%v after %q where a counter belongs", path, last)
		case s.reset.Kind() != crdt.KindReset:
			r.Fail("%v where the reset of a counter belongs", s.reset.Kind())
		default:
			if err := s.reset.Check(crdt.Counter); err != nil {
				return mapContext{}, err
			}
		}
		m.counters, last = append(m.counters, s), s.path
	}
	if err := r.Close(); err != nil {
		return mapContext{}, err
	}
	return m, nil
}

// join takes in what else the client was shown.
func (m *mapContext) join(o mapContext) error {
	m.dots.Join(o.dots)
	all := slices.Concat(m.counters, o.counters)
	slices.SortStableFunc(all, comparePaths)
	kept := all[:0]
	for _, s := range all {
		last := len(kept) - 1
		if last < 0 || kept[last].path != s.path {
			kept = append(kept, s)
			continue
		}
		// Shown twice, as it was at two times: a reset of both is one of the later of
		// each actor's totals.
		both := crdt.Row{Live: []crdt.Live{{Dot: dvv.Dot{Actor: 1, Seq: 1}, Payload: kept[last].reset}, {Dot: dvv.Dot{Actor: 1, Seq: 2}, Payload: s.reset}}}
		tally, err := both.Tally()
		if err != nil {
			return err
		}
		reset, _ := tally.Reset()
		kept[last].reset = reset.Payload()
	}
	m.counters = kept
	return nil
}

// reset returns what takes back what was shown of a counter, nil for nothing.
func (m *mapContext) reset(path string) crdt.Payload {
	at, found := slices.BinarySearchFunc(m.counters, path, func(s shownCounter, path string) int { return strings.Compare(s.path, path) })
	if !found {
		return nil
	}
	return m.counters[at].reset
}

// purposeMap tells the contexts of maps from those of one list of dots.
const purposeMap = "map context"

// A map that takes several pages to show has several contexts. Joined by dots, which
// occur in no token, they are one.
const (
	contextSeparator = "."
	maxContexts      = 32
)

// dotsPart is how many dots go into one token when they do not all fit: at their
// worst they take three quarters of it.
const dotsPart = dvv.MaxTokenPayload / maxDotBytes * 3 / 4

// parts takes a context apart into as many as tokens hold, in order.
func (m mapContext) parts() (all []mapContext) {
	var part mapContext
	var size int
	if dots := len(m.dots.AppendBinary(nil)); dots <= dvv.MaxTokenPayload/2 {
		part.dots, size = m.dots, dots
	} else {
		n := 0
		for d := range m.dots.Dots() {
			if n == dotsPart {
				all, part, n = append(all, part), mapContext{}, 0
			}
			part.dots.Add(d)
			n++
		}
		size = len(part.dots.AppendBinary(nil))
	}
	const room = 16 // of the lists' lengths, and of each string's
	for _, s := range m.counters {
		each := len(s.path) + len(s.reset) + room
		if size+each+room > dvv.MaxTokenPayload {
			all, part, size = append(all, part), mapContext{}, 0
		}
		part.counters = append(part.counters, s)
		size += each
	}
	return append(all, part)
}

// sealMap returns the context of a map: one token, or several joined where one does
// not hold it.
func (c *call) sealMap(m mapContext) (string, *problem) {
	parts := m.parts()
	if n := len(parts); n > maxContexts {
		return "", tooLarge(maxContexts, n, "the context of what is shown takes %d tokens, limit %d: ask for fewer fields, or by the page", n, maxContexts)
	}
	tokens := make([]string, len(parts))
	for i := range parts {
		token, err := c.backend.Sealer().Seal(c.scope(purposeMap), parts[i].binary())
		if err != nil {
			return "", c.badContext(err)
		}
		tokens[i] = token
	}
	return strings.Join(tokens, contextSeparator), nil
}

// openMap returns what the contexts of a client showed of the map, nil for none.
func (c *call) openMap(given string) (*mapContext, *problem) {
	if given == "" {
		return nil, nil
	}
	if n := strings.Count(given, contextSeparator) + 1; n > maxContexts {
		return nil, tooLarge(maxContexts, n, "context: %d tokens, limit %d", n, maxContexts)
	}
	var all mapContext
	for token := range strings.SplitSeq(given, contextSeparator) {
		payload, err := c.backend.Sealer().Open(c.scope(purposeMap), token)
		if err != nil {
			return nil, c.badContext(err)
		}
		one, err := decodeMapContext(payload)
		if err == nil {
			err = all.join(one)
		}
		if err != nil {
			return nil, &problem{reason: cartwheelv1.ErrorDetail_REASON_CONTEXT_MALFORMED, text: "context: there is nothing in it that a context could have: " + err.Error()}
		}
	}
	return &all, nil
}

// coveringMap returns the context of an update's reply, as [call.covering] does: what
// it wrote and removed, and of a client that chains updates what it was shown before,
// as far as that is small. The update has happened: nothing fails it any more.
func (c *call) coveringMap(written dvv.Clock, given *mapContext) (string, *problem) {
	reply := mapContext{dots: written}
	if given != nil {
		both := mapContext{dots: written.Clone(), counters: given.counters}
		both.dots.Join(given.dots)
		if len(both.binary()) <= maxChained {
			reply = both
		}
	}
	token, p := c.sealMap(reply)
	if p != nil && p.reason == cartwheelv1.ErrorDetail_REASON_TOO_LARGE {
		return c.sealMap(mapContext{})
	}
	return token, p
}
