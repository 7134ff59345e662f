package hub

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Kind is a kind of repository. Each kind has names of its own: a model and a dataset may share one.
type Kind string

// The kinds that gorun deals with.
const (
	Model   Kind = "model"
	Dataset Kind = "dataset"
)

// Repo names a repository on the Hub.
type Repo struct {
	Kind Kind
	ID   string // "ORG/NAME", or "NAME" of the Hub's oldest repositories
}

// maxID is the Hub's own limit.
const maxID = 96

var idPattern = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*$`)

// ParseRepo checks an id by the Hub's rules. They also make it safe as the name of a folder.
func ParseRepo(kind Kind, id string) (Repo, error) {
	bad := len(id) > maxID || !idPattern.MatchString(id) || strings.Contains(id, "--") || strings.Contains(id, "..")
	for part := range strings.SplitSeq(id, "/") {
		bad = bad || strings.HasSuffix(part, ".git") || strings.HasSuffix(part, ".") || strings.HasSuffix(part, "-")
	}
	if bad {
		return Repo{}, fmt.Errorf("%q is no id of a %s on the Hub: an id is ORG/NAME, of letters, digits, '-', '_' and '.'", clip(id), kind)
	}
	return Repo{kind, id}, nil
}

// String is "model ORG/NAME", for messages.
func (r Repo) String() string { return string(r.Kind) + " " + r.ID }

// folder is the repository's folder in the cache: models--ORG--NAME.
func (r Repo) folder() string {
	return string(r.Kind) + "s--" + strings.ReplaceAll(r.ID, "/", "--")
}

// prefix starts the repository's URLs outside of the API; a model has none.
func (r Repo) prefix() string {
	if r.Kind == Model {
		return ""
	}
	return string(r.Kind) + "s/"
}

// page is the path of the repository's page, for people.
func (r Repo) page() string { return "/" + r.prefix() + r.ID }

// api is the path of an endpoint of the API about the repository: api("tree", "main"). Each part is escaped whole.
func (r Repo) api(parts ...string) string {
	p := "/api/" + string(r.Kind) + "s/" + r.ID
	for _, part := range parts {
		p += "/" + url.PathEscape(part)
	}
	return p
}

// file is the path of a file's contents at a revision.
func (r Repo) file(revision, name string) string {
	p := r.page() + "/resolve/" + url.PathEscape(revision)
	for part := range strings.SplitSeq(name, "/") {
		p += "/" + url.PathEscape(part)
	}
	return p
}

// lfs is the path of the Git LFS batch endpoint.
func (r Repo) lfs() string { return r.page() + ".git/info/lfs/objects/batch" }

// MainRevision is the branch that is meant when no revision is named.
const MainRevision = "main"

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)

// checkRevision checks a branch, tag or commit: refs/REVISION in the cache is made of it.
func checkRevision(revision string) error {
	if !safePath(revision) {
		return fmt.Errorf("%q is no revision: give a branch, a tag or a commit", clip(revision))
	}
	return nil
}

// Limits on a path in a repository.
const (
	maxPath    = 1024
	maxElement = 255 // most file systems' limit
)

// safePath tells whether a slash-separated name stays below the folder that it is joined to, on any file system, and
// is in its shortest form.
func safePath(name string) bool {
	if name == "" || len(name) > maxPath || name[0] == '/' || path.Clean(name) != name {
		return false
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "." || element == ".." || len(element) > maxElement {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == '\uFFFD' })
}

// clip shortens what a stranger wrote, for a message.
func clip(s string) string {
	if len(s) > 120 {
		return strings.ToValidUTF8(s[:120], "") + "..."
	}
	return s
}
