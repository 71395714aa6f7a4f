package cartwheel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Blob is a handle on bytes that the store never merges: concurrent puts stay
// side by side, as siblings, until somebody who was shown them puts one value
// in their place.
type Blob struct{ address }

// Blob returns a handle on the blob at bucket and key.
func (db *DB) Blob(bucket, key string) *Blob {
	return &Blob{db.at(bucket, key)}
}

// With returns a handle with more options.
func (b *Blob) With(options ...CallOption) *Blob { return &Blob{b.with(options)} }

// BlobValue is what a read of a blob shows.
type BlobValue struct {
	Siblings  [][]byte    // none for an absent blob, several after concurrent puts
	ExpiresAt []time.Time // of each of the siblings: no longer shown from then on; zero for never
	Context   Context     // covers exactly these
}

// Get reads all siblings.
func (b *Blob) Get(ctx context.Context) (BlobValue, error) {
	request := &cartwheelv1.BlobServiceGetRequest{Bucket: b.bucket, Key: b.key}
	res, err := read(ctx, b.address, "blob.get", nil, func(options *cartwheelv1.ReadOptions) invoke[cartwheelv1.BlobServiceGetResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.BlobServiceGetResponse], error) {
			return e.blob.Get(ctx, connect.NewRequest(request))
		}
	})
	value := BlobValue{Siblings: res.GetSiblings(), ExpiresAt: make([]time.Time, len(res.GetSiblings())), Context: Context(res.GetContext())}
	for i, at := range res.GetExpiresAtMs() {
		if i < len(value.ExpiresAt) {
			value.ExpiresAt[i] = expiresAt(at)
		}
	}
	return value, err
}

// Put writes the value in place of what the context showed, and beside all
// else; with an empty context it replaces nothing. The new context covers the
// value, so that the same writer may put again without reading.
func (b *Blob) Put(ctx context.Context, value []byte, shown Context) (Context, error) {
	request := &cartwheelv1.BlobServicePutRequest{Bucket: b.bucket, Key: b.key, Value: value, Context: string(shown)}
	res, err := mutate(ctx, b.address, "blob.put", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.BlobServicePutResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.BlobServicePutResponse], error) {
			return e.blob.Put(ctx, connect.NewRequest(request))
		}
	})
	return Context(res.GetContext()), err
}

// Delete removes the siblings that a read now shows. A put that runs beside it
// survives.
func (b *Blob) Delete(ctx context.Context) error { return b.DeleteWith(ctx, "") }

// DeleteWith removes exactly the siblings that the context showed.
func (b *Blob) DeleteWith(ctx context.Context, shown Context) error {
	request := &cartwheelv1.BlobServiceDeleteRequest{Bucket: b.bucket, Key: b.key, Context: string(shown)}
	_, err := mutate(ctx, b.address, "blob.delete", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.BlobServiceDeleteResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.BlobServiceDeleteResponse], error) {
			return e.blob.Delete(ctx, connect.NewRequest(request))
		}
	})
	return err
}

// Update reads the blob, puts what resolve makes of its siblings in their
// place, and looks again: while there are siblings, it starts over with them.
// It returns the value that then stands alone: its own, or one that somebody
// made who was shown its own; none if they deleted it.
//
// resolve is called with no siblings for an absent blob, and may be called
// several times; its own earlier value is then among the siblings. So it must
// be a merge: resolving what is resolved already changes nothing. An error of
// resolve ends the update and is returned as it is. If the deadline passes
// after a put was stored, the error is ErrSiblings.
func (b *Blob) Update(ctx context.Context, resolve func(siblings [][]byte) ([]byte, error)) ([]byte, error) {
	ctx, cancel := b.db.inTime(ctx)
	defer cancel()
	shown, err := b.Get(ctx)
	if err != nil {
		return nil, err
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		value, err := resolve(shown.Siblings)
		if err != nil {
			return nil, err
		}
		if _, err := b.Put(ctx, value, shown.Context); err != nil {
			return nil, err
		}
		// Others may be at it. Those who resolve in step make siblings of each
		// other for ever, so look again after a while of one's own: by then it
		// may be done, and if not, what there is now is what to resolve.
		for _, wait := range []time.Duration{0, rand.N(pause)} {
			sleep(ctx, wait)
			if shown, err = b.Get(ctx); err != nil {
				return value, fmt.Errorf("cartwheel: blob.update %s/%s: %w: %w", b.bucket, b.key, ErrSiblings, err)
			}
			switch len(shown.Siblings) {
			case 0:
				return nil, nil
			case 1:
				return shown.Siblings[0], nil
			}
		}
	}
}
