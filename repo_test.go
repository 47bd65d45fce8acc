package seer

import (
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseRepoURL(t *testing.T) {
	for raw, want := range map[string]repoURL{
		"org/repo":                             {"https://github.com/org/repo", "repo", true, false},
		"org/repo/":                            {"https://github.com/org/repo", "repo", true, false},
		"org/repo.git":                         {"https://github.com/org/repo.git", "repo", true, false},
		"org/foo.github.io":                    {"https://github.com/org/foo.github.io", "foo.github.io", true, false}, // D23
		"org/foo.github.io.git":                {"https://github.com/org/foo.github.io.git", "foo.github.io", true, false},
		"org/.github":                          {"https://github.com/org/.github", ".github", true, false},
		"https://github.com/org/repo":          {"https://github.com/org/repo", "repo", true, false},
		"https://github.com/org/repo.git//":    {"https://github.com/org/repo.git", "repo", true, false},
		"HTTPS://github.com/org/repo":          {"https://github.com/org/repo", "repo", true, false},
		"https://git.example.com:8443/a/b/c/d": {"https://git.example.com:8443/a/b/c/d", "d", true, false},
		"https://example.com/~me/r%2Bd":        {"https://example.com/~me/r%2Bd", "r+d", true, false},
		"http://127.0.0.1:3000/repo.git":       {"http://127.0.0.1:3000/repo.git", "repo", false, false},
		"ssh://git@example.com:2222/org/repo":  {"ssh://git@example.com:2222/org/repo", "repo", false, true},
		"ssh://example.com/org/repo.git":       {"ssh://example.com/org/repo.git", "repo", false, true},
		"git@github.com:org/repo.git":          {"git@github.com:org/repo.git", "repo", false, true},
		"git@host:repo/":                       {"git@host:repo", "repo", false, true},
		"host:/srv/git/repo.git":               {"host:/srv/git/repo.git", "repo", false, true},
		"git://example.com/repo":               {"git://example.com/repo", "repo", false, false},
		"https://[::1]:8443/org/repo":          {"https://[::1]:8443/org/repo", "repo", true, false},
	} {
		t.Run(raw, func(t *testing.T) {
			got, err := parseRepoURL(raw)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestParseRepoURLErrors(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                  "is empty",
		"/":                                 "is empty",
		"repo":                              "is no repository",
		"github.com/org/repo":               "has no scheme: put https:// before it",
		"./repo":                            "is a path on this machine",
		"/srv/repo":                         "is a path on this machine",
		"~/repo":                            "is a path on this machine",
		"file:///srv/repo":                  "is a path on this machine",
		"https://github.com":                "has no repository name",
		"https:///org/repo":                 "has no host",
		"https://github.com/org/..":         "has no repository name",
		"https://hunter2@github.com/o/r":    "holds a user name or token",
		"https://me:hunter2@github.com/o/r": "holds a user name or token",
		"ssh://git:hunter2@github.com/o/r":  "holds a password",
		"https://github.com/o/r?x=hunter2":  "has a query or fragment",
		"https://github.com/o/r#hunter2":    "has a query or fragment",
		"https://github.com/o/r/tree/main":  "is a page inside a repository",
		"ext::sh -c id":                     "is no repository",
		"ext://sh/repo":                     "has a scheme that git is not given here",
		"-oProxyCommand=id":                 "is no repository",
		"ssh://-oProxyCommand=id/repo":      "has no host",
		"ssh://-oX@host/repo":               "has a malformed user name",
		"-u@host:repo":                      "is no repository",
		"git@host:-repo":                    "has characters that no repository's path has",
		"git@host:a b":                      "has characters that no repository's path has",
		"org/re po":                         "is no repository",
		"org/repo;id":                       "is no repository",
		"https://host/org/$(id)":            "has characters that no repository's path has",
		"https://host/org/a%0Ab":            "has no repository name",
		"https://host/org/a%2F..%2Fb":       "has no repository name",
		"https://host/\x00":                 "is no URL",
		"org/.git":                          "has no repository name",
		"org/..":                            "has no repository name",
	} {
		t.Run(raw, func(t *testing.T) {
			_, err := parseRepoURL(raw)
			require.ErrorContains(t, err, want)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestRepoTarget(t *testing.T) {
	assert.Equal(t, "/workspace/foo.github.io", RepoConfig{URL: "org/foo.github.io/"}.target())
	assert.Equal(t, "/opt/x", RepoConfig{URL: "org/repo", Target: "/opt/x"}.target())
}

func FuzzParseRepoURL(f *testing.F) {
	for _, seed := range []string{
		"org/repo", "org/foo.github.io", "https://github.com/org/repo.git/", "ssh://git@host:22/a/b", "git@host:a/b.git",
		"-oProxyCommand=x", "https://u:p@h/r", "https://h/%2e%2e", "host:/r", "git://h/..git", "https://[::1]/r",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := parseRepoURL(raw)
		if err != nil {
			if len(raw) > 40 { // long enough not to be in the message by chance
				require.NotContains(t, err.Error(), raw)
			}
			return
		}
		require.False(t, strings.HasPrefix(parsed.clone, "-"), parsed.clone)
		require.False(t, strings.HasPrefix(parsed.name, "-"), parsed.name)
		require.NotContains(t, parsed.clone, "\n")
		require.Equal(t, path.Join("/workspace", parsed.name), "/workspace/"+parsed.name, "the name leaves its directory")
		again, err := parseRepoURL(parsed.clone)
		require.NoError(t, err, parsed.clone)
		require.Equal(t, parsed, again)
	})
}
