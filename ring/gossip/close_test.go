package gossip

import (
	"net"
	"sync"
	"testing"
	"time"
)

func TestANodeThatIsLeftAndClosedByManyAtOnceEndsOnce(t *testing.T) {
	t.Parallel()
	a, w := start(t, fast("n1"))
	b, _ := start(t, fast("n2"))
	join(t, b, a.Addr())
	eventually(t, "both see each other", func() bool { return a.Alive("n2") && b.Alive("n1") })
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := b.Leave(10 * time.Second); err != nil {
				t.Errorf("leave: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	all.Wait()
	eventually(t, "n1 sees n2 leave", func() bool { return w.saw("n2", "up=false", "left") })
}

// Whoever does not answer is given up when the node stops, whatever it is asked.
func TestAnAddressThatSaysNothingDoesNotHoldUpAShutdown(t *testing.T) {
	for _, test := range []struct {
		name   string
		hellos int // that it answers, before it falls silent
	}{
		{"to the hello", 0},
		{"to memberlist", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var config net.ListenConfig
			listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()
			c := fast("n1")
			c.Seeds = []string{listener.Addr().String()}
			g, _ := start(t, c)
			answering := fast("n2").identity()
			for i := range test.hellos + 1 {
				conn, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				if i == test.hellos {
					break
				}
				if _, err := readHello(conn); err != nil {
					t.Fatal(err)
				}
				if err := writeHello(conn, answering); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > helloTimeout/2 {
				t.Errorf("took %v", took)
			}
		})
	}
}
