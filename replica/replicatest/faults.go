package replicatest

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/ring"
)

// faultKind is a way things go wrong.
type faultKind uint8

const (
	crash faultKind = iota
	tidyRestart
	crashInCommit
	blackout
	pause
	split
	oneWay
	lossy
	slowDisk
	diskError
	clockJump
	rumours
	wipe
	restore
	copied
	joining
	leaving
	replacing
	faultKinds
)

var faultNames = [faultKinds]string{"crash", "restart", "crash in commit", "blackout", "pause", "split", "one-way cut", "lossy network", "slow disk",
	"disk error", "clock jump", "rumours", "wiped disk", "restored backup", "copied store", "join", "leave", "replacement"}

func (k faultKind) String() string { return faultNames[k] }

// weights says how often each kind is tried.
var weights = [faultKinds]int{crash: 14, tidyRestart: 8, crashInCommit: 12, blackout: 2, pause: 8, split: 10, oneWay: 8, lossy: 6, slowDisk: 6,
	diskError: 4, clockJump: 5, rumours: 6, wipe: 8, restore: 6, copied: 3, joining: 20, leaving: 20, replacing: 20}

const minFaults = 5

// nemesis makes things go wrong, one after the other and on top of each other,
// until the clients are done.
type nemesis struct {
	w       *World
	count   int
	changed bool // the ring, already
}

func (f *nemesis) init(w *World) {
	f.w = w
	if w.opt.Fair {
		f.count = minFaults
		return
	}
	for _, n := range w.nodes {
		f.backUp(n)
	}
	f.schedule()
}

func (f *nemesis) done() bool { return f.count >= minFaults }

func (f *nemesis) schedule() {
	f.w.after(f.w.between(f.w.profile.faultEvery/4, 2*f.w.profile.faultEvery), func() {
		if f.w.quiet || f.w.frozen {
			return
		}
		f.strike()
		f.schedule()
	})
}

// backUp takes a copy of a node's store now and then.
func (f *nemesis) backUp(n *node) {
	f.w.after(f.w.between(second, 20*second), func() {
		if f.w.quiet {
			return
		}
		n.backup = n.store.Clone()
		f.backUp(n)
	})
}

func (f *nemesis) strike() {
	w := f.w
	sum := 0
	for _, n := range weights {
		sum += n
	}
	at := w.dice.IntN(sum)
	k := crash
	for at >= weights[k] {
		at -= weights[k]
		k++
	}
	n := w.nodes[w.dice.IntN(len(w.nodes))]
	if what := f.do(k, n); what != "" {
		f.count++
		w.report.Faults[k]++
		w.trace.note(w, faulted, n.at, n.at, fmt.Sprintf("%v: %s", k, what))
	}
}

// do does it, and says what, or nothing when it is not to be done now.
func (f *nemesis) do(k faultKind, n *node) string {
	w := f.w
	switch k {
	case crash:
		if !n.up {
			return ""
		}
		n.crash()
		w.after(w.between(20*ms, 12*second), n.restart)
	case tidyRestart:
		if !n.up || n.tx != nil || n.pausedUntil > w.now {
			return ""
		}
		n.close()
		w.after(w.between(20*ms, 3*second), n.restart)
	case crashInCommit, diskError:
		if !n.up {
			return ""
		}
		if k == diskError {
			n.doom = pick(w.dice, errorLost, errorDurable)
		} else {
			n.doom = pick(w.dice, crashBefore, crashBefore, crashAfter)
		}
		if w.chance(0.5) { // a long commit: much is under way when it comes to nothing
			n.slowUntil = w.now + second
		}
	case blackout:
		for _, o := range w.nodes {
			if o.up {
				o.crash()
				w.after(w.between(20*ms, 5*second), o.restart)
			}
		}
		return "all nodes"
	case pause:
		if !n.up {
			return ""
		}
		n.pause(w.now + w.between(50*ms, 6*second))
	case split:
		return f.split()
	case oneWay:
		to := w.dice.IntN(len(w.nodes))
		if to == n.at {
			return ""
		}
		f.cut([][2]int{{n.at, to}}, w.between(200*ms, 8*second))
		return fmt.Sprintf("%v to %v", n.id, nodeID(to))
	case lossy:
		w.net.lossy++
		w.after(w.between(second, 6*second), func() {
			if !w.quiet && !w.frozen {
				w.net.lossy--
			}
		})
		return "everywhere"
	case slowDisk:
		n.slowUntil = w.now + w.between(500*ms, 4*second)
	case clockJump:
		n.skew, n.jumped = w.between(-w.profile.skew, w.profile.skew+1), w.now
	case rumours:
		about := w.dice.IntN(len(w.nodes))
		if about == n.at {
			return ""
		}
		w.rumour(n.at, about, w.chance(0.3))
		w.after(w.between(second, 5*second), func() { w.tellPeer(n.at, about) })
		return fmt.Sprintf("%v about %v", n.id, nodeID(about))
	case wipe:
		return f.replaceStore(n, NewMemStore(), "nothing")
	case restore:
		if n.backup == nil {
			return ""
		}
		return f.replaceStore(n, n.backup.Clone(), "an older self")
	case copied:
		from := w.nodes[w.dice.IntN(len(w.nodes))]
		if from == n {
			return ""
		}
		return f.replaceStore(n, from.store.Clone(), string(from.id))
	case joining, leaving, replacing:
		return f.changeRing(k, n)
	}
	return string(n.id)
}

// changeRing is an operator's act. A profile has one node that may join, leave
// or be replaced by the newcomer, once.
func (f *nemesis) changeRing(k faultKind, n *node) string {
	w := f.w
	newcomer := nodeID(w.profile.nodes)
	fact := ring.Fact{Number: w.facts.Next(), Node: n.id}
	switch {
	case f.changed:
		return ""
	case k == joining && w.profile.newcomer && !w.profile.leaver:
		fact.Kind, fact.Node = ring.Joined, newcomer
		fact.PeerAddr, fact.APIAddr = addresses(w.profile.nodes)
	case k == leaving && w.profile.leaver && !w.profile.newcomer:
		fact.Kind = ring.Left
	case k == replacing && w.profile.leaver && w.profile.newcomer && n.id != newcomer:
		fact.Kind, fact.By = ring.Replaced, newcomer
		fact.PeerAddr, fact.APIAddr = addresses(w.profile.nodes)
	default:
		return ""
	}
	f.changed = true
	w.addFact(fact)
	f.spreadRing()
	return fact.String()
}

func (f *nemesis) spreadRing() {
	f.w.foldRing()
	for _, n := range f.w.nodes {
		f.w.after(f.w.between(0, 6*second), n.learnRing)
	}
}

func (f *nemesis) split() string {
	w := f.w
	side := make([]bool, len(w.nodes))
	var cuts [][2]int
	for i := range side {
		side[i] = w.chance(0.5)
	}
	left := ""
	for a := range side {
		if side[a] {
			left += string(nodeID(a)) + " "
		}
		for b := range side {
			if side[a] != side[b] {
				cuts = append(cuts, [2]int{a, b})
			}
		}
	}
	if len(cuts) == 0 {
		return ""
	}
	f.cut(cuts, w.between(300*ms, 12*second))
	return left + "from the rest"
}

func (f *nemesis) cut(links [][2]int, d int64) {
	w := f.w
	for _, l := range links {
		w.net.cuts[l[0]][l[1]]++
	}
	w.announce()
	w.after(d, func() {
		if w.quiet || w.frozen {
			return
		}
		for _, l := range links {
			w.net.cuts[l[0]][l[1]]--
		}
		w.announce()
	})
}

// replaceStore takes a node's disk away. The promise speaks of writes with
// surviving copies, so it waits until everything acknowledged, or about to be,
// has one elsewhere.
func (f *nemesis) replaceStore(n *node, with *MemStore, by string) string {
	w := f.w
	if !w.expendable(n, with) {
		return ""
	}
	n.crash()
	n.store = with
	w.wild++
	for _, part := range w.memory.parts {
		n.learnDurable(part.id) // a copied store may hold what the node never had
		w.release(part, by == "nothing")
	}
	w.after(w.between(20*ms, 3*second), n.restart)
	return fmt.Sprintf("%v comes back with %s", n.id, by)
}

// expendable tells whether every group that was acknowledged, or has enough
// copies to be, survives when the node's store is replaced.
func (w *World) expendable(n *node, with *MemStore) bool {
	for _, part := range w.memory.parts {
		mine := n.durableOf(part.id)
		if mine.IsEmpty() {
			continue
		}
		kept, _, err := with.View().Clock(part.id)
		if err != nil {
			w.fail("%v", err)
		}
		for _, k := range part.all {
			if !k.group.In(mine) || k.group.In(kept) || k.op == nil || !k.op.acked && copies(k.held) < k.op.w {
				continue
			}
			alive := false
			for _, o := range w.nodes {
				alive = alive || o != n && k.group.In(o.durableOf(part.id))
			}
			if !alive {
				return false
			}
		}
	}
	return true
}

func copies(held uint) int {
	n := 0
	for ; held != 0; held &= held - 1 {
		n++
	}
	return n
}
