package gossip

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Join meets the nodes at these addresses and exchanges facts with them; when it
// returns, those facts are in Facts and OnFacts has been told. It returns how
// many it reached. It fails if there was somebody else to reach and none was
// reached, and always with a [*ForeignError] if one of them belongs to another
// cluster or another shape, and with a [*TwinError] if one of them is this very
// node in another process.
func (g *Gossip) Join(addrs ...string) (reached int, err error) {
	var failed []error
	refused := false
	for _, addr := range addrs {
		err := g.join(addr)
		switch {
		case err == nil:
			reached++
		case errors.Is(err, errMyself):
			continue
		default:
			failed = append(failed, err)
			var foreign *ForeignError
			var twin *TwinError
			refused = refused || errors.As(err, &foreign) || errors.As(err, &twin)
		}
	}
	g.settleNews()
	if len(failed) > 0 && (reached == 0 || refused) {
		return reached, fmt.Errorf("gossip: join reached %d of %d: %w", reached, len(addrs), errors.Join(failed...))
	}
	return reached, nil
}

var errMyself = errors.New("gossip: that is this node")

// join asks who is there before it talks: with another cluster's key there
// would be nothing to understand.
func (g *Gossip) join(addr string) error {
	theirs, err := g.door.ask(addr)
	if err != nil {
		return fmt.Errorf("join %s: %w", addr, err)
	}
	if err := g.self.admit(theirs, addr); err != nil {
		return err
	}
	if theirs.Node == g.self.Node {
		if theirs.Boot != g.self.Boot {
			return &TwinError{Addr: addr, Theirs: theirs, Ours: g.self}
		}
		return errMyself
	}
	if _, err := g.list.Join([]string{addr}); err != nil {
		return fmt.Errorf("join node %s at %s (has it the same cluster secret?): %w", theirs.Node, addr, err)
	}
	return nil
}

// settleNews waits until everything that has come in has been told.
func (g *Gossip) settleNews() {
	done := make(chan struct{})
	select {
	case g.settle <- done:
		<-done
	case <-g.stop:
	}
}

// A split heals only if somebody dials across. The loop looks at whom to dial
// several times within the shortest wait, and dials a few at once so that one
// address that swallows packets does not hold up the rest.
const (
	looksPerWait = 4
	dialsAtOnce  = 8
)

// lost is somebody to be found again.
type lost struct {
	addr string
	wait time.Duration
	next time.Time
	busy bool
}

func (g *Gossip) keepRejoining() {
	ticks := time.NewTicker(g.config.RejoinMin / looksPerWait)
	defer ticks.Stop()
	seeds := slices.Clone(g.config.Seeds)
	var mu sync.Mutex // guards seeds and the entries of missing
	missing := make(map[string]*lost)
	slots := make(chan struct{}, dialsAtOnce)
	for {
		select {
		case <-ticks.C:
		case <-g.stop:
			return
		}
		mu.Lock()
		wanted := append(g.lostPeers(), seeds...)
		for addr, l := range missing {
			if !slices.Contains(wanted, addr) && !l.busy {
				delete(missing, addr) // it is back: should it be lost again, the wait starts anew
			}
		}
		for _, addr := range wanted {
			l := missing[addr]
			if l == nil {
				l = &lost{addr: addr, wait: g.config.RejoinMin}
				missing[addr] = l
			}
			if l.busy || time.Now().Before(l.next) {
				continue
			}
			select {
			case slots <- struct{}{}:
			default:
				continue
			}
			l.busy = true
			g.loops.Go(func() {
				err := g.join(addr)
				mu.Lock()
				defer mu.Unlock()
				<-slots
				if err == nil || errors.Is(err, errMyself) {
					seeds = slices.DeleteFunc(seeds, func(seed string) bool { return seed == addr })
				} else {
					g.log.Debug("rejoin", "addr", addr, "wait", l.wait, "err", err)
				}
				// Half of the wait by chance, lest both halves of a split knock in step.
				l.next = time.Now().Add(l.wait/2 + rand.N(l.wait/2+1))
				l.wait = min(2*l.wait, g.config.RejoinMax)
				l.busy = false
			})
		}
		mu.Unlock()
	}
}

// lostPeers are the addresses of known peers that are not up and that no fact
// has sent away for good.
func (g *Gossip) lostPeers() []string {
	gone := make(map[ring.NodeID]bool)
	for _, f := range g.Facts().All() {
		if f.Kind == ring.Left || f.Kind == ring.Replaced {
			gone[f.Node] = true
		}
	}
	var addrs []string
	for _, p := range g.Peers() {
		if !p.Up && !gone[p.ID] && !slices.Contains(addrs, p.GossipAddr) {
			addrs = append(addrs, p.GossipAddr)
		}
	}
	return addrs
}
