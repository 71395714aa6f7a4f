package replica_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
)

func TestSetScenarios(t *testing.T) {
	all := []scenario{
		{"S1 a removal wins over a copy of what it saw, though that copy knows more", crdt.Set, `
			A add bar; B add baz; A -> C; B -> C
			A remove bar; A <> C; show A C : baz; same A C`},
		{"S5 a concurrent add wins over a removal", crdt.Set, `
			A add x; A <> B; c := ctx A
			A remove x with c; B add x; A <> B; show A B : x`},
		{"S7 a member removed and added again survives a second removal under the same context", crdt.Set, `
			A add x; A <> B; c := ctx A
			B remove x with c; B add x; A remove x with c; A <> B; show A B : x; dots A x 1`},
		{"S9 old state brings nothing back and doubles nothing", crdt.Set, `
			A add x; s := A; A remove x; A add x; s -> A; show A : x; dots A x 1`},
		{"S11 a batch keeps its order, with a context", crdt.Set, `
			A add a; A add b; c := ctx A; A batch -b +b with c; show A : a b; A -> B; show B : a b; dots B b 1`},
		{"S11 a batch keeps its order, without a context", crdt.Set, `
			A add a; A add b; A batch -b +b; show A : a b; A -> B; show B : a b; dots B b 1`},
		{"S11 a batch does what its changes do one by one", crdt.Set, `
			A add a; A add b; A remove b; A add b; show A : a b; A -> B; show B : a b; dots B b 1`},
		{"S11 a batch that adds and then removes leaves nothing", crdt.Set, `
			A batch +b -b; show A : ; A -> B; show B : ; clean B`},
		{"S13 adding one member again and again leaves a dot per actor", crdt.Set, `
			A add x; B add x; C add x; A add x; B add x; C add x; A add x; B add x; C add x
			sync A B C; show A B C : x; dots A x 3; A add x; dots A x 3; same B C`},

		{"X1 a removal at a replica that lags behind its context waits for what it names", crdt.Set, `
			A add a; A add b; A <> B; A add c; A add d; A add e; c := ctx A
			B remove d with c; show B : a b; A <> B; show A B : a b c e; clean A B; same A B`},
		{"X3 a removal through an empty fallback spares what was added after its context", crdt.Set, `
			P add x; c := ctx P; P add x; F remove x with c; F -> P; show P : x; dots P x 1`},
		{"X5 a removal kills the dots of its context and no others", crdt.Set, `
			A add x; c := ctx A; B add x; A -> P; B -> P; P remove x with c; show P : x; dots P x 1`},
		{"X7 a removal without a context spares an add that its read did not show", crdt.Set, `
			A add x; A -> B; A -> C; B add x; A remove x reading A C; sync A B C; show A B C : x`},
		{"X7 a removal without a context kills what its read showed, unknown to its coordinator", crdt.Set, `
			A add x; A -> B; A -> C; B add x; C remove x reading B C; sync A B C; show A B C : ; clean A B C`},
		{"X7 removing an absent member succeeds and writes nothing", crdt.Set, `
			A remove x; B add y; A <> B; show A B : y; clean A B`},
		{"X9 a removal and a clear that both wait are both honoured", crdt.Set, `
			A add a; c := ctx A; N remove a with c; N clear with c; A -> N; show N : ; clean N`},
		{"X13 a context outlives a restart", crdt.Set, `
			A add x; c := ctx A; A restart; A remove x with c; show A : `},
		{"X a context of several members waits at one of them and disturbs no other", crdt.Set, `
			A add x; A add y; c := ctx A; B remove x with c; show B : ; A -> B; show B : y; clean B`},

		{"T1 a clear and a concurrent add leave the add", crdt.Set, `
			A add a b; A add c d; A <> B; c := ctx A; A clear with c; B add e; A <> B; show A B : e; same A B`},
		{"T1 a clear without a context kills what its read showed", crdt.Set, `
			A add a b; A -> B; B add c; A clear reading A B; C add e; sync A B C; show A B C : e; clean A B C`},
		{"T3 a clear under an old context spares what came later", crdt.Set, `
			A add a; c := ctx A; B add z; sync A B; A clear with c; sync A B; show A B : z`},
		{"T7 a clear acknowledged by two reaches the third when it returns", crdt.Set, `
			A add a b; sync A B C; A clear; A -> B; B -> C; show A B C : ; C -> A; show A : ; clean A B C`},
		{"T19 a refreshed member outlives the removal of its former time", crdt.Set, `
			A add x until 10; A <> B; c := ctx A; A remove x with c; B add x until 20; A <> B; show A B : x; expires A x 20; expires B x 20`},
		{"T19 of concurrent refreshes the later deadline counts", crdt.Set, `
			A add x until 20; B add x until 30; A <> B; expires A x 30; expires B x 30`},

		{"A1 a lost disk means a new actor: blind adds lose nobody's", crdt.Set, `
			A add bob; A add phil; A <> B; A wipe; A add jon; A <> B; show A B : bob jon phil`},
		{"A9 dots of the lost store stay known", crdt.Set, `
			A add x; A -> B; c := ctx A; A wipe; B -> A; A remove x with c; A add y; A -> B; show A B : y`},
	}
	for _, order := range []string{"A C B", "A B C", "B A C", "B C A", "C A B", "C B A"} {
		into := ""
		for _, name := range strings.Fields(order) {
			into += name + " -> M;"
		}
		all = append(all, scenario{"S3 two copies of a member, each removed where it was known, are gone: " + order, crdt.Set,
			`A add z; A -> C; A remove z; B add z; B -> A; B remove z;` + into + `show M : ; clean M`})
	}
	for _, order := range []string{"A A B C", "B A C", "C B A A", "A B A C B", "C A B"} {
		into := ""
		for _, name := range strings.Fields(order) {
			into += name + " -> M;"
		}
		all = append(all, scenario{"S15 merging is the same in every order, byte by byte: " + order, crdt.Set, `
			A add x y; B add x; B -> C; C remove x; A -> B; C add y; c := ctx B; B batch -x +z with c
			N remove x with c; N -> A; D clear with c; D -> C; sync A B C W;` + into + `A -> M; same M W; clean M`})
	}
	playAll(t, all)
}

func TestCounterScenarios(t *testing.T) {
	playAll(t, []scenario{
		{"C1 both sides of a split count on, and agree afterwards", crdt.Counter, `
			A inc 1; B inc 10; C inc -1; D inc -2; sync A B C D; show A B C D : 8
			A inc 5; C inc -2; sync A B; sync C D; show A B : 13; show C D : 6; sync A B C D; show A B C D : 11; same A B C D`},
		{"C3 old state changes nothing, however often it comes", crdt.Counter, `
			A inc 5; s := A; A inc 5; s -> A; s -> A; show A : 10`},
		{"C5 a retry at another coordinator is counted once", crdt.Counter, `
			A inc 5 as op; B inc 5 as op; A inc 2; A <> B; show A B : 7; sync A B C; show A B C : 7; same A B C`},
		{"C5 a retry at the same coordinator is recognised", crdt.Counter, `
			A inc 5 as op; A inc 5 as op; A -> B; show A B : 5; B inc 5 as op; show B : 5`},
		{"C5 three coordinators and one operation count once", crdt.Counter, `
			A inc 5 as op; B inc 5 as op; C inc 5 as op; B -> A; C -> B; sync A B C; show A B C : 5`},
		{"C5 a repetition that a reset did not see does not count again", crdt.Counter, `
			A inc 5 as op; B inc 5 as op; A -> C; C reset; sync A B C; show A B C : 0`},
		{"C5 a repetition of which a reset saw both copies stays reset", crdt.Counter, `
			A inc 5 as op; B inc 5 as op; A <> B; A reset; A inc 1; sync A B C; show A B C : 1`},
		{"C9 an increment that a reset did not see survives it", crdt.Counter, `
			A inc 10; A -> B; A reset; B inc 3; A <> B; show A B : 3`},
		{"C9 so does one of the actor whose count was reset elsewhere", crdt.Counter, `
			A inc 10; A -> B; B reset; A inc 4; A <> B; show A B : 4`},
		{"C11 stale state does not undo a reset", crdt.Counter, `
			A inc 10; B inc -4; A <> B; s := A; A reset; A inc 1; s -> A; A <> B; show A B : 1`},
		{"C13 two concurrent resets take away once", crdt.Counter, `
			A inc 10; sync A B C; A reset; B reset; C inc 7; sync A B C; show A B C : 7`},
		{"C13 two resets of ten are nothing", crdt.Counter, `
			A inc 10; A -> B; A reset; B reset; A <> B; show A B : 0; A inc 1; B inc 2; A <> B; show A B : 3`},
		{"C15 a replica with the count from before the reset brings nothing back", crdt.Counter, `
			A inc 10; A -> D; A reset; sync A B C; A inc 1; D <> A; show A D : 1`},
		{"C a reset kills what its read showed, unknown to its coordinator", crdt.Counter, `
			A inc 10; B reset reading A B; show B : 0; A -> B; show B : 0; B -> A; show A : 0; clean A B`},
		{"A5 a restored backup loses no increment", crdt.Counter, `
			A inc 5; s := A; A inc 4; A -> B; A restore s; A inc 1; A <> B; show A B : 10`},
	})
}

func TestRegisterScenarios(t *testing.T) {
	playAll(t, []scenario{
		{"L1 the later of two concurrent writes is read", crdt.Register, `
			A assign v1 at 5; B assign v2 at 7; A <> B; show A B : v2; lost A v1; same A B`},
		{"L1 concurrent values that lost can be asked for, the latest first", crdt.Register, `
			A assign v1 at 5; B assign v3 at 9; C assign v2 at 7; sync A B C; lost A v2 v1; A assign v4 at 3; lost A; sync A B C; lost B; show C : v4`},
		{"L1 whichever replica wrote it", crdt.Register, `
			A assign v1 at 7; B assign v2 at 5; A <> B; show A B : v1; same A B`},
		{"L3 a write behind the clock of the one it follows is read", crdt.Register, `
			A assign old at 20000; A assign new at 10000; show A : new; A -> B; show B : new`},
		{"L3 and wins over a third one of the time between", crdt.Register, `
			A assign old at 20000; A -> B; B assign middle at 15000; A assign new at 10000; A <> B; C assign other at 15000; sync A B C; same A B C; B assign last at 9000; sync A B C; show A B C : last`},
		{"L5 a write from the future yields to the next that has seen it", crdt.Register, `
			A assign future at 86400000; A <> B; B assign next at 1000; A <> B; show A B : next`},
		{"T1 a delete and a concurrent write leave the write", crdt.Register, `
			A assign v; A -> B; A unset; B assign w; A <> B; show A B : w; same A B`},
		{"T3 a delete under an old context spares what came later", crdt.Register, `
			A assign v; c := ctx A; A -> B; B assign w; A <> B; A unset with c; A <> B; show A B : w`},
		{"T15 a write after a delete is seen and stays", crdt.Register, `
			A assign v; A unset; show A : ; A assign w; show A : w; A -> B; show B : w; A -> B; show B : w`},
	})
}

func TestBlobScenarios(t *testing.T) {
	playAll(t, []scenario{
		{"D1 two blind writes are siblings", crdt.Blob, `A put v1; A put v2; show A : v1 v2; A -> B; show B : v1 v2`},
		{"D5 old state does not bring back what was replaced", crdt.Blob, `
			A put v1; s := A; c := ctx A; A put v2 with c; s -> A; show A : v2`},
		{"D7 concurrent writes under one context are siblings", crdt.Blob, `
			A put v1; c := ctx A; A -> B; B put v2 with c; C put v3 with c; sync A B C; show A B C : v2 v3; same A B C; clean A`},
		{"D9 a write replaces what its context names and nothing else", crdt.Blob, `
			A put x; c := ctx A; B put y; A <> B; A put n with c; A <> B; show A B : n y`},
		{"D11 an old context is concurrency, not overwriting", crdt.Blob, `
			A put v1; c := ctx A; A put v2 with c; A put v3 with c; show A : v2 v3`},
		{"D13 one put that two coordinators took is one sibling", crdt.Blob, `
			A put v as op; B put v as op; A <> B; show A B : v; c := ctx A; A put w with c; A <> B; show A B : w`},
		{"T3 a delete under an old context spares what came later", crdt.Blob, `
			A put v; c := ctx A; A put w; A delete with c; show A : w`},
		{"T5 a delete that a fallback delivers late spares a later write", crdt.Blob, `
			A put v1; c := ctx A; A put v2 with c; d := ctx A; A put v3 with d; sync A B C
			e := ctx A; A delete with e; A -> B; A -> F; A put v; A -> B; F -> C; sync A B C; show A B C : v; same A B C`},
		{"T7 a delete acknowledged by two reaches the third when it returns", crdt.Blob, `
			A put v; sync A B C; A delete; A -> B; B -> C; show A B C : ; C -> A; show A : `},
		{"T13 deleting what never was writes nothing", crdt.Blob, `A delete; show A : ; clean A; same A B`},
		{"T15 a put after a delete is seen alone, and stays", crdt.Blob, `
			A put v; A delete; A put w; show A : w; A -> B; show B : w; B -> A; show A : w`},
		{"A1 a lost disk means a new actor: blind writes lose nobody's", crdt.Blob, `
			A put bob; A put phil; A <> B; A wipe; A put jon; A <> B; show A B : bob jon phil`},
		{"A3 what a lost primary had written reaches it through fallbacks in any order", crdt.Blob, `
			P put alice; P -> F1; c := ctx P; P put bob with c; d := ctx P; P put charlie with d; P -> F2
			Q put dave; Q -> F3; P wipe; F3 -> P; F1 -> Q; Q -> P
			e := ctx P; P put emma with e; F2 -> P; sync P Q; show P Q : charlie emma; same P Q`},
	})
}

func TestTwoClientsThatInterleaveNinetyNineWritesNeverSeeMoreThanTwoSiblings(t *testing.T) {
	for _, w := range []way{byLog, bySnapshot, byEvent} {
		t.Run(string(w), func(t *testing.T) {
			s := play(t, w, scenario{kind: crdt.Blob, steps: "A put one0; one := ctx A; B put two0; two := ctx B; A <> B"})
			for i := 1; i < 50; i++ {
				s.say("A put one%d with one; A <> B; show B : one%d two%d", i, i, i-1)
				s.contexts["one"] = dvv.ClockOf(dvv.Dot{Actor: s.actors["A"].id, Seq: s.actors["A"].seq})
				s.say("B put two%d with two; A <> B; show A : one%d two%d", i, i, i)
				s.contexts["two"] = dvv.ClockOf(dvv.Dot{Actor: s.actors["B"].id, Seq: s.actors["B"].seq})
			}
		})
	}
}

func (s *stage) say(format string, args ...any) {
	for _, step := range strings.Split(fmt.Sprintf(format, args...), ";") {
		s.step = strings.TrimSpace(step)
		s.do(strings.Fields(s.step))
	}
}

// D17, A17: sixty actors and more touch one key over its life.
func TestSeventyRestartsMakeNoSiblingsAndOneClockEntryEach(t *testing.T) {
	for _, w := range []way{byLog, bySnapshot, byEvent} {
		t.Run(string(w), func(t *testing.T) {
			s := play(t, w, scenario{kind: crdt.Blob, steps: "A put v0"})
			for i := 1; i <= 70; i++ {
				s.say("A restart; c := ctx A; A put v%d with c; B -> A; A -> B; show A B : v%d", i, i)
			}
			if n := s.actors["B"].p.Clock().Actors(); n != 71 {
				t.Errorf("%d actors in the clock after 71 openings", n)
			}
			s.say("same A B")
		})
	}
}

// D15, D21: impossible by construction, and still the same on every replica.
func TestOneDotWithDifferentBytesKeepsBothInEveryMergeOrderAndIsCounted(t *testing.T) {
	group := func(value string) *crdt.Group {
		return &crdt.Group{Actor: 9, First: 1, Events: []crdt.Event{{Row: doc.Row(), Payload: crdt.BlobValue{Value: []byte(value)}.Payload()}}}
	}
	for _, w := range []way{bySnapshot, byEvent} {
		t.Run(string(w), func(t *testing.T) {
			s := play(t, w, scenario{kind: crdt.Blob})
			for name, value := range map[string]string{"A": "one", "B": "two"} {
				a := s.actor(name)
				s.commit(a, func(tx replica.Tx) { s.apply(a, tx, group(value)) })
			}
			a, b := s.actors["A"], s.actors["B"]
			if w == bySnapshot {
				before := a.store.Clone()
				s.install(b.store, a)
				s.install(before, b)
			} else {
				s.commit(a, func(tx replica.Tx) { s.apply(a, tx, group("two")) })
				s.commit(b, func(tx replica.Tx) { s.apply(b, tx, group("one")) })
			}
			s.say("show A B : one two; same A B")
			if a.p.Counts.Collisions != 1 || b.p.Counts.Collisions != 1 {
				t.Errorf("%d and %d collisions counted, want 1 each", a.p.Counts.Collisions, b.p.Counts.Collisions)
			}
		})
	}
}
