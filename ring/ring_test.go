package ring

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func joined(tb testing.TB, nodes ...string) Facts {
	tb.Helper()
	var s Facts
	for _, node := range nodes {
		id, zone, _ := strings.Cut(node, "@")
		if _, err := s.Add(Fact{Number: s.Next(), Kind: Joined, Node: NodeID(id), Zone: zone}); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func TestTheLifeOfAClusterInPictures(t *testing.T) {
	var b strings.Builder
	var facts Facts
	cfg := Config{Partitions: 32, Replicas: 3}
	before := fold(t, cfg, facts)
	for _, chapter := range []struct {
		prose string
		fact  Fact
	}{
		{"The first node owns everything.", Fact{Kind: Joined, Node: "n1"}},
		{"With two and three nodes everything is everywhere.", Fact{Kind: Joined, Node: "n2"}},
		{"", Fact{Kind: Joined, Node: "n3"}},
		{"A fourth takes a quarter, and only takes.", Fact{Kind: Joined, Node: "n4"}},
		{"4 -> 5 nodes, 32 partitions: no node owns two more than another (H11).", Fact{Kind: Joined, Node: "n5"}},
		{"n2 leaves: only what it owned moves.", Fact{Kind: Left, Node: "n2"}},
		{"n6 stands exactly where n4 stood.", Fact{Kind: Replaced, Node: "n4", By: "n6"}},
		{"A new address moves nothing.", Fact{Kind: Joined, Node: "n6", PeerAddr: "10.0.0.6:7001"}},
		{"n3 gets a bigger disk.", Fact{Kind: Joined, Node: "n3", Weight: 2}},
		{"n2 is not readmitted.", Fact{Kind: Joined, Node: "n2"}},
	} {
		chapter.fact.Number = facts.Next()
		facts.Merge(setOf(t, chapter.fact))
		after := fold(t, cfg, facts)
		if chapter.prose != "" {
			fmt.Fprintf(&b, "# %s\n", chapter.prose)
		}
		fmt.Fprintf(&b, "%v\nmoves %d\n%v\n", chapter.fact, len(Plan(before, after)), after)
		before = after
	}
	golden(t, "life.golden", b.String())
}

func TestZonesInPictures(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct {
		prose string
		nodes []string
	}{
		{"Two replicas, two zones: one in each, however lopsided the zones.", []string{"n1@a", "n2@a", "n3@a", "n4@b"}},
		{"Three zones: a node without a zone is one of its own.", []string{"n1@a", "n2@a", "n3@b", "n4"}},
		{"One zone is no zone.", []string{"n1@a", "n2@a", "n3@a"}},
	} {
		fmt.Fprintf(&b, "# %s\n%v\n", c.prose, fold(t, Config{Partitions: 16, Replicas: 2}, joined(t, c.nodes...)))
	}
	golden(t, "zones.golden", b.String())
}

func TestAKeyStaysInItsPartitionForEver(t *testing.T) {
	var b strings.Builder
	for _, key := range [][2]string{{"carts", "42"}, {"carts", "43"}, {"ab", "c"}, {"a", "bc"}, {strings.Repeat("b", 64), strings.Repeat("k", 1024)}} {
		for _, q := range []int{1, 2, 256, MaxPartitions} {
			fmt.Fprintf(&b, "%.8s/%.8s of %d: %d\n", key[0], key[1], q, Config{Partitions: q}.Partition(key[0], key[1]))
		}
	}
	golden(t, "partitions.golden", b.String())
	if n := testing.AllocsPerRun(100, func() { Config{}.Partition("carts", "42") }); n > 0 {
		t.Errorf("finding a partition allocates %v times", n)
	}
}

func TestKeysSpreadEvenlyOverPartitions(t *testing.T) {
	r := fold(t, Config{Partitions: 16}, Facts{})
	counts := make([]int, 16)
	for i := range 16000 {
		counts[r.Partition("carts", fmt.Sprint(i))]++
	}
	if slices.Min(counts) < 850 || slices.Max(counts) > 1150 {
		t.Errorf("1000 keys expected in each: %v", counts)
	}
}

func TestABadShapeIsRefusedWithTheNumbers(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Partitions: 100}, "100 partitions: must be a power of two"},
		{Config{Partitions: -256}, "-256 partitions"},
		{Config{Partitions: 1 << 17}, "131072 partitions"},
		{Config{Replicas: -1}, "-1 replicas"},
		{Config{Replicas: 65}, "65 replicas: must be within 1..64"},
	} {
		if _, err := Fold(c.cfg, Facts{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.cfg, err, c.want)
		}
	}
	if got := fold(t, Config{}, Facts{}).Config(); got != (Config{Partitions: 256, Replicas: 3}) {
		t.Errorf("defaults are %+v", got)
	}
}

func TestTheRingHashNamesShapeAndFactsAndSoAPlan(t *testing.T) {
	facts := joined(t, "n1", "n2", "n3")
	before := fold(t, Config{}, facts)
	if fold(t, Config{}, facts.Clone()).Hash() != before.Hash() {
		t.Error("same facts, another hash")
	}
	for _, other := range []*Ring{
		fold(t, Config{Partitions: 512}, facts),
		fold(t, Config{Replicas: 2}, facts),
		fold(t, Config{}, joined(t, "n1", "n2")),
	} {
		if other.Hash() == before.Hash() {
			t.Errorf("same hash for %v", other)
		}
	}

	// An operator looks at a plan for n4 (H9); meanwhile n3 leaves.
	withN4 := joined(t, "n1", "n2", "n3", "n4")
	shown := Plan(before, fold(t, Config{}, withN4))
	withN4.Merge(setOf(t, Fact{Number: 4, Kind: Left, Node: "n3"}))
	facts.Merge(setOf(t, Fact{Number: 4, Kind: Left, Node: "n3"}))
	now := fold(t, Config{}, facts)
	if now.Hash() == before.Hash() || slices.Equal(Plan(now, fold(t, Config{}, withN4)), shown) {
		t.Error("the plan no longer holds, and nothing shows it")
	}
}

func TestPlanListsWhatMoves(t *testing.T) {
	cfg := Config{Partitions: 4, Replicas: 1}
	one, two := fold(t, cfg, joined(t, "n1")), fold(t, cfg, joined(t, "n1", "n2"))
	for _, c := range []struct {
		name          string
		before, after *Ring
		want          string
	}{
		{"a first node gains all", nil, one, "[0: - -> n1 1: - -> n1 2: - -> n1 3: - -> n1]"},
		{"the last one loses all", one, nil, "[0: n1 -> - 1: n1 -> - 2: n1 -> - 3: n1 -> -]"},
		{"nothing moves", two, two, "[]"},
		{"a second takes half", one, two, fmt.Sprintf("[%d: n1 -> n2 %d: n1 -> n2]", two.PartitionsOf("n2")[0], two.PartitionsOf("n2")[1])},
	} {
		if got := fmt.Sprint(Plan(c.before, c.after)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTheActiveListMarksPrimariesAndFallbacks(t *testing.T) {
	r := fold(t, Config{Partitions: 1, Replicas: 3}, joined(t, "n1", "n2", "n3", "n4", "n5"))
	w := r.Walk(0)
	if len(w) != 5 {
		t.Fatalf("walk %v", w)
	}
	name := strings.NewReplacer("1st", string(w[0]), "2nd", string(w[1]), "3rd", string(w[2]), "4th", string(w[3]), "5th", string(w[4]))
	for _, c := range []struct{ story, down, want string }{
		{"all up: the owners", "", "1st 2nd 3rd"},
		{"an owner is down: the next of the walk stands in", "3rd", "1st 2nd 4th(for 3rd)"},
		{"the first owner is down: fallbacks come after owners", "1st", "2nd 3rd 4th(for 1st)"},
		{"so is its fallback", "1st 4th", "2nd 3rd 5th(for 1st)"},
		{"two down", "1st 3rd", "2nd 4th(for 1st) 5th(for 3rd)"},
		{"more down than there are others", "1st 2nd 3rd", "4th(for 1st) 5th(for 2nd)"},
		{"a down fallback nobody needs", "5th", "1st 2nd 3rd"},
		{"nobody is up", "1st 2nd 3rd 4th 5th", ""},
	} {
		down := strings.Fields(name.Replace(c.down))
		got := r.Active(0, func(id NodeID) bool { return !slices.Contains(down, string(id)) })
		if got.String() != name.Replace(c.want) {
			t.Errorf("%s: %v, want %s", c.story, got, name.Replace(c.want))
		}
	}
}

func TestTheWalkAsksFormerOwnersBeforeStrangersAndOtherZonesBeforeKnownOnes(t *testing.T) {
	cfg := Config{Partitions: 64, Replicas: 2}
	facts := joined(t, "n1@a", "n2@b")
	facts.Merge(joined(t, "n1@a", "n2@b", "n3@c", "n4@d", "n5@a", "n6@e", "n7@b", "n8@e"))
	r := fold(t, cfg, facts)
	formers, strangers := 0, 0
	for p := range cfg.Partitions {
		met := make(map[string]bool)
		repeated := false
		for k, id := range r.Walk(p) {
			m, _ := r.Node(id)
			// The first two nodes owned everything once, so whichever owns p no more follows next.
			was := id == "n1" || id == "n2"
			switch {
			case k < 2:
			case was:
				formers++
				if slices.ContainsFunc(r.Walk(p)[2:k], func(id NodeID) bool { return !slices.Contains(r.former[p], id) }) {
					t.Errorf("partition %d: %s owned it, and comes late in %v", p, id, r.Walk(p))
				}
			case !slices.Contains(r.former[p], id):
				strangers++
				if repeated && !met[m.Zone] {
					t.Errorf("partition %d: zone %s comes late in %v", p, m.Zone, r.Walk(p))
				}
				repeated = repeated || met[m.Zone]
			}
			met[m.Zone] = true
		}
	}
	if formers < 20 || strangers < 100 {
		t.Fatalf("only %d former owners and %d strangers seen", formers, strangers)
	}
}

func TestTheLatestFormerOwnerIsAskedFirst(t *testing.T) {
	// Replicas 1 of 1 partition: replaced nodes are gone, so ownership has to move by weight.
	var facts Facts
	say := func(f Fact) {
		f.Number, f.Kind = facts.Next(), Joined
		facts.Merge(setOf(t, f))
	}
	say(Fact{Node: "n1", Weight: 1})
	say(Fact{Node: "n2", Weight: 100})
	say(Fact{Node: "n3", Weight: 10000})
	cfg := Config{Partitions: 64, Replicas: 1}
	r, seen := fold(t, cfg, facts), 0
	for p := range cfg.Partitions {
		if w := r.Walk(p); slices.Equal(r.former[p], []NodeID{"n2", "n1"}) {
			seen++
			if !slices.Equal(w, []NodeID{"n3", "n2", "n1"}) {
				t.Errorf("partition %d walks %v", p, w)
			}
		}
	}
	if seen < 50 {
		t.Fatalf("only %d partitions passed from n1 to n2 to n3\n%v", seen, r)
	}
}

func TestADepartedNodeStaysDepartedWhateverIsSaidLater(t *testing.T) {
	facts := joined(t, "n1", "n2", "n3")
	facts.Merge(setOf(t,
		Fact{Number: 4, Kind: Left, Node: "n2"},
		Fact{Number: 5, Kind: Joined, Node: "n2"},
		Fact{Number: 6, Kind: Replaced, Node: "n3", By: "n2"}, // by one who is gone: n3 just leaves
		Fact{Number: 7, Kind: Left, Node: "n9"},               // heard of only as it goes
		Fact{Number: 8, Kind: Joined, Node: "n9"},
	))
	r := fold(t, Config{Partitions: 8}, facts)
	var gone []NodeID
	for _, m := range r.Departed() {
		gone = append(gone, m.ID)
	}
	if len(r.Members()) != 1 || !slices.Equal(gone, []NodeID{"n2", "n3", "n9"}) || len(r.PartitionsOf("n1")) != 8 {
		t.Errorf("departed %v\n%v", gone, r)
	}
}

func TestALaterJoinedFactUpdatesAndAnEarlierOneThatArrivesLateDoesNot(t *testing.T) {
	facts := setOf(t,
		Fact{Number: 1, Kind: Joined, Node: "n1", PeerAddr: "old:1"},
		Fact{Number: 3, Kind: Joined, Node: "n1", PeerAddr: "new:1", APIAddr: "new:2", Zone: "z", Weight: 7})
	facts.Merge(setOf(t, Fact{Number: 2, Kind: Joined, Node: "n1", PeerAddr: "late:1"}))
	m, ok := fold(t, Config{}, facts).Node("n1")
	if want := (Member{ID: "n1", PeerAddr: "new:1", APIAddr: "new:2", Zone: "z", Weight: 7, Joined: 1}); !ok || m != want {
		t.Errorf("got %+v, want %+v", m, want)
	}
}

func TestAReplacementInheritsZoneAndWeightUnlessToldOtherwise(t *testing.T) {
	facts := setOf(t,
		Fact{Number: 1, Kind: Joined, Node: "n1", Zone: "a", Weight: 3},
		Fact{Number: 2, Kind: Replaced, Node: "n1", By: "n2"},
		Fact{Number: 3, Kind: Replaced, Node: "n2", By: "n3", Zone: "b", Weight: 5})
	r := fold(t, Config{}, facts)
	n3, _ := r.Node("n3")
	if n3 != (Member{ID: "n3", Zone: "b", Weight: 5, Joined: 3}) || r.Departed()[1].Zone != "a" || r.Departed()[1].Weight != 3 {
		t.Errorf("%+v after %+v", n3, r.Departed())
	}
}

func TestAClusterWithoutMembersOwnsNothing(t *testing.T) {
	facts := joined(t, "n1")
	facts.Merge(setOf(t, Fact{Number: 2, Kind: Left, Node: "n1"}))
	r := fold(t, Config{Partitions: 4}, facts)
	if len(r.Owners(3)) != 0 || len(r.Walk(3)) != 0 || len(r.Active(3, func(NodeID) bool { return true })) != 0 || r.Owns("n1", 3) {
		t.Errorf("%v", r)
	}
}

func TestMoreMembersThanTheBoundIsAnError(t *testing.T) {
	pl := newPlacement(Config{Partitions: 1, Replicas: 1})
	for i := range MaxMembers {
		pl.join(Fact{}, NodeID(fmt.Sprintf("n%d", i)))
	}
	err := pl.step(Fact{Number: 9, Kind: Joined, Node: "one more"})
	if err == nil || !strings.Contains(err.Error(), "fold #9 joined one more: more than 4096 members") {
		t.Errorf("error %v", err)
	}
}

func TestTheHeaviestClusterStaysWithinSixtyFourBits(t *testing.T) {
	var groups []shareGroup
	for range MaxMembers / 2 {
		groups = append(groups, shareGroup{weights: []uint64{MaxWeight, MaxWeight - 1}, limit: between{0, MaxPartitions}})
	}
	total := uint64(MaxPartitions * MaxReplicas)
	low, high := 0, 0
	for _, ranges := range shares(groups, total, MaxPartitions) {
		for _, r := range ranges {
			low, high = low+r.lo, high+r.hi
		}
	}
	if uint64(low) > total || uint64(high) < total || high-low > MaxMembers {
		t.Errorf("shares of %d add up to %d..%d", total, low, high)
	}
}

func BenchmarkFoldTwentyFacts(b *testing.B) { benchmarkFold(b, Config{}, 20) }

func BenchmarkFoldFiftyNodesInFourZones(b *testing.B) {
	benchmarkFold(b, Config{Partitions: 1024}, 50)
}

func benchmarkFold(b *testing.B, cfg Config, nodes int) {
	b.Helper()
	var names []string
	for i := range nodes {
		name := fmt.Sprintf("n%d", i)
		if nodes > 20 {
			name += "@" + string("abcd"[i%4])
		}
		names = append(names, name)
	}
	facts := joined(b, names...)
	b.ReportAllocs()
	for b.Loop() {
		fold(b, cfg, facts)
	}
}

func BenchmarkActiveWithAnOwnerDown(b *testing.B) {
	r := fold(b, Config{}, joined(b, "n1", "n2", "n3", "n4", "n5"))
	down := r.Owners(7)[0]
	b.ReportAllocs()
	for b.Loop() {
		r.Active(7, func(id NodeID) bool { return id != down })
	}
}
