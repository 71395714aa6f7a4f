package merkle_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

// compare walks two trees as two peers would, and counts messages and sums sent.
func compare(t interface{ Fatal(...any) }, a, b *merkle.Tree) (leaves []int, messages, sums int) {
	step, turn := a.Open(), b
	for len(step.Indices) > 0 {
		messages++
		sums += len(step.Sums)
		next, found, err := turn.Descend(step)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, found...)
		step = next
		if turn == a {
			turn = b
		} else {
			turn = a
		}
	}
	return leaves, messages, sums
}

func TestAWalkFindsExactlyTheLeavesThatDiffer(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		n := sizes.Draw(t, "leaves")
		base := make([]merkle.Sum, n)
		for i := range base {
			if rapid.IntRange(0, 3).Draw(t, "used") == 0 {
				base[i] = key.Row(fmt.Append(nil, i))
			}
		}
		a, b := treeOf(base), treeOf(base)
		var want []int
		for i := range rapid.IntRange(0, 5).Draw(t, "changes") {
			leaf := rapid.IntRange(0, n-1).Draw(t, "leaf")
			if slices.Contains(want, leaf) {
				continue
			}
			a.Apply(leaf, merkle.Sum{}, key.Row(fmt.Append(nil, "new", i)))
			want = append(want, leaf)
		}
		slices.Sort(want)
		got, messages, _ := compare(t, a, b)
		if !slices.Equal(got, want) {
			t.Fatalf("found %v, want %v", got, want)
		}
		if back, _, _ := compare(t, b, a); !slices.Equal(back, want) {
			t.Fatalf("from the other side %v, want %v", back, want)
		}
		if messages > a.Levels() {
			t.Fatalf("%d messages for %d levels", messages, a.Levels())
		}
		found += len(got)
	})
	if found == 0 {
		t.Error("no tree ever differed")
	}
}

func TestWhatAWalkCosts(t *testing.T) {
	tests := []struct {
		name           string
		differ         []int
		messages, sums int
	}{
		{"equal trees of 1024 leaves cost one message of one sum", nil, 1, 1},
		{"one differing leaf of 1024 costs four messages and 37 sums", []int{517}, 4, 1 + 4 + 16 + 16},
		{"two leaves under one node cost no more than one", []int{512, 527}, 4, 1 + 4 + 16 + 16},
		{"two leaves far apart cost two paths", []int{0, 1023}, 4, 1 + 4 + 32 + 32},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := merkle.NewTree(1024), merkle.NewTree(1024)
			for _, leaf := range tt.differ {
				b.Set(leaf, merkle.Sum{1})
			}
			leaves, messages, sums := compare(t, a, b)
			if !slices.Equal(leaves, tt.differ) || messages != tt.messages || sums != tt.sums {
				t.Errorf("found %v in %d messages with %d sums", leaves, messages, sums)
			}
		})
	}
}

func TestAStepNoPeerWouldSendIsRefusedAndChangesNothing(t *testing.T) {
	zero := make([]merkle.Sum, 5000)
	tests := []struct {
		name string
		step merkle.Step
		want string
	}{
		{"a level above the root", merkle.Step{Level: -1, Indices: []int{0}, Sums: zero[:1]}, "merkle: compare level -1 of 4: no such level"},
		{"a level below the leaves", merkle.Step{Level: 4, Indices: []int{0}, Sums: zero[:1]}, "merkle: compare level 4 of 4: no such level"},
		{"more indices than nodes", merkle.Step{Level: 1, Indices: []int{0, 1, 2, 3, 4}, Sums: zero[:5]}, "merkle: compare level 1 of 4: 5 indices for 4 nodes"},
		{"fewer sums than indices", merkle.Step{Level: 1, Indices: []int{0, 1}, Sums: zero[:1]}, "merkle: compare level 1 of 4: 2 indices with 1 sums"},
		{"more sums than indices", merkle.Step{Level: 1, Indices: []int{0}, Sums: zero}, "merkle: compare level 1 of 4: 1 indices with 5000 sums"},
		{"a negative index", merkle.Step{Level: 1, Indices: []int{-1}, Sums: zero[:1]}, "merkle: compare level 1 of 4: index -1, want one from 0 to 3"},
		{"an index past the end", merkle.Step{Level: 3, Indices: []int{1024}, Sums: zero[:1]}, "merkle: compare level 3 of 4: index 1024, want one from 0 to 1023"},
		{"an index twice", merkle.Step{Level: 2, Indices: []int{7, 7}, Sums: zero[:2]}, "merkle: compare level 2 of 4: index 7, want one from 8 to 63"},
		{"indices out of order", merkle.Step{Level: 2, Indices: []int{7, 3}, Sums: zero[:2]}, "merkle: compare level 2 of 4: index 3, want one from 8 to 63"},
		{"the greatest index and one more", merkle.Step{Level: 3, Indices: []int{1<<63 - 1, 0}, Sums: zero[:2]}, "merkle: compare level 3 of 4: index 9223372036854775807, want one from 0 to 1023"},
	}
	tree := merkle.NewTree(1024)
	tree.Set(5, merkle.Sum{1})
	root := tree.Root()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, leaves, err := tree.Descend(tt.step)
			var refused *merkle.StepError
			if !errors.As(err, &refused) || err.Error() != tt.want {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if len(next.Indices)+len(next.Sums)+len(leaves) != 0 || tree.Root() != root {
				t.Errorf("answered %v, %v", next, leaves)
			}
		})
	}
}

func TestAStepDrawsItsSums(t *testing.T) {
	s := merkle.Step{Level: 2, Indices: []int{17, 18, 19}, Sums: []merkle.Sum{{0x5f, 0x0c, 0x0e, 0x1d}, {}}}
	if got, want := s.String(), "level 2: 17=5f0c0e1d 18=00000000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
