package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// target carries out steps against the cluster.
type target interface {
	// load makes the value of a key as a run expects to find it.
	load(ctx context.Context, key int) error
	// do carries out a step and says how many members, siblings or numbers a
	// read gave.
	do(ctx context.Context, s step) (items int, err error)
}

func newTarget(w workload, db *cartwheel.DB, cfg Config) target {
	options := []cartwheel.CallOption{cartwheel.W(cfg.W), cartwheel.R(cfg.R)}
	if cfg.Fast {
		options = append(options, cartwheel.Fast())
	}
	at := place{db, w.bucket, options}
	switch w.bucket {
	case "bench-cart":
		return carts{at}
	case "bench-counter":
		return counters{at}
	default:
		b := blobs{place: at, size: cfg.ValueSize, seen: make([]atomic.Pointer[cartwheel.Context], cfg.Keys)}
		b.noise = make([]byte, 2*cfg.ValueSize)
		dice := rand.New(rand.NewPCG(cfg.Seed, 0))
		for i := range b.noise {
			b.noise[i] = byte(dice.Uint32())
		}
		return &b
	}
}

type place struct {
	db      *cartwheel.DB
	bucket  string
	options []cartwheel.CallOption
}

func keyName(key int) string { return fmt.Sprintf("k%07d", key) }

type carts struct{ place }

func (c carts) load(ctx context.Context, key int) error {
	members := make([]string, cartSize)
	for i := range members {
		members[i] = memberName(i)
	}
	return c.at(key).Add(ctx, members...)
}

func (c carts) do(ctx context.Context, s step) (items int, err error) {
	switch s.kind {
	case addMember:
		return 0, c.at(s.key).Add(ctx, memberName(s.member))
	case removeMember:
		return 0, c.at(s.key).Remove(ctx, memberName(s.member))
	case ask:
		_, err := c.at(s.key).Contains(ctx, memberName(s.member))
		return 0, err
	}
	for _, err := range c.at(s.key).Members(ctx) {
		if err != nil {
			return items, err
		}
		items++
	}
	return items, nil
}

func (c carts) at(key int) *cartwheel.Set {
	return c.db.Set(c.bucket, keyName(key)).With(c.options...)
}

func memberName(member int) string { return fmt.Sprintf("item-%02d", member) }

type counters struct{ place }

func (c counters) load(ctx context.Context, key int) error {
	_, err := c.do(ctx, step{kind: increment, key: key})
	return err
}

func (c counters) do(ctx context.Context, s step) (items int, err error) {
	counter := c.db.Counter(c.bucket, keyName(s.key)).With(c.options...)
	if s.kind == increment {
		_, err = counter.Add(ctx, 1)
		return 0, err
	}
	_, err = counter.Get(ctx)
	return 1, err
}

// blobs share what they were last shown of each key, as the clients of one
// application server would: an update replaces what was read or written last.
// Values are slices of noise, so no two in a row are alike or can be squeezed.
type blobs struct {
	place
	size  int
	noise []byte
	seen  []atomic.Pointer[cartwheel.Context]
}

func (b *blobs) load(ctx context.Context, key int) error {
	if _, err := b.do(ctx, step{kind: read, key: key}); err != nil {
		return err
	}
	_, err := b.do(ctx, step{kind: update, key: key})
	return err
}

func (b *blobs) do(ctx context.Context, s step) (items int, err error) {
	blob := b.db.Blob(b.bucket, keyName(s.key)).With(b.options...)
	var shown cartwheel.Context
	if s.kind == update {
		if last := b.seen[s.key].Load(); last != nil {
			shown = *last
		}
		from := rand.IntN(b.size + 1)
		shown, err = blob.Put(ctx, b.noise[from:from+b.size], shown)
	} else {
		var value cartwheel.BlobValue
		value, err = blob.Get(ctx)
		items, shown = len(value.Siblings), value.Context
	}
	if err == nil {
		b.seen[s.key].Store(&shown)
	}
	return items, err
}
