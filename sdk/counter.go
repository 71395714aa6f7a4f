package cartwheel

import (
	"context"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Counter is a handle on a counter that is exact: concurrent increments all
// count, and one that is retried counts once. Should concurrent increments
// together leave int64, its value is the nearest end and Info.Saturated is set.
type Counter struct{ address }

// Counter returns a handle on the counter at bucket and key. An absent counter
// is 0.
func (db *DB) Counter(bucket, key string) *Counter {
	return &Counter{db.at(bucket, key)}
}

// With returns a handle with more options.
func (c *Counter) With(options ...CallOption) *Counter { return &Counter{c.with(options)} }

// Add increments by delta, which may be negative, and returns the value as the
// coordinator saw it just after. Get is the read to rely on.
func (c *Counter) Add(ctx context.Context, delta int64) (int64, error) {
	request := &cartwheelv1.CounterServiceAddRequest{Bucket: c.bucket, Key: c.key, Delta: delta}
	res, err := mutate(ctx, c.address, "counter.add", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.CounterServiceAddResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.CounterServiceAddResponse], error) {
			return e.counter.Add(ctx, connect.NewRequest(request))
		}
	})
	c.saturated(res.GetSaturated())
	return res.GetValue(), err
}

// CounterValue is what a read of a counter shows.
type CounterValue struct {
	Value     int64
	Saturated bool      // it went past int64, and is the nearest end
	ExpiresAt time.Time // nothing of it is shown from then on; parts may go before; zero for never
}

// Get reads the value.
func (c *Counter) Get(ctx context.Context) (int64, error) {
	shown, err := c.Read(ctx)
	return shown.Value, err
}

// Read reads the value and what there is to say about it.
func (c *Counter) Read(ctx context.Context) (CounterValue, error) {
	request := &cartwheelv1.CounterServiceGetRequest{Bucket: c.bucket, Key: c.key}
	res, err := read(ctx, c.address, "counter.get", nil, func(options *cartwheelv1.ReadOptions) invoke[cartwheelv1.CounterServiceGetResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.CounterServiceGetResponse], error) {
			return e.counter.Get(ctx, connect.NewRequest(request))
		}
	})
	c.saturated(res.GetSaturated())
	return CounterValue{Value: res.GetValue(), Saturated: res.GetSaturated(), ExpiresAt: expiresAt(res.GetExpiresAtMs())}, err
}

// Reset takes away what a read now shows, and returns that. Increments that run
// beside it count on from 0.
func (c *Counter) Reset(ctx context.Context) (int64, error) {
	request := &cartwheelv1.CounterServiceResetRequest{Bucket: c.bucket, Key: c.key}
	res, err := mutate(ctx, c.address, "counter.reset", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.CounterServiceResetResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.CounterServiceResetResponse], error) {
			return e.counter.Reset(ctx, connect.NewRequest(request))
		}
	})
	c.saturated(res.GetSaturated())
	return res.GetValue(), err
}
