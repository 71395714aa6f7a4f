package replica_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

// "Quorum not reached: how many of how many answered."
func TestAClientHearsHowManyAcknowledgedWhoeverCoordinated(t *testing.T) {
	for at := range 3 {
		for _, ms := range []int64{500, 1000} { // with time for one coordinator, and for two
			w := newTrio(t, nil)
			first, client := w.node(0), w.node(at)
			w.add(client, 1, 1, "milk", ms)
			for _, f := range sent[replica.Forward](client, first.id) {
				w.now += milli // on its way
				w.deliver(client, first, f)
			}
			w.commit(first)
			for range ms + 100 {
				w.pass(first, 1)
				if client != first {
					w.pass(client, 1)
				}
				for _, f := range sent[replica.Forwarded](first, client.id) {
					w.now += milli
					w.deliver(first, client, f)
				}
			}
			if len(client.reply) != 1 || client.reply[0].Result.Failure == nil {
				t.Fatalf("the client at %v hears %+v", client.id, client.reply)
			}
			if f := client.reply[0].Result.Failure; f.Needed != 2 || f.Got != 1 || !f.Unknown {
				t.Errorf("the client at %v hears %d of %d, unknown %t: %s", client.id, f.Got, f.Needed, f.Unknown, f.Text)
			}
		}
	}
}
