// Package behaviour holds the one table of behaviour cases that every client
// library runs, and runs it with the Go client against real nodes.
package behaviour_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

// clients, each of which asks another node first.
var clients = []string{"ann", "ben", "cleo"}

func TestTheGoClientBehavesAsTheTableSays(t *testing.T) {
	all := readTable(t)
	starting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster, err := servertest.Start(starting, len(clients))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	dbs := map[string]*cartwheel.DB{}
	for i, name := range clients {
		at := cluster.Endpoints()
		db, err := cartwheel.Open(t.Context(), append(at[i:len(at):len(at)], at[:i]...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		dbs[name] = db
	}
	run := fmt.Sprintf("%x", time.Now().UnixNano())
	used := map[string]bool{}
	for i, c := range all.Cases {
		t.Run(c.Name, func(t *testing.T) {
			r := &runner{operations: operations, dbs: dbs, address: fmt.Sprintf("%s/%d/", run, i), variables: map[string]string{}, sessions: map[string]*cartwheel.Session{}, used: used}
			for n, s := range c.Steps {
				err := r.step(t.Context(), s)
				if err != nil {
					t.Fatalf("step %d, %s: %v", n+1, s.Do, err)
				}
			}
		})
	}
	for name := range operations {
		if !used[name] {
			t.Errorf("no case uses %s", name)
		}
	}
}

// runner is one case being run.
type runner struct {
	operations map[string]operation
	dbs        map[string]*cartwheel.DB
	address    string

	mu        sync.Mutex
	variables map[string]string
	sessions  map[string]*cartwheel.Session // of handles, by client, type and label
	used      map[string]bool               // operations
}

func (r *runner) step(ctx context.Context, s step) error {
	if s.Together != nil {
		failed := make([]error, len(s.Together))
		var all sync.WaitGroup
		for i, one := range s.Together {
			all.Go(func() { failed[i] = r.step(ctx, one) })
		}
		all.Wait()
		return errors.Join(failed...)
	}
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := r.once(ctx, s)
		if err == nil || !s.Eventually || time.Now().After(until) {
			return err
		}
	}
}

func (r *runner) once(ctx context.Context, s step) (err error) {
	defer func() {
		switch failed := recover().(type) {
		case nil:
		case mistake:
			err = failed.error
		default:
			panic(failed)
		}
	}()
	do, known := r.operations[s.Do]
	if !known {
		return fmt.Errorf("no such operation")
	}
	args := map[string]any{}
	for name, value := range s.Args {
		args[name] = value
	}
	h := r.handle(s)
	got, err := do(ctx, h, &arguments{s.Do, args, r})
	if s.Error != nil {
		return s.Error.unlike(err)
	}
	if err != nil {
		return err
	}
	got["replicas"], got["degraded"], got["operation"], got["session"] = h.info.Replicas, h.info.Degraded, h.info.OperationID, ""
	if h.session != nil {
		got["session"] = h.session.Token()
	}
	want := map[string]any{}
	for name, value := range s.Want {
		if text, ok := value.(string); ok && strings.HasPrefix(text, "$") {
			value = r.token(value)
		}
		want[name] = value
	}
	if text := differs(want, got); text != "" {
		return errors.New(text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used[s.Do] = true
	for variable, field := range s.Save {
		text, ok := got[field].(string)
		if !ok {
			return fmt.Errorf("%s has no %s to save", s.Do, field)
		}
		r.variables[variable] = text
	}
	return nil
}

// nested runs steps that came as a value.
func (r *runner) nested(ctx context.Context, steps any) {
	text, err := json.Marshal(steps)
	must(err)
	var list []step
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	d.UseNumber()
	must(d.Decode(&list))
	for _, s := range list {
		must(r.step(ctx, s))
	}
}

// handle returns the handle of a step.
func (r *runner) handle(s step) handle {
	as, at := s.As, s.At
	if as == "" {
		as = clients[0]
	}
	if at == "" {
		at = "it"
	}
	db := r.dbs[as]
	if db == nil {
		must(fmt.Errorf("no client %q", as))
	}
	h := handle{db: db, info: &cartwheel.Info{}, bucket: "cases", key: r.address + at}
	if s.Bucket != nil {
		h.bucket = textOf(plain(s.Bucket))
	}
	if s.Key != nil {
		h.key = textOf(plain(s.Key))
	}
	kind, _, _ := strings.Cut(s.Do, ".")
	name := strings.Join([]string{as, kind, h.bucket, h.key}, " ")
	r.mu.Lock()
	if r.sessions[name] == nil {
		r.sessions[name] = cartwheel.NewSession("")
	}
	h.session = r.sessions[name]
	r.mu.Unlock()
	switch s.With.Session {
	case nil:
	case "none":
		h.session = nil
	case "new":
		h.session = cartwheel.NewSession("")
	default:
		h.session = cartwheel.NewSession(r.token(s.With.Session))
	}
	h.options = append(s.With.calls(r, db), cartwheel.Report(h.info))
	return h
}

func (o options) calls(r *runner, db *cartwheel.DB) (list []cartwheel.CallOption) {
	if o.W > 0 {
		list = append(list, cartwheel.W(o.W))
	}
	if o.R > 0 {
		list = append(list, cartwheel.R(o.R))
	}
	if o.Fast {
		list = append(list, cartwheel.Fast())
	}
	if o.MaxStalenessMs > 0 {
		list = append(list, cartwheel.MaxStaleness(time.Duration(o.MaxStalenessMs)*time.Millisecond))
	}
	if o.Operation != nil {
		list = append(list, cartwheel.Operation(r.token(o.Operation)))
	}
	switch {
	case o.Expires != "":
		list = append(list, cartwheel.ExpiresAt(time.UnixMilli(whole64(o.Expires))))
	case o.ExpiresInMs != 0:
		list = append(list, cartwheel.ExpiresIn(time.Duration(o.ExpiresInMs)*time.Millisecond))
	}
	return list
}

// token resolves a context, cursor, session or operation id.
func (r *runner) token(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		name, variable := strings.CutPrefix(v, "$")
		if !variable {
			return v
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		text, saved := r.variables[name]
		if !saved {
			must(fmt.Errorf("nothing was saved as %s", v))
		}
		return text
	case map[string]any:
		text := r.token(v["changed"])
		if len(text) < 13 {
			must(fmt.Errorf("%q is too short to be changed", text))
		}
		other := "A"
		if text[12] == 'A' {
			other = "B"
		}
		return text[:12] + other + text[13:]
	}
	must(fmt.Errorf("%v is no token", value))
	return ""
}

func (want refusal) unlike(err error) error {
	var failed *cartwheel.Error
	if !errors.As(err, &failed) {
		return fmt.Errorf("got %w, want %s", err, want.Reason)
	}
	reason, known := reasons[want.Reason]
	switch {
	case !known:
		return fmt.Errorf("no such reason: %s", want.Reason)
	case failed.Reason != reason,
		want.Limit != nil && failed.Limit != *want.Limit,
		want.Actual != nil && failed.Actual != *want.Actual,
		want.OutcomeUnknown != nil && failed.OutcomeUnknown != *want.OutcomeUnknown:
		return fmt.Errorf("got %s, limit %d, actual %d, outcome unknown: %t; want %s: %w", failed.Reason.Error(), failed.Limit, failed.Actual, failed.OutcomeUnknown, want.Reason, err)
	}
	return nil
}

var reasons = map[string]cartwheel.Reason{
	"INVALID_NAME":       cartwheel.InvalidName,
	"TOO_LARGE":          cartwheel.TooLarge,
	"CONTEXT_FORGED":     cartwheel.ContextForged,
	"CONTEXT_FOREIGN":    cartwheel.ContextForeign,
	"CONTEXT_MALFORMED":  cartwheel.ContextMalformed,
	"CURSOR_INVALID":     cartwheel.CursorInvalid,
	"COUNTER_OVERFLOW":   cartwheel.CounterOverflow,
	"QUORUM_NOT_REACHED": cartwheel.QuorumNotReached,
	"OPERATION_EXPIRED":  cartwheel.OperationExpired,
	"OPERATION_REUSED":   cartwheel.OperationReused,
	"OPERATION_INVALID":  cartwheel.OperationInvalid,
	"INVALID_OPTION":     cartwheel.InvalidOption,
	"TOO_STALE":          cartwheel.TooStale,
	"SESSION_UNMET":      cartwheel.SessionUnmet,
	"SESSION_INVALID":    cartwheel.SessionInvalid,
}
