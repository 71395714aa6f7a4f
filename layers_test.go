package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/cartwheel-db/cartwheel"

const (
	connect    = "connectrpc.com/connect"
	protobuf   = "google.golang.org/protobuf"
	msgpack    = "github.com/vmihailenco/msgpack/v5"
	bbolt      = "go.etcd.io/bbolt"
	memberlist = "github.com/hashicorp/memberlist"
	rapid      = "pgregory.net/rapid"
	xxhash     = "github.com/cespare/xxhash/v2"
	siphash    = "github.com/dchest/siphash"
	sys        = "golang.org/x/sys"
	anything   = "..."
)

// layer is one row of the table: what the package may import beside the
// standard library, outside its tests. In pkg and ours "x/..." is x and
// everything below it; a library is always meant with all its packages.
type layer struct {
	pkg    string
	ours   []string
	others []string
	// pure packages are values: no goroutine, clock, lock, socket, file or dice.
	pure bool
}

// layers is the import table of the architecture. The first row that matches a
// package holds for it.
var layers = []layer{
	{pkg: ".", ours: []string{"cmd"}},
	{pkg: "dvv", pure: true},
	{pkg: "crdt/pack", others: []string{msgpack}, pure: true},
	{pkg: "crdt/crdttest", ours: []string{"dvv", "crdt", "crdt/pack"}, others: []string{rapid}},
	{pkg: "crdt", ours: []string{"dvv", "crdt/pack"}, others: []string{msgpack}, pure: true},
	{pkg: "ring/gossip", ours: []string{"ring"}, others: []string{memberlist, msgpack}},
	{pkg: "ring", others: []string{xxhash, siphash}, pure: true},
	{pkg: "replica/quorum", pure: true},
	{pkg: "replica/breaker", pure: true},
	{pkg: "replica/merkle", others: []string{xxhash, siphash}, pure: true},
	{pkg: "replica/store", ours: []string{"dvv", "crdt", "crdt/pack", "replica/merkle"}, others: []string{bbolt, msgpack, sys, xxhash, siphash}},
	{pkg: "replica/replicatest", ours: []string{"dvv", "crdt", "crdt/pack", "crdt/crdttest", "ring", "replica", "replica/quorum", "replica/merkle", "replica/store"}, others: []string{rapid}},
	{pkg: "replica", ours: []string{"dvv", "crdt", "ring", "replica/quorum", "replica/merkle", "replica/breaker"}, pure: true},
	{pkg: "sdk/gen/...", ours: []string{"sdk/gen/..."}, others: []string{connect, protobuf}},
	{pkg: "server/...", ours: []string{"dvv", "crdt", "crdt/pack", "ring", "ring/gossip", "replica", "replica/quorum", "replica/merkle", "replica/store", "sdk/gen/...", "server/..."}, others: []string{anything}},
	{pkg: "sdk", ours: []string{"sdk/gen/..."}, others: []string{connect, protobuf, xxhash}},
	{pkg: "cmd/...", ours: []string{"server/...", "sdk", "cmd/..."}, others: []string{anything}},
	{pkg: "examples/...", ours: []string{"sdk"}, others: []string{anything}},
	{pkg: "docs"},
}

// impure is what a pure package leaves to its driver, subpackages included.
var impure = []string{"time", "sync", "net", "os", "math/rand", "crypto/rand", "syscall", "log"}

func TestEveryPackageImportsOnlyWhatItsLayerAllows(t *testing.T) {
	seen, problems, err := checkLayers(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(seen, "dvv") {
		t.Errorf("walked %v and met no dvv: the walk is broken", seen)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

func TestTheLayerCheckFindsPlantedMistakes(t *testing.T) {
	source := func(imports string) string { return "package x\nimport (\n" + imports + "\n)\n" }
	for _, test := range []struct {
		name, file, text string
		want             string // part of the one problem; empty for none
	}{
		{"a layer below may be imported", "crdt/set.go", source(`"` + module + `/dvv"`), ""},
		{"a layer above may not", "dvv/dot.go", source(`"` + module + `/crdt"`), "dvv/dot.go:3: dvv may not import crdt"},
		{"a library of the row may be imported", "ring/gossip/a.go", source(`"` + memberlist + `"`), ""},
		{"a library of another row may not", "ring/a.go", source(`"` + memberlist + `"`), "ring may not import " + memberlist},
		{"a library comes with its subpackages", "crdt/a.go", source(`"` + msgpack + `/msgpcode"`), ""},
		{"a library does not come with its neighbours", "crdt/a.go", source(`"` + msgpack + `bis"`), "may not import"},
		{"the server stays off the client", "server/peer/a.go", source(`"` + module + `/sdk"`), "server/peer may not import sdk"},
		{"the server speaks the contract", "server/a.go", source(`"` + module + `/sdk/gen/cartwheel/v1"`), ""},
		{"test kits stay out of the server", "server/a.go", source(`"` + module + `/crdt/crdttest"`), "may not import crdt/crdttest"},
		{"tests import what they need", "dvv/dot_test.go", source(`"time"` + "\n" + `"` + module + `/sdk"`), ""},
		{"a pure package reads no clock", "replica/a.go", source(`"time"`), "replica is pure and may not import time"},
		{"a pure package holds no atomic either", "ring/a.go", source(`"sync/atomic"`), "may not import sync/atomic"},
		{"a pure package starts no goroutine", "replica/merkle/a.go", "package x\nfunc f() { go f() }\n", "replica/merkle/a.go:2: replica/merkle is pure and starts a goroutine"},
		{"a store may hold a lock", "replica/store/a.go", source(`"sync"`), ""},
		{"a package without a row is a decision nobody made", "misc/a.go", "package x\n", "misc has no row in the layer table"},
		{"fixtures and other people's code are not ours", "sdk/ts/node_modules/p/a.go", source(`"time"`), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problems, err := checkLayers(fstest.MapFS{test.file: {Data: []byte(test.text)}})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case test.want == "" && len(problems) > 0:
				t.Errorf("want no problem, got %q", problems)
			case test.want != "" && (len(problems) != 1 || !strings.Contains(problems[0], test.want)):
				t.Errorf("want one problem with %q, got %q", test.want, problems)
			}
		})
	}
}

// checkLayers parses every Go file outside tests and returns the packages it
// met and what breaks the table. It asks the sources and not the go command,
// whose answer may come from a cache.
func checkLayers(tree fs.FS) (seen, problems []string, err error) {
	err = fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name != "." && (name[0] == '.' || name[0] == '_' || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		if pkg := path.Dir(file); !slices.Contains(seen, pkg) {
			seen = append(seen, pkg)
		}
		text, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		found, err := checkFile(file, text)
		problems = append(problems, found...)
		return err
	})
	return seen, problems, err
}

func checkFile(file string, text []byte) (problems []string, err error) {
	pkg := path.Dir(file)
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	report := func(at token.Pos, format string, args ...any) {
		where := fmt.Sprintf("%s:%d: ", file, files.Position(at).Line)
		problems = append(problems, where+fmt.Sprintf(format, args...))
	}
	row := slices.IndexFunc(layers, func(l layer) bool { return matches(l.pkg, pkg) })
	if row < 0 {
		report(parsed.Package, "%s has no row in the layer table", pkg)
		return problems, nil
	}
	allowed := layers[row]
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if allowed.pure && slices.ContainsFunc(impure, func(p string) bool { return matches(p+"/...", imported) }) {
			report(spec.Pos(), "%s is pure and may not import %s", pkg, imported)
		}
		ours, isOurs := strings.CutPrefix(imported, module+"/")
		switch {
		case isOurs && !allows(allowed.ours, ours):
			report(spec.Pos(), "%s may not import %s", pkg, ours)
		case !isOurs && !standard(imported) && !allowsLibrary(allowed.others, imported):
			report(spec.Pos(), "%s may not import %s", pkg, imported)
		}
	}
	if allowed.pure {
		ast.Inspect(parsed, func(node ast.Node) bool {
			if _, ok := node.(*ast.GoStmt); ok {
				report(node.Pos(), "%s is pure and starts a goroutine", pkg)
			}
			return true
		})
	}
	return problems, nil
}

func allows(patterns []string, imported string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, imported) })
}

func allowsLibrary(libraries []string, imported string) bool {
	return slices.ContainsFunc(libraries, func(l string) bool { return l == anything || matches(l+"/...", imported) })
}

// matches reports whether the path is the pattern, or lies at or below it where
// the pattern ends in "...".
func matches(pattern, p string) bool {
	below, open := strings.CutSuffix(pattern, "...")
	if !open {
		return pattern == p
	}
	return strings.HasPrefix(p+"/", below)
}

// standard tells the standard library by the dot its first element lacks.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
