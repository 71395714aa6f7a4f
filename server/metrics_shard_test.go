package server

import (
	"reflect"
	"testing"

	"github.com/cartwheel-db/cartwheel/replica"
)

func TestEveryCountOfAShardIsExportedOnceAndSaysWhatItIs(t *testing.T) {
	exported, names := map[string]int{}, map[string]int{}
	for _, c := range shardCounts {
		exported[c.field]++
		names[c.name]++
		if c.help == "" || names[c.name] > 1 || exported[c.field] > 1 {
			t.Errorf("%s is exported as %s %d times, with the help %q", c.field, c.name, exported[c.field], c.help)
		}
	}
	met := map[string]bool{}
	var walk func(reflect.Type)
	walk = func(stats reflect.Type) {
		for i := range stats.NumField() {
			f := stats.Field(i)
			switch {
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type)
			case f.Type.Kind() != reflect.Uint64:
				t.Errorf("%v.%s is no count", stats, f.Name)
			case met[f.Name]:
				t.Errorf("two counts are called %s", f.Name)
			case exported[f.Name] == 0:
				t.Errorf("%v.%s is not exported: name it in shardCounts, with its help", stats, f.Name)
			}
			met[f.Name] = true
		}
	}
	walk(reflect.TypeFor[replica.Stats]())
	for field := range exported {
		if !met[field] {
			t.Errorf("replica.Stats has no %s", field)
		}
	}
}

func TestAScrapeReadsEachCountWhereItStands(t *testing.T) {
	r := reading{totals: reflect.ValueOf(replica.Stats{Counts: replica.Counts{Voids: 7}, Minted: 3})}
	metrics := shardMetrics()
	if len(metrics) != len(shardCounts) {
		t.Fatalf("%d metrics of %d counts", len(metrics), len(shardCounts))
	}
	for i, c := range shardCounts {
		want := map[string]float64{"Voids": 7, "Minted": 3}[c.field]
		if got := metrics[i].value(&r); got != want {
			t.Errorf("%s reads %v, want %v", c.field, got, want)
		}
	}
}
