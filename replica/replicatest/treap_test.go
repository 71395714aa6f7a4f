package replicatest

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestATreapIsASortedMapWhoseSnapshotsStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00\u00ff")), 0, 4, -1)
		var tree, snapshot *treap
		model, frozen := map[string]string{}, map[string]string{}
		check := func(t *rapid.T, tree *treap, model map[string]string, from string) {
			var got []string
			tree.ascend(from, func(k string, v []byte) bool {
				if string(v) != model[k] {
					t.Fatalf("%q holds %q, want %q", k, v, model[k])
				}
				got = append(got, k)
				return true
			})
			want := slices.Sorted(maps.Keys(model))
			want = want[len(want)-len(slices.DeleteFunc(slices.Clone(want), func(k string) bool { return k < from })):]
			if !slices.Equal(got, want) {
				t.Fatalf("from %q: keys %q, want %q", from, got, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), key.Draw(t, "value")
				tree, model[k] = tree.put(k, []byte(v)), v
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				tree = tree.delete(k)
				delete(model, k)
			},
			"cut": func(t *rapid.T) {
				from := key.Draw(t, "from")
				until := from + key.Draw(t, "more")
				tree = tree.cut(from, until)
				maps.DeleteFunc(model, func(k, _ string) bool { return from <= k && k < until })
			},
			"snapshot": func(*rapid.T) { snapshot, frozen = tree, maps.Clone(model) },
			"": func(t *rapid.T) {
				k := key.Draw(t, "from")
				check(t, tree, model, k)
				check(t, snapshot, frozen, "")
				if v, found := tree.get(k); string(v) != model[k] {
					t.Fatalf("get %q: %q, %t, want %q", k, v, found, model[k])
				}
			},
		})
	})
}
