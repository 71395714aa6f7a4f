package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// source is a file to replay. atStake is how many operations must have been cut
// short or repeated when a node dies.
type source struct {
	name    string
	path    string // empty for the sample
	atStake int64
}

// sources are the real files where the environment names them, and else the
// samples: those have some 40 customers, so fewer operations are ever in flight.
func sources() []source {
	list := []source{{"retail", os.Getenv("RETAIL"), 100}, {"groceries", os.Getenv("GROCERIES"), 100}}
	for i := range list {
		if list[i].path == "" {
			list[i].atStake = 20
		}
	}
	return list
}

// enough is several times what a replay of the full files takes. A cluster that
// makes no progress ends here, with its logs shown.
const enough = 2 * time.Minute

func TestThreeProcessesHoldWhatTheFileSays(t *testing.T) {
	endpoints := endpointsOf(startCluster(t))
	for _, source := range sources() {
		if !t.Run(source.name, func(t *testing.T) {
			// All the way a user goes: arguments in, figures and a verdict out.
			var out bytes.Buffer
			args := []string{"--endpoints", strings.Join(endpoints, ","), "--source", source.name, "--run", "calm"}
			limit, cancel := context.WithTimeout(t.Context(), enough)
			defer cancel()
			err := retail(limit, &out, &bytes.Buffer{}, args, os.Getenv)
			t.Logf("\n%s", &out)
			if err != nil {
				t.Fatal(err)
			}
		}) {
			return // the next would fare no better
		}
	}
}

func TestThreeProcessesHoldWhatTheFileSaysThoughOneIsKilledOnTheWay(t *testing.T) {
	for i, source := range sources() {
		if !t.Run(source.name, func(t *testing.T) {
			j, err := loadJob(source.name, source.path, "killed")
			if err != nil {
				t.Fatal(err)
			}
			members := startCluster(t)
			r := &replay{endpoints: endpointsOf(members), clients: 16, lanes: 8}
			// The one all others joined through, and another one.
			o := &outage{t: t, replay: r, victim: members[i%len(members)], steps: j.steps(), dead: make(chan struct{}), back: make(chan struct{})}
			r.progress = o.conduct
			var out bytes.Buffer
			limit, cancel := context.WithTimeout(t.Context(), enough)
			defer cancel()
			err = r.prove(limit, &out, &bytes.Buffer{}, j)
			if o.started.Load() {
				<-o.back // a replay that fails does not wait for it
			}
			t.Logf("%s: %s\n%s%s", j.name, j.about, &out, o)
			if err != nil {
				t.Error(err)
			}
			if atStake := o.inFlight + o.retriedLater(); atStake < source.atStake {
				t.Errorf("only %d operations were in flight or retried, want %d", atStake, source.atStake)
			}
			if got := o.after.Load(); got == 0 {
				t.Error("nothing was left to replay when the node was back")
			}
		}) {
			return // the next would fare no better
		}
	}
}

// outage kills a node when three tenths of the steps are done, starts it again at
// six, and lets the last two wait until it answers.
type outage struct {
	t      *testing.T
	replay *replay
	victim *member
	steps  int
	dead   chan struct{} // closed when the node is gone
	back   chan struct{} // closed when it answers again

	inFlight int64 // when it died
	killed   time.Time
	down     time.Duration
	after    atomic.Int64 // steps done after it was back
	started  atomic.Bool  // again, or about to be
}

func (o *outage) conduct(done int) {
	switch done {
	case o.steps * 3 / 10:
		o.inFlight, o.killed = o.replay.inFlight.Load(), time.Now()
		o.victim.kill()
		close(o.dead)
	case o.steps * 6 / 10:
		o.started.Store(true)
		go o.restart()
	}
	if done >= o.steps*8/10 {
		<-o.back
	}
	select {
	case <-o.back:
		o.after.Add(1)
	default:
	}
}

func (o *outage) restart() {
	defer close(o.back)
	<-o.dead // a short file may be here before the process is gone
	o.victim.start()
	limit, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	if err := await(limit, func() (bool, error) {
		_, err := statusOf(limit, o.victim.api)
		return err == nil, err
	}); err != nil {
		o.t.Errorf("%s did not come back: %v", o.victim.name, err)
	}
	o.down = time.Since(o.killed)
}

// retriedLater counts the retried operations that began after the kill. Those in
// flight then are counted already.
func (o *outage) retriedLater() int64 {
	n := int64(0)
	for _, operation := range o.replay.retried {
		if operation.began.After(o.killed) {
			n++
		}
	}
	return n
}

func (o *outage) String() string {
	return fmt.Sprintf("kill    %s with %d operations in flight; %d more were retried; it answered again after %.1f s, with %d of %d steps still to go",
		o.victim.name, o.inFlight, o.retriedLater(), o.down.Seconds(), o.after.Load(), o.steps)
}

func TestEveryKindOfDifferenceIsFound(t *testing.T) {
	members := startCluster(t)
	endpoints := endpointsOf(members)
	lines, err := parseOrders([]byte(heading + "1,mug,,2,,,7,\n1,kite,,1,,,7,\nC2,kite,,-1,,,7,\n"))
	if err != nil {
		t.Fatal(err)
	}
	j := newOrders("planted", lines)
	r := &replay{endpoints: endpoints, clients: 1, lanes: 1, progress: func(int) {}}
	if _, err := r.send(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	found := func() []difference {
		t.Helper()
		differences, _, err := compareEach(t.Context(), endpoints, j.want, 4, func() {})
		if err != nil {
			t.Fatal(err)
		}
		return differences
	}
	if differences := found(); len(differences) > 0 {
		t.Fatalf("before anything was planted: %v", differences)
	}
	db, err := cartwheel.Open(t.Context(), endpoints)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, plant := range []struct {
		at   address
		meet func(at address) error
	}{
		{run("planted").cart("7"), func(at address) error { return db.Set(at.bucket, at.key).Add(t.Context(), "kite") }},
		{run("planted").quantity("7", "mug"), func(at address) error {
			_, err := db.Counter(at.bucket, at.key).Add(t.Context(), 1)
			return err
		}},
		{run("planted").lastInvoice("7"), func(at address) error { return db.Register(at.bucket, at.key).Delete(t.Context()) }},
		{run("planted").invoice("1"), func(at address) error {
			_, err := db.Blob(at.bucket, at.key).Put(t.Context(), []byte("beside it"), "")
			return err
		}},
	} {
		before := len(found())
		if err := plant.meet(plant.at); err != nil {
			t.Fatal(err)
		}
		differences := found()
		if len(differences) != before+len(endpoints) {
			t.Errorf("%s: planted one, found %v", plant.at, differences)
		}
	}
}
