package behaviour_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"
)

// table is cases.json; README.md says what it means.
type table struct {
	Format int     `json:"format"`
	Cases  []story `json:"cases"`
}

type story struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
}

type step struct {
	Do         string            `json:"do"`
	As         string            `json:"as"`
	At         string            `json:"at"`
	Bucket     any               `json:"bucket"`
	Key        any               `json:"key"`
	With       options           `json:"with"`
	Args       map[string]any    `json:"args"`
	Want       map[string]any    `json:"want"`
	Error      *refusal          `json:"error"`
	Save       map[string]string `json:"save"`
	Eventually bool              `json:"eventually"`
	Together   []step            `json:"together"`
}

type options struct {
	W              uint32 `json:"w"`
	R              uint32 `json:"r"`
	Fast           bool   `json:"fast"`
	MaxStalenessMs int64  `json:"maxStalenessMs"`
	Operation      any    `json:"operation"`
	Session        any    `json:"session"`
	Expires        string `json:"expires"`
	ExpiresInMs    int64  `json:"expiresInMs"`
}

type refusal struct {
	Reason         string  `json:"reason"`
	Limit          *uint64 `json:"limit"`
	Actual         *uint64 `json:"actual"`
	OutcomeUnknown *bool   `json:"outcomeUnknown"`
}

func readTable(t *testing.T) table {
	t.Helper()
	file, err := os.ReadFile("cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var all table
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(&all); err != nil || all.Format != 1 || len(all.Cases) == 0 {
		t.Fatalf("format %d, %d cases, %v", all.Format, len(all.Cases), err)
	}
	return all
}

// plain turns what stands for a long or binary value into that value: every value
// is a string of its bytes, a number, a bool, a list, or an object.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if text, ok := v["base64"].(string); ok && len(v) == 1 {
			raw, err := base64.StdEncoding.DecodeString(text)
			must(err)
			return string(raw)
		}
		if text, ok := v["repeat"].(string); ok {
			return strings.Repeat(text, number(v["times"]))
		}
		if text, ok := v["numbered"].(string); ok {
			list := make([]any, number(v["count"]))
			for i := range list {
				list[i] = fmt.Sprint(text, i)
			}
			return list
		}
		out := map[string]any{}
		for name, inner := range v {
			out[name] = plain(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case json.Number:
		return v.String()
	default:
		return value
	}
}

func number(value any) int {
	n, err := value.(json.Number).Int64()
	must(err)
	return int(n)
}

// mistake is a table that means nothing; it ends a case by panic.
type mistake struct{ error }

func must(err error) {
	if err != nil {
		panic(mistake{err})
	}
}

// arguments are taken one by one, and none may be left over.
type arguments struct {
	of  string
	all map[string]any
	r   *runner
}

func (a *arguments) take(name string) (any, bool) {
	value, given := a.all[name]
	delete(a.all, name)
	return value, given
}

func (a *arguments) text(name string) string {
	value, given := a.take(name)
	if !given {
		return ""
	}
	return textOf(plain(value))
}

func (a *arguments) texts(name string) (list []string) {
	for _, v := range a.list(name) {
		list = append(list, textOf(v))
	}
	return list
}

func (a *arguments) list(name string) []any {
	value, given := a.take(name)
	if !given {
		return nil
	}
	list, ok := plain(value).([]any)
	if !ok {
		must(fmt.Errorf("%s: %s is %v, which is no list", a.of, name, value))
	}
	return list
}

// token is a text that may be a variable: a context or a cursor.
func (a *arguments) token(name string) string {
	value, _ := a.take(name)
	return a.r.token(value)
}

func (a *arguments) end() {
	if len(a.all) > 0 {
		must(fmt.Errorf("%s takes no %v", a.of, slices.Sorted(maps.Keys(a.all))))
	}
}

func textOf(value any) string {
	text, ok := value.(string)
	if !ok {
		must(fmt.Errorf("%v is no text", value))
	}
	return text
}

// whole are the parts of a result that are compared with all their names.
var whole = []string{"counters", "registers", "sets", "flags"}

// unordered are the lists whose order says nothing.
var unordered = []string{"siblings", "concurrent"}

// differs tells what of a result is not as wanted; nothing is the empty text. Names
// of tokens are resolved by the caller.
func differs(want, got map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, g := plain(want[name]), got[name]
		if _, there := got[name]; !there {
			return fmt.Sprintf("a result has no %s", name)
		}
		if slices.Contains(unordered, name) {
			w, g = sorted(w), sorted(g)
		}
		if slices.Contains(whole, name) {
			if wm, ok := w.(map[string]any); ok {
				if a, b := slices.Sorted(maps.Keys(wm)), slices.Sorted(maps.Keys(g.(map[string]any))); !slices.Equal(a, b) {
					return fmt.Sprintf("%s are %q, want %q", name, b, a)
				}
			}
		}
		if text := unlike(w, g); text != "" {
			return name + ": " + text
		}
	}
	return ""
}

func sorted(list any) any {
	out := slices.Clone(list.([]any))
	sort.Slice(out, func(i, j int) bool { return out[i].(string) < out[j].(string) })
	return out
}

func unlike(want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("got %s, want an object", brief(got))
		}
		for _, name := range slices.Sorted(maps.Keys(w)) {
			if text := unlike(w[name], g[name]); text != "" {
				return name + ": " + text
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("got %s, want %s", brief(got), brief(want))
		}
		for i := range w {
			if text := unlike(w[i], g[i]); text != "" {
				return fmt.Sprintf("[%d]: %s", i, text)
			}
		}
		return ""
	}
	if m, ok := got.(map[string]any); ok && m["member"] != nil {
		got = m["member"]
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Sprintf("got %s, want %s", brief(got), brief(want))
	}
	return ""
}

func brief(value any) string {
	text := fmt.Sprintf("%q", fmt.Sprint(value))
	if len(text) > 300 {
		text = text[:300] + "..."
	}
	return text
}

func TestWhatIsNotAsWantedIsSeen(t *testing.T) {
	member := map[string]any{"member": "milk", "note": "n", "expires": "0"}
	got := map[string]any{
		"value": "5", "replicas": 2, "saturated": false,
		"members":  []any{member},
		"siblings": []any{"b", "a"},
		"counters": map[string]any{"apples": "2"},
		"flags":    []any{"f"},
	}
	for _, test := range []struct {
		name, want string
		same       bool
	}{
		{"what is not named is not looked at", `{}`, true},
		{"all as wanted", `{"value": "5", "replicas": 2, "saturated": false, "members": ["milk"], "siblings": ["a", "b"], "counters": {"apples": "2"}, "flags": ["f"]}`, true},
		{"a member by what it has", `{"members": [{"member": "milk", "note": {"base64": "bg=="}}]}`, true},
		{"another value", `{"value": "6"}`, false},
		{"another number", `{"replicas": 3}`, false},
		{"another truth", `{"saturated": true}`, false},
		{"another note", `{"members": [{"member": "milk", "note": ""}]}`, false},
		{"another member", `{"members": ["eggs"]}`, false},
		{"a member more", `{"members": ["milk", "eggs"]}`, false},
		{"a member less", `{"members": []}`, false},
		{"a sibling less", `{"siblings": ["a"]}`, false},
		{"a counter less", `{"counters": {}}`, false},
		{"a counter more", `{"counters": {"apples": "2", "pears": "1"}}`, false},
		{"no flag", `{"flags": []}`, false},
		{"a field that no result has", `{"valu": "5"}`, false},
	} {
		d := json.NewDecoder(strings.NewReader(test.want))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if text := differs(want, got); (text == "") != test.same {
			t.Errorf("%s: %q", test.name, text)
		}
	}
}
