package crdt_test

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// Mary adds milk at two replicas; Peter, who saw one of them, removes it there.
// What he did not see survives, and what he removed does not come back.
func ExampleJoin() {
	const a, b = dvv.Actor(1), dvv.Actor(2)
	first, second := dvv.Dot{Actor: a, Seq: 1}, dvv.Dot{Actor: b, Seq: 1}
	milk := crdt.Member{Note: []byte("milk")}.Payload()

	var here, there crdt.Side
	here.Clock.Add(first)
	here.Row.Apply(first, nil, milk, here.Clock, here.Dead)
	stale := crdt.Side{Row: here.Row.Clone(), Clock: here.Clock.Clone()}
	there.Clock.Add(second)
	there.Row.Apply(second, nil, milk, there.Clock, there.Dead)

	removal := dvv.Dot{Actor: a, Seq: 2}
	here.Clock.Add(removal)
	here.Row.Apply(removal, here.Row.Dots(), nil, here.Clock, here.Dead)
	fmt.Println("here  ", here.Row)
	fmt.Println("there ", there.Row)

	both, _ := crdt.JoinSides(here, there)
	fmt.Println("both  ", both.Row)
	again, _ := crdt.JoinSides(both, stale)
	fmt.Println("again ", again.Row)
	// Output:
	// here   live{}
	// there  live{b:1 member@0.0 note "milk"}
	// both   live{b:1 member@0.0 note "milk"}
	// again  live{b:1 member@0.0 note "milk"}
}
