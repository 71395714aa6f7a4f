package cartwheel_test

import (
	"errors"
	"regexp"
	"strconv"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

var operationID = regexp.MustCompile(`^([0-9a-f]{32})-([1-9][0-9]*)-([1-9][0-9]*)$`)

func TestOperationIDsAreIssuedOnTheClockOfTheServer(t *testing.T) {
	for _, ahead := range []time.Duration{0, 5 * time.Hour, -5 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			cluster, nodes := newCluster(t, 1)
			cluster.clock = func() time.Time { return time.Now().Add(ahead) }
			db := open(t, nodes)
			// Rounding to milliseconds and half a round trip are all it may be off.
			const slack = time.Second
			from := cluster.clock().Add(-slack)
			for range 3 {
				if err := db.Set("carts", "1").Add(t.Context(), "milk"); err != nil {
					t.Fatal(err)
				}
			}
			until := cluster.clock().Add(slack)
			client := ""
			for i, request := range cluster.requests("add") {
				parts := operationID.FindStringSubmatch(request.operationID)
				if parts == nil {
					t.Fatalf("operation id %q is not of the documented form", request.operationID)
				}
				if client == "" {
					client = parts[1]
				}
				if parts[1] != client || parts[2] != strconv.Itoa(i+1) {
					t.Errorf("id %d is %s, want client %s", i+1, request.operationID, client)
				}
				ms, err := strconv.ParseInt(parts[3], 10, 64)
				if issued := time.UnixMilli(ms); err != nil || issued.Before(from) || issued.After(until) {
					t.Errorf("issued at %v, outside of %v to %v", issued, from, until)
				}
			}
		})
	}
}

func TestTwoClientsNeverShareAnOperationID(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	for range 2 {
		if err := open(t, nodes).Set("carts", "1").Add(t.Context(), "milk"); err != nil {
			t.Fatal(err)
		}
	}
	added := cluster.requests("add")
	if operationID.FindStringSubmatch(added[0].operationID)[1] == operationID.FindStringSubmatch(added[1].operationID)[1] {
		t.Errorf("both went under %s", added[0].operationID)
	}
}

func TestAFreshOperationRefusedAsExpiredIsIssuedAgainUnderAClockAskedAnew(t *testing.T) {
	cluster, nodes := newCluster(t, 1)
	db := open(t, nodes)
	// The server's clock is set forward while the client is connected.
	cluster.mu.Lock()
	cluster.clock = func() time.Time { return time.Now().Add(time.Hour) }
	cluster.mu.Unlock()
	if got, err := db.Counter("stock", "1").Add(t.Context(), 3); got != 3 || err != nil {
		t.Fatalf("got %d, %v", got, err)
	}
	if arrived := cluster.requests("counter.add"); len(arrived) != 2 || arrived[0].operationID == arrived[1].operationID {
		t.Errorf("arrived: %+v", arrived)
	}
}

func TestARetryRefusedAsExpiredIsNeverIssuedAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		add  func(*testing.T, *cartwheel.DB, *fakeNode) error
	}{
		{"when an earlier attempt may have arrived", func(t *testing.T, db *cartwheel.DB, node *fakeNode) error {
			t.Helper()
			node.plant(counterAdd, cut)
			_, err := db.Counter("stock", "1").Add(t.Context(), 3)
			return err
		}},
		{"when the id was the caller's", func(t *testing.T, db *cartwheel.DB, _ *fakeNode) error {
			t.Helper()
			given := cartwheel.Operation("00112233445566778899aabbccddeeff-7-1000000000000")
			_, err := db.Counter("stock", "1").With(given).Add(t.Context(), 3)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster, nodes := newCluster(t, 1)
			db := open(t, nodes)
			cluster.mu.Lock()
			cluster.clock = func() time.Time { return time.Now().Add(time.Hour) }
			cluster.mu.Unlock()
			err := test.add(t, db, nodes[0])
			if !errors.Is(err, cartwheel.OperationExpired) || !errors.Is(err, cartwheel.ErrUnknownOutcome) {
				t.Errorf("got %v", err)
			}
			if arrived := cluster.requests("counter.add"); len(arrived) != 1 {
				t.Errorf("arrived %d times: %+v", len(arrived), arrived)
			}
			if got, err := db.Counter("stock", "1").Get(t.Context()); got != 0 || err != nil {
				t.Errorf("counted %d, %v", got, err)
			}
		})
	}
}
