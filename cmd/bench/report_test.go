package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

var rewrite = flag.Bool("update", false, "write the golden files anew")

// sample is a report of known latencies: 100 adds of 1 to 100 ms, 50 reads of
// 2 ms with 20 members each, and some failures.
func sample() Report {
	t := newTally()
	for i := range 100 {
		t.note(addMember, time.Duration(i+1)*time.Millisecond, 0, nil)
	}
	others := newTally()
	for range 50 {
		others.note(read, 2*time.Millisecond, 20, nil)
	}
	others.note(removeMember, time.Second, 0, &cartwheel.Error{Reason: cartwheel.QuorumNotReached, OutcomeUnknown: true})
	others.note(removeMember, time.Second, 0, &cartwheel.Error{Reason: cartwheel.QuorumNotReached, OutcomeUnknown: true})
	others.note(read, time.Second, 0, errors.New("tripped"))
	t.merge(others)

	cfg := Config{Workload: "cart", Clients: 64, Keys: 1000, Theta: 0.99, Seed: 1, W: 2, Load: true, Warmup: 2 * time.Second}
	r := Report{
		Command:  "cartwheel bench --w 2",
		Began:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Machine:  Machine{Cores: 2, CPU: "A CPU", Platform: "linux/amd64", Go: "go1.26", Commit: "abcdef012345"},
		Cluster:  Cluster{Nodes: 3, N: 3, R: 2, W: 2, Q: 256, Version: "v1", Endpoints: []string{"http://h:1", "http://h:2", "http://h:3"}},
		Workload: cfg.workload(workloads[0]), ElapsedS: 10,
		Client:   Client{CPUPerOp: 55.4, Retries: 3, Retried: 2, Failovers: 1, UnknownOutcomes: 2},
		Failures: t.reasons(), Warnings: []string{"http://h:3/metrics: status 404 Not Found"}, Interrupted: true,
	}
	r.Operations, r.Total = t.summary(workloads[0].mix, 10*time.Second)
	r.Server = Server{Nodes: 2, Processes: 1, CPUSeconds: 0.03, Syncs: 75, Frames: 100, Messages: 250, Commits: 10, Groups: 125, Shipped: 340}.over(r.Total.Ops, r.writes())
	return r
}

func TestTheReportReadsAsItAlwaysDid(t *testing.T) {
	r := sample()
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	object, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"report.txt": text.Bytes(), "report.json": append(object, '\n')} {
		golden(t, name, got)
	}
}

// golden holds what is written against a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestRatesAreOfWhatSucceeded(t *testing.T) {
	r := sample()
	if r.Total.Ops != 150 || r.Total.Errors != 3 || r.Total.PerS != 15 {
		t.Errorf("total: %+v, want 150 operations, 3 errors, 15 a second", r.Total)
	}
	if s := r.Server; s.CPUPerOp != 200 || s.SyncsPerOp != 0.5 || s.SyncsPerWrite != 0.75 || s.GroupsPerCommit != 12.5 || s.MessagesPerFrame != 2.5 {
		t.Errorf("servers: %+v, want 200 us, 0.5 and 0.75 syncs, 12.5 groups, 2.5 messages", s)
	}
	if reads := r.Operations[2]; reads.Kind != read || reads.PerRead != 20 || reads.Ops != 50 {
		t.Errorf("reads: %+v, want 50 of 20 members", reads)
	}
}

func TestLatenciesPastTheHistogramCountAsItsLongest(t *testing.T) {
	tally := newTally()
	tally.note(read, time.Hour, 0, nil)
	tally.note(read, 0, 0, nil)
	_, total := tally.summary([]share{{read, 100}}, time.Second)
	if total.Ops != 2 || total.Latency.Max < 119_000 || total.Latency.Max > 121_000 {
		t.Errorf("an hour reads %+v, want two operations and a maximum of two minutes", total)
	}
}

func TestTheModelOfTheCPUIsThatOfTheFirstCore(t *testing.T) {
	const cpuinfo = "processor\t: 0\nmodel name\t: A CPU: fast\n\nprocessor\t: 1\nmodel name\t: Another\n"
	if got := cpuModel(cpuinfo, "none"); got != "A CPU: fast" {
		t.Errorf("got %q", got)
	}
	if got := cpuModel("Hardware : x\n", "none"); got != "none" {
		t.Errorf("got %q without a model", got)
	}
	if !strings.Contains(thisMachine().Platform, "/") {
		t.Errorf("this machine: %+v", thisMachine())
	}
}
