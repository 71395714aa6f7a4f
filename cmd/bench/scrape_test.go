package bench

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetricsAreReadInTheTextFormatOfPrometheus(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       metrics
		wrong      string
	}{
		{"comments and blank lines are skipped", "# HELP a what\n# TYPE a counter\n\na 1\n", metrics{"a": 1}, ""},
		{"exponents", "a 1.5e+03\n", metrics{"a": 1500}, ""},
		{"a timestamp is ignored", "a 2 1700000000000\n", metrics{"a": 2}, ""},
		{"labels are summed over", "a{x=\"1\"} 1\na{x=\"2\",y=\"}\"} 2\n", metrics{"a": 3}, ""},
		{"special values", "a +Inf\n", nil, ""},
		{"a name alone", "a\n", nil, "no value"},
		{"no number", "a b\n", nil, "invalid syntax"},
		{"a line without end", "a{" + strings.Repeat("x", 2<<20), nil, "too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseMetrics(strings.NewReader(test.text))
			switch {
			case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
				t.Errorf("got %v, %v; want an error with %q", got, err, test.wrong)
			case test.wrong == "" && err != nil:
				t.Error(err)
			case test.want != nil && !cmp.Equal(got, test.want):
				t.Error(cmp.Diff(test.want, got))
			}
		})
	}
}

func TestAProcessThatSeveralNodesShareIsCountedOnce(t *testing.T) {
	at := func(pid, started, cpu, others float64) metrics {
		return metrics{processID: pid, startTime: started, cpuSeconds: cpu,
			storeSyncs: others, linkFrames: others, linkMessages: 4 * others, commits: others, commitGroups: 3 * others, groupsSent: 5 * others}
	}
	for _, test := range []struct {
		name          string
		endpoints     []string
		before, after reading
		want          Server
		warnings      int
	}{
		{"three nodes of one process", []string{"http://h:1", "http://h:2", "http://h:3"},
			reading{at(7, 1, 10, 0), at(7, 1, 10, 0), at(7, 1, 10, 0)}, reading{at(7, 1, 12, 5), at(7, 1, 12, 5), at(7, 1, 12, 5)},
			Server{Nodes: 3, Processes: 1, CPUSeconds: 2, Syncs: 15, Frames: 15, Messages: 60, Commits: 15, Groups: 45, Shipped: 75}, 0},
		{"the same process id on two hosts", []string{"http://a:1", "http://b:1"},
			reading{at(7, 1, 10, 0), at(7, 1, 10, 0)}, reading{at(7, 1, 12, 1), at(7, 1, 13, 1)},
			Server{Nodes: 2, Processes: 2, CPUSeconds: 5, Syncs: 2, Frames: 2, Messages: 8, Commits: 2, Groups: 6, Shipped: 10}, 0},
		{"two processes on one host", []string{"http://a:1", "http://a:2"},
			reading{at(7, 1, 10, 0), at(8, 1, 10, 0)}, reading{at(7, 1, 12, 1), at(8, 1, 13, 1)},
			Server{Nodes: 2, Processes: 2, CPUSeconds: 5, Syncs: 2, Frames: 2, Messages: 8, Commits: 2, Groups: 6, Shipped: 10}, 0},
		{"one that was started again is left out", []string{"http://a:1", "http://a:2"},
			reading{at(7, 1, 10, 9), at(8, 1, 10, 0)}, reading{at(7, 2, 1, 1), at(8, 1, 13, 1)},
			Server{Nodes: 1, Processes: 1, CPUSeconds: 3, Syncs: 1, Frames: 1, Messages: 4, Commits: 1, Groups: 3, Shipped: 5}, 1},
		{"one that could not be read is left out", []string{"http://a:1", "http://a:2"},
			reading{nil, at(8, 1, 10, 0)}, reading{at(7, 2, 1, 1), at(8, 1, 13, 1)},
			Server{Nodes: 1, Processes: 1, CPUSeconds: 3, Syncs: 1, Frames: 1, Messages: 4, Commits: 1, Groups: 3, Shipped: 5}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, warnings := spent(test.endpoints, test.before, test.after)
			if diff := cmp.Diff(test.want, got); diff != "" || len(warnings) != test.warnings {
				t.Errorf("%s\nwarnings %q, want %d", diff, warnings, test.warnings)
			}
		})
	}
}

func TestAnEndpointWithoutTheMetricsIsNamedInAWarning(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		_, _ = w.Write([]byte("process_cpu_seconds_total 1\n"))
	}))
	defer node.Close()
	absent := httptest.NewServer(http.NotFoundHandler())
	defer absent.Close()
	got, warnings := scrape(t.Context(), http.DefaultClient, []string{node.URL, absent.URL})
	if len(got) != 2 || got[0] != nil || got[1] != nil {
		t.Errorf("read %v", got)
	}
	want := []string{node.URL + "/metrics: no " + startTime, absent.URL + "/metrics: status 404 Not Found"}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Error(diff)
	}
}
