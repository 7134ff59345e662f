package jinja

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBounds: whatever a template asks for, it ends, soon and in an error that says why.
func TestBounds(t *testing.T) {
	deep := func(open, inner, closing string) string {
		return strings.Repeat(open, 5000) + inner + strings.Repeat(closing, 5000)
	}
	for name, c := range map[string]struct{ src, want string }{
		"loops":            {`{% for a in range(90000) %}{% for b in range(90000) %}{% for c in range(90000) %}{% endfor %}{% endfor %}{% endfor %}`, "steps"},
		"repeated text":    {`{{ ('a' * 1000000000) * 1000000000 }}`, "MiB"},
		"doubled text":     {`{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}`, "MiB"},
		"doubled list":     {`{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}`, "steps"},
		"shared value":     {`{% set ns = namespace(x=['abcdefgh']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}`, "more than"},
		"shared json":      {`{% set ns = namespace(x=['abcdefgh']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}`, "more than"},
		"shared compared":  {`{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}`, "steps"},
		"deep value":       {`{% set ns = namespace(x=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}`, "deep"},
		"deep comparison":  {`{% set ns = namespace(x=[], y=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}`, ""},
		"replaced":         {`{{ ('a' * 1000000).replace('a', 'a' * 1000000) }}`, "MiB"},
		"joined":           {`{{ range(90000) | join('a' * 100000) }}`, "MiB"},
		"indented":         {`{{ [1] | tojson(indent=999999999999) }}`, "MiB"},
		"indented lines":   {`{{ ('a\n' * 100000) | indent(100000) }}`, "MiB"},
		"filled":           {`{{ '1'.zfill(99999999999) }}`, "zfill"},
		"endless macro":    {`{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`, "deep"},
		"endless loop":     {`{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}`, "deep"},
		"large range":      {`{{ range(10000000000) }}`, "range of more"},
		"large power":      {`{{ 10 ** 100 }}`, "too large"},
		"large product":    {`{{ 9000000000000000000 * 9 }}`, "too large"},
		"output":           {`{% for i in range(90) %}{{ 'a' * 1000000 }}{% endfor %}`, "longer than"},
		"deep brackets":    {"{{ " + deep("[", "", "]") + " }}", "deep"},
		"deep parentheses": {"{{ " + deep("(", "1", ")") + " }}", "deep"},
		"deep not":         {"{{ " + strings.Repeat("not ", 5000) + "1 }}", "deep"},
		"deep minus":       {"{{ " + strings.Repeat("- ", 5000) + "1 }}", "deep"},
		"deep else":        {"{{ " + strings.Repeat("1 if 1 else ", 5000) + "1 }}", "deep"},
		"deep if":          {deep("{% if 1 %}", "", "{% endif %}"), "deep"},
		"long chain":       {"{{ 1" + strings.Repeat(" + 1", 100000) + " }}", ""},
		"long calls":       {"{{ x" + strings.Repeat(".a", 100000) + " }}", "undefined"},
		"long filters":     {"{{ 1" + strings.Repeat("|abs", 100000) + " }}", ""},
		"large source":     {strings.Repeat("a", maxSource+1), "template of"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := render(c.src, nil)
			if c.want == "" && err != nil && !strings.Contains(err.Error(), "deep") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Errorf("%T is no *Error", err)
			}
			if d := time.Since(start); d > 20*time.Second { // a hundred times what it takes
				t.Errorf("it took %v", d)
			}
		})
	}
}

// TestErrorLines: a failure says the template's line.
func TestErrorLines(t *testing.T) {
	for src, line := range map[string]int{
		"a\n{{ missing.x }}":                2,
		"\n\n{% if missing.x %}{% endif %}": 3,
		"{% for x in 5 %}\n\n{% endfor %}":  1,
		"a\n{% set x = 1 / 0 %}":            2,
		"a\nb{{ 1 +\n}}":                    3,
		"a\n{{ 'x }}":                       2,
		"\n{# a":                            2,
		"\n{% raw %}":                       2,
		"\n{{ [1) }}":                       2,
		"\n{{ $ }}":                         2,
		"\n{% endif %}":                     2,
		"\n{% include 'x' %}":               2,
	} {
		_, err := render(src, nil)
		var e *Error
		if !errors.As(err, &e) || e.Line != line || e.Msg == "" || !strings.HasPrefix(err.Error(), fmt.Sprintf("line %d: ", line)) {
			t.Errorf("%q: %v, want line %d", src, err, line)
		}
	}
	_, err := render("{{ raise_exception('why') }}", nil)
	var e *Error
	if !errors.As(err, &e) || !e.Raised || e.Msg != "why" {
		t.Errorf("raised: %#v", err)
	}
}

// TestTemplateIsShared: one template, rendered at once in several goroutines, always gives the same.
func TestTemplateIsShared(t *testing.T) {
	tpl, err := Parse("{% macro m(x) %}[{{ x }}]{% endmacro %}{% for x in xs | sort %}{{ m(x) }}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]any{"xs": NewList(int64(3), int64(1), int64(2))}
	got := make(chan string)
	for range 8 {
		go func() {
			r, err := tpl.Render(names)
			got <- fmt.Sprint(r.Text, err)
		}()
	}
	for range 8 {
		if g := <-got; g != "[1][2][3]<nil>" {
			t.Errorf("got %s", g)
		}
	}
}

// TestFromJSON: order and whole numbers are kept; what is no JSON is an error.
func TestFromJSON(t *testing.T) {
	v, err := FromJSON([]byte(`{"b": [1, 2.0, 1e3, null, true], "a": {"z": "\u00e9", "y": 123456789012345678901}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := render("{{ v }}", map[string]any{"v": v})
	if want := "{'b': [1, 2.0, 1000.0, None, True], 'a': {'z': 'é', 'y': 123456789012345678901}}"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, bad := range []string{"", "{", "[1,]", "1 2", "{1: 2}", strings.Repeat("[", 5000), "1" + strings.Repeat("0", 5000)} {
		if v, err := FromJSON([]byte(bad)); err == nil {
			t.Errorf("%.20s: %v", bad, v)
		}
	}
}
