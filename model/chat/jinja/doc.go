// Package jinja renders chat templates: Jinja as transformers runs it, with trim_blocks and lstrip_blocks, loop controls,
// the {% generation %} tag, Python's json.dumps as tojson, raise_exception and strftime_now, and nothing of Jinja that is
// about other templates or HTML.
//
// A template is somebody else's program. Rendering is bounded in steps, text and depth (state.go), reads no file, changes
// no value, and ends in a result or an *Error.
//
// From source to text: lex.go cuts tokens, parse.go and parseexpr.go make statements and expressions of them, stmt.go,
// loop.go and expr.go run these, ops.go, attr.go and value.go are Python's semantics, filters.go, sequences.go, tests.go,
// strings.go and json.go what templates call.
//
// Sources: Jinja 3.1's documentation and lexical rules, and transformers' utils/chat_template_utils.py.
package jinja
