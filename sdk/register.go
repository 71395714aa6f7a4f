package cartwheel

import (
	"context"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Register is a handle on a value where the last writer wins. Of concurrent
// writes all but one are discarded by definition; Concurrent shows those that
// lost, while they last.
type Register struct{ address }

// Register returns a handle on the register at bucket and key.
func (db *DB) Register(bucket, key string) *Register {
	return &Register{db.at(bucket, key)}
}

// With returns a handle with more options.
func (r *Register) With(options ...CallOption) *Register { return &Register{r.with(options)} }

// RegisterValue is what a read of a register shows.
type RegisterValue struct {
	Exists     bool // false for an absent register; an empty value exists
	Value      []byte
	Stamp      uint64    // when it was written, as a hybrid logical clock
	ExpiresAt  time.Time // no longer shown from then on; zero for never
	Context    Context   // covers the value and its concurrent losers
	Concurrent []Loser   // newest first; filled by Register.Concurrent only
}

// Loser is a concurrent write that lost.
type Loser struct {
	Value []byte
	Stamp uint64
}

// Set writes the value.
func (r *Register) Set(ctx context.Context, value []byte) error {
	request := &cartwheelv1.RegisterServiceSetRequest{Bucket: r.bucket, Key: r.key, Value: value}
	_, err := mutate(ctx, r.address, "register.set", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.RegisterServiceSetResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.RegisterServiceSetResponse], error) {
			return e.register.Set(ctx, connect.NewRequest(request))
		}
	})
	return err
}

// Get reads the value.
func (r *Register) Get(ctx context.Context) (RegisterValue, error) { return r.get(ctx, false) }

// Concurrent reads the value together with the concurrent ones that lost to it.
func (r *Register) Concurrent(ctx context.Context) (RegisterValue, error) { return r.get(ctx, true) }

func (r *Register) get(ctx context.Context, withConcurrent bool) (RegisterValue, error) {
	request := &cartwheelv1.RegisterServiceGetRequest{Bucket: r.bucket, Key: r.key, WithConcurrent: withConcurrent}
	res, err := read(ctx, r.address, "register.get", nil, func(options *cartwheelv1.ReadOptions) invoke[cartwheelv1.RegisterServiceGetResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.RegisterServiceGetResponse], error) {
			return e.register.Get(ctx, connect.NewRequest(request))
		}
	})
	if err != nil {
		return RegisterValue{}, err
	}
	value := RegisterValue{Exists: res.GetExists(), Value: res.GetValue(), Stamp: res.GetStamp(), ExpiresAt: expiresAt(res.GetExpiresAtMs()), Context: Context(res.GetContext())}
	for _, loser := range res.GetConcurrent() {
		value.Concurrent = append(value.Concurrent, Loser{Value: loser.GetValue(), Stamp: loser.GetStamp()})
	}
	return value, nil
}

// Delete removes what a read now shows. A set that runs beside it survives.
func (r *Register) Delete(ctx context.Context) error { return r.DeleteWith(ctx, "") }

// DeleteWith removes exactly what the context showed.
func (r *Register) DeleteWith(ctx context.Context, shown Context) error {
	request := &cartwheelv1.RegisterServiceDeleteRequest{Bucket: r.bucket, Key: r.key, Context: string(shown)}
	_, err := mutate(ctx, r.address, "register.delete", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.RegisterServiceDeleteResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.RegisterServiceDeleteResponse], error) {
			return e.register.Delete(ctx, connect.NewRequest(request))
		}
	})
	return err
}
