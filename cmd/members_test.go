package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server"
)

func TestANodeIsNamedByTheBeginningOfItsID(t *testing.T) {
	members := []cartwheel.Node{{ID: "abcd1"}, {ID: "abcd2"}, {ID: "abce"}, {ID: "abcd"}, {ID: "ef"}}
	for _, test := range []struct{ name, text, want, refused string }{
		{"in full", "abcd1", "abcd1", ""},
		{"by what nobody else begins with", "abce", "abce", ""},
		{"in full, though others begin like that", "abcd", "abcd", ""},
		{"a short id in full", "ef", "ef", ""},
		{"too little names nobody", "e", "e", ""},
		{"nobody is left to the cluster", "xyz0123", "xyz0123", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := wholeID(members, test.text); err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
	if _, err := wholeID(members[:2], "abcd"); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "2 nodes begin like that: abcd1, abcd2") {
		t.Errorf("what names two: %v", err)
	}
}

func TestANodeLeavesAndTellsWhenItMayBeStopped(t *testing.T) {
	nodes := startNodes(t)
	t.Setenv(endpointsVariable, nodes[0].APIAddr()+","+nodes[1].APIAddr())
	gone := nodes[2]
	id := string(gone.ID())
	run := func(in string, args ...string) (code int, out, errs string) {
		var o, e bytes.Buffer
		code = execute(t.Context(), args, strings.NewReader(in), &o, &e)
		return code, o.String(), e.String()
	}
	for i := range 20 {
		if code, _, errs := run("", "counter", "add", "likes/"+strings.Repeat("k", i+1), "1"); code != 0 {
			t.Fatal(errs)
		}
	}
	eventually(t, "the first hears that all are ready", func() bool {
		for _, p := range nodes[0].Snapshot().Peers {
			if p.State != server.Ready {
				return false
			}
		}
		return true
	})
	code, out, errs := run("", "members", "plan", "leave", id[:8], "--moves")
	for _, want := range []string{
		id + " leaves, as planned for ring ", "OWNS NOW", "8 replicas of partitions change hands", "PARTITION  FROM",
		"risk: 2 members would remain, and each partition wants 3 owners (wants --force)", "cartwheel members leave " + id + " --plan ",
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("the plan does not say %q: exit %d, %s%s", want, code, out, errs)
		}
	}
	hash := regexp.MustCompile(`--plan ([0-9a-f]{16}) --force`).FindStringSubmatch(out)
	if len(hash) != 2 {
		t.Fatalf("no command to paste in %s", out)
	}
	for _, test := range []struct {
		name, in, args string
		code           int
		want           string
	}{
		{"risks that are not accepted are refused before anybody is asked", "y\n", "members leave " + id, exitRefused, "plan risky"},
		{"nor does --yes accept them", "", "members leave " + id + " --yes", exitRefused, "plan risky"},
		{"no is no", "n\n", "members leave " + id + " --force", exitFailed, "not confirmed: nothing was changed"},
		{"and so is silence", "", "members leave " + id + " --force", exitFailed, "not confirmed"},
		{"a plan for another ring is refused", "", "members leave " + id + " --force --plan 0123456789abcdef", exitRefused, "plan stale"},
		{"what is no plan too", "", "members leave " + id + " --force --plan 0123", exitRefused, "want 16 hex digits"},
		{"nobody takes his own place", "", "members replace " + id + " --by " + id + " --force --plan " + hash[1], exitRefused, "its own place"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, _, errs := run(test.in, strings.Fields(test.args)...)
			if code != test.code || !strings.Contains(errs, test.want) {
				t.Errorf("exit %d, %s; want %d, %s", code, errs, test.code, test.want)
			}
			if _, member := nodes[0].Ring().Node(gone.ID()); !member {
				t.Fatal("and yet it is gone")
			}
		})
	}
	code, out, errs = run("y\n", "members", "leave", id[:8], "--force", "--wait")
	for _, want := range []string{"Do it? [y/N]", "done: the ring is ", id + " left and has handed everything off: its process may be stopped"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("does not say %q: exit %d, %s%s", want, code, out, errs)
		}
	}
	if s := gone.Snapshot(); s.State != server.Left || s.Stored != 0 {
		t.Errorf("it is %s and stores %d", s.State, s.Stored)
	}
	// The very same again changes nothing more, and nothing is wrong with it.
	code, out, errs = run("", "members", "leave", id, "--force", "--plan", hash[1], "-o", "json")
	var object changeAnswer
	if err := json.Unmarshal([]byte(out), &object); err != nil || code != 0 || object.Node != id || object.State != "left" || object.Left == nil || *object.Left != 0 {
		t.Errorf("exit %d, %v: %s%s", code, err, out, errs)
	}
	code, out, errs = run("", "members")
	if code != 0 || strings.Count(out, "\n") != 4 || !strings.Contains(out, id+" left and has handed everything off") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	code, out, errs = run("", "members", "-o", "json")
	var list membersAnswer
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Nodes) != 2 || len(list.Departures) != 1 || list.Departures[0].Node.ID != id {
		t.Errorf("exit %d, %v: %s%s", code, err, out, errs)
	}
	// It still answers, through the others, until it is stopped.
	code, out, errs = run("", "counter", "get", "likes/k", "--endpoint", gone.APIAddr())
	if code != 0 || out != "1\n" {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	code, out, errs = run("", "status", "--endpoint", gone.APIAddr())
	if code != 0 || !strings.Contains(out, id+"  left") || !strings.Contains(out, "0 owned") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	if err := gone.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is heard of no more", func() bool {
		code, out, _ := run("", "members")
		return code == 0 && strings.Count(out, "\n") == 3
	})
}
