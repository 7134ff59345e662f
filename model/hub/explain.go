package hub

import (
	"errors"
	"fmt"
	"net/http"
)

// explain puts an error about a repository into words: what the user can do. It keeps the error.
func (c *Client) explain(r Repo, revision string, err error) error {
	if err == nil {
		return nil
	}
	var status *StatusError
	if errors.As(err, &status) && status.FromHub {
		words, kind := c.words(r, revision, status)
		if kind == nil {
			return fmt.Errorf("%s: %s: %w", r, words, err)
		}
		return fmt.Errorf("%s: %w: %s (%w)", r, kind, words, err)
	}
	if networkFault(err) || nameless(err) {
		return fmt.Errorf("%s: %s cannot be reached: check the network and the proxy (HTTPS_PROXY), or name a mirror in HF_ENDPOINT: %w", r, c.base.Host, err)
	}
	return fmt.Errorf("%s: %w", r, err)
}

// words says what a refusal of the Hub means and what to do about it.
func (c *Client) words(r Repo, revision string, e *StatusError) (words string, kind error) {
	page := c.url(r.page())
	login := "make a token with read access at " + c.login()
	anonymous := c.cfg.Token == ""
	switch {
	case e.Code == "GatedRepo" && anonymous:
		return fmt.Sprintf("it is gated: request access at %s, then %s", page, login), ErrAccess
	case e.Code == "GatedRepo":
		return fmt.Sprintf("it is gated, and the account of the token (from %s) has no access: request it at %s; "+
			"if you did, its owners have yet to grant it, or the token lacks the permission to read gated repositories", c.cfg.TokenFrom, page), ErrAccess
	case e.Code == "RevisionNotFound":
		return fmt.Sprintf("it has no revision %q: see its branches, tags and commits at %s", clip(revision), page), ErrNotFound
	case e.Code == "EntryNotFound":
		return "the listed file is gone: try again", ErrNotFound
	case e.Status == http.StatusUnauthorized && !anonymous && e.Code != "RepoNotFound":
		return fmt.Sprintf("the token from %s is not accepted: it is mistyped, revoked or expired: %s", c.cfg.TokenFrom, login), ErrAccess
	case e.Status == http.StatusUnauthorized:
		return fmt.Sprintf("there is none of this name, or it is private or gated (the Hub does not say which to strangers): "+
			"check the spelling, look at %s in a browser, and %s", page, login), ErrAccess
	case e.Status == http.StatusNotFound:
		return fmt.Sprintf("there is none of this name that the token's account may see: check the spelling and the kind (%s), "+
			"and whether %s opens in a browser where you are logged in", r.Kind, page), ErrNotFound
	case e.Status == http.StatusForbidden:
		return fmt.Sprintf("the token from %s does not permit this: a token with the right permissions is made at %s", orNone(c.cfg.TokenFrom), c.url("/settings/tokens")), ErrAccess
	case e.Status == http.StatusTooManyRequests:
		return "the Hub limits how often it is asked; wait some minutes, and use a token: limits are higher with one", nil
	case e.Status >= 500:
		return "the Hub is in trouble: try again later", nil
	}
	return "the Hub refuses this", nil
}

// login is where tokens are made and how one is used.
func (c *Client) login() string {
	return c.url("/settings/tokens") + " and log in: export HF_TOKEN=hf_... (or run `hf auth login`)"
}

func orNone(s string) string {
	if s == "" {
		return "nowhere"
	}
	return s
}
