package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// moduleRoot is the folder of go.mod, found upwards from the test's folder.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// inspect parses every Go file of the module at root, whatever its build tags, and returns the broken rules and the
// packages that it saw. It parses in this process: the output of a command may come from a cache.
func inspect(t testing.TB, root string) (faults, packages []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if _, err := os.Stat(filepath.Join(path, "go.mod")); path != root && (err == nil || name == "testdata" || name[0] == '.' || name[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		if !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
			if !slices.ContainsFunc(layers, func(l layer) bool { return l.pkg == pkg }) {
				faults = append(faults, fmt.Sprintf("package %s is not in the table of layers (cmd/gorun/layers_test.go)", pkg))
			}
		}
		found, err := inspectFile(path, rel, pkg)
		faults = append(faults, found...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return faults, packages
}

func inspectFile(path, rel, pkg string) (faults []string, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return []string{err.Error()}, nil
	}
	test := strings.HasSuffix(path, "_test.go")
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rel, err)
		}
		short, ours := strings.CutPrefix(name, "gorun/")
		if why := allowed(pkg, short, ours, test); why != "" {
			faults = append(faults, fmt.Sprintf("%s: %s imports %s: %s", rel, pkg, short, why))
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if what := forbiddenCall(call, pkg, rel, test); what != "" {
				faults = append(faults, fmt.Sprintf("%s:%d: %s", rel, set.Position(call.Pos()).Line, what))
			}
		}
		return true
	})
	return faults, nil
}

// forbiddenCall returns "" or what is wrong with the call: only main ends the process, and only tools/skip skips tests.
func forbiddenCall(call *ast.CallExpr, pkg, rel string, test bool) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	on, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	name := on.Name + "." + sel.Sel.Name
	switch {
	case name == "os.Exit" && !test && filepath.Base(rel) != "main.go":
		return "os.Exit outside of main.go: return an error"
	case on.Name == "log" && (strings.HasPrefix(sel.Sel.Name, "Fatal") || strings.HasPrefix(sel.Sel.Name, "Panic")):
		return name + ": return an error"
	case pkg != "tools/skip" && slices.Contains([]string{"t", "b", "f", "tb"}, on.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name):
		return name + ": use tools/skip, so that make test can list it"
	}
	return ""
}
