package server_test

import (
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

func TestEveryReplySaysHowItWasMade(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	var last uint64
	for i, r := range calls {
		t.Run(r.op, func(t *testing.T) {
			info, err := r.call(t.Context(), c, target{bucket: "carts", key: "42", stamp: last, replicas: 1})
			if err != nil {
				t.Fatal(err)
			}
			if info.GetCoordinator() != "n1" || info.GetDegraded() || info.GetStamp() < last || info.GetStamp() == 0 {
				t.Errorf("got %v after stamp %d", info, last)
			}
			if !r.mutation && info.GetReplicasAnswered() != 1 {
				t.Errorf("a read that says %d replicas answered", info.GetReplicasAnswered())
			}
			// fill made the first five requests.
			if seen := n.stampSeen(5 + i); uint64(seen) != last {
				t.Errorf("the node heard of stamp %d, the client sent %d", seen, last)
			}
			last = info.GetStamp()
		})
	}
}

func TestAContextGoesOnWithoutReadingForAsLongAsItStaysSmall(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	context, longest := "", 0
	put := func(context string) string {
		return must(c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "blobs", Key: "chain", Value: []byte("v"), Context: context}))).Msg.GetContext()
	}
	for range 2000 {
		context = put(context)
		longest = max(longest, len(context))
		// A neighbour in the same partition, so that the dots of the chain have gaps.
		n.mutate(t, replica.Mutation{Key: neighbour(n, "blobs", "chain"), Verb: replica.Add, Delta: 1})
	}
	if longest > 8<<10 || longest < 4<<10 {
		t.Errorf("the longest context has %d characters", longest)
	}
	if got := must(c.blob.Get(t.Context(), connect.NewRequest(&v1.BlobServiceGetRequest{Bucket: "blobs", Key: "chain"}))).Msg.GetSiblings(); len(got) != 1 {
		t.Errorf("%d siblings", len(got))
	}
}

// neighbour is a counter in the partition of another key.
func neighbour(n *single, bucket, key string) crdt.Key {
	k := crdt.Key{Type: crdt.Counter, Bucket: "neighbours"}
	for i := 0; ; i++ {
		if k.Name = fmt.Sprint("n", i); n.ring.Partition(k.Bucket, k.Name) == n.ring.Partition(bucket, key) {
			return k
		}
	}
}

func TestAContextTooWideForOneEventIsRefused(t *testing.T) {
	n := newSingle(t, 1)
	c := serve(t, n)
	fill(t, c)
	var wide dvv.Clock
	wide.AddRange(dvv.Actor(77), 1, 1<<40)
	token := must(n.sealer.SealContext(dvv.Scope{Purpose: dvv.PurposeContext, Type: uint8(crdt.Blob), Bucket: "carts", Key: "42"}, wide))
	before := n.dump()
	_, err := c.blob.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "carts", Key: "42", Context: token}))
	refused(t, err, "blob.put", want{code: connect.CodeInvalidArgument, reason: v1.ErrorDetail_REASON_TOO_LARGE, text: "limit 32768"})
	if after := n.dump(); after != before || !strings.Contains(before, "carts") {
		t.Errorf("before %s\nafter %s", before, after)
	}
}
