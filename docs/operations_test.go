package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/cartwheel-db/cartwheel/cmd"
	_ "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1" // registers the contract
)

const operationsHeader = "| what it does | Go | TypeScript | command line | service and method |"

var quoted = regexp.MustCompile("`([^`]+)`")

// The first column of such a table is prose; each name in the others must be one of
// the product.
func TestOperationsInTheTablesAreThere(t *testing.T) {
	known := map[string]func(typ, name string) bool{}
	golang := exportedNames(t)
	known["Go"] = func(typ, name string) bool { return golang[typ+"."+name] || golang[name] }
	known["TypeScript"] = func(typ, name string) bool { return declaresMethod(t, strings.ToLower(typ), name) }
	known["command line"] = func(_, name string) bool { return isCommand(name) }
	known["service and method"] = func(_, name string) bool { return isMethod(name) }
	columns := strings.Split(strings.Trim(operationsHeader, "| "), " | ")
	rows := 0
	for _, p := range pages(t) {
		typ := strings.TrimSuffix(filepath.Base(p.path), ".md")
		typ = strings.ToUpper(typ[:1]) + typ[1:]
		inside := false
		for i, line := range p.lines {
			if line == operationsHeader {
				inside = true
				continue
			}
			if inside = inside && strings.HasPrefix(line, "|"); !inside || strings.HasPrefix(line, "|---") {
				continue
			}
			cells := strings.Split(strings.Trim(line, "| "), " | ")
			if len(cells) != len(columns) {
				t.Errorf("%s:%d: %d columns, want %d", p.path, i+1, len(cells), len(columns))
				continue
			}
			rows++
			for n, column := range columns[1:] {
				for _, name := range quoted.FindAllStringSubmatch(cells[n+1], -1) {
					if !known[column](typ, name[1]) {
						t.Errorf("%s:%d: %s has no %s", p.path, i+1, column, name[1])
					}
				}
			}
		}
	}
	if rows == 0 {
		t.Error("no page has such a table: the search is broken")
	}
}

var clientOption = regexp.MustCompile("`(With[A-Za-z]+)(?:\\([^`]*\\))?`")

func TestOptionsOfTheGoClientThatPagesNameAreThere(t *testing.T) {
	known, named := exportedNames(t), 0
	for _, p := range pages(t) {
		for i, line := range p.lines {
			for _, found := range clientOption.FindAllStringSubmatch(line, -1) {
				if named++; !known[found[1]] && !known["Set."+found[1]] {
					t.Errorf("%s:%d: the Go client has no %s", p.path, i+1, found[1])
				}
			}
		}
	}
	if named == 0 {
		t.Error("no page names an option: the search is broken")
	}
}

// exportedNames are the functions and methods of the Go client: "Open", "Set.Add".
func exportedNames(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "sdk", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Recv == nil {
				names[f.Name.Name] = true
				continue
			}
			on := f.Recv.List[0].Type
			if star, pointer := on.(*ast.StarExpr); pointer {
				on = star.X
			}
			if of, ok := on.(*ast.Ident); ok {
				names[of.Name+"."+f.Name.Name] = true
			}
		}
	}
	return names
}

// declaresMethod looks for a method in the TypeScript of a type.
func declaresMethod(t *testing.T, typ, name string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "sdk", "ts", "src", typ+".ts"))
	if err != nil {
		return false
	}
	return regexp.MustCompile(`(?m)^  (async )?` + regexp.QuoteMeta(name) + `\(`).Match(text)
}

func isCommand(path string) bool {
	c, rest, err := cmd.Root().Find(strings.Fields(path))
	return err == nil && len(rest) == 0 && c.Name() == strings.Fields(path)[len(strings.Fields(path))-1]
}

func isMethod(path string) bool {
	service, method, _ := strings.Cut(path, "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("cartwheel.v1." + service))
	if err != nil {
		return false
	}
	s, ok := found.(protoreflect.ServiceDescriptor)
	return ok && s.Methods().ByName(protoreflect.Name(method)) != nil
}

func TestWhatIsNotAnOperationIsNotFound(t *testing.T) {
	if isCommand("set ad") || isCommand("sett add") || !isCommand("set add") {
		t.Error("commands: set add alone is one")
	}
	if isMethod("SetService/Ad") || isMethod("SettService/Add") || !isMethod("SetService/Add") {
		t.Error("methods: SetService/Add alone is one")
	}
	if declaresMethod(t, "set", "ad") || !declaresMethod(t, "set", "add") {
		t.Error("TypeScript: add alone is one")
	}
	if names := exportedNames(t); names["Set.Ad"] || !names["Set.Add"] {
		t.Error("Go: Set.Add alone is one")
	}
}
