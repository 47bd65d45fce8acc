package seer

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// RepoConfig declares a git repository to clone into the sandbox.
type RepoConfig struct {
	// URL is an https, http, ssh or git URL, user@host:path, or "org/repo" for
	// a repository on GitHub. Required. It holds no password: see TokenEnv. Over
	// ssh git uses the key that is in the sandbox: LocalFiles, which are copied
	// before, may bring /root/.ssh/id_ed25519.
	URL string `json:"url" yaml:"url"`
	// Install is a bash command to run in the clone, such as "pip install -e ."
	// "" means none. When it fails, Start fails with what it printed.
	Install string `json:"install,omitempty" yaml:"install,omitempty"`
	// InstallTimeout bounds Install. 0 means 10m.
	InstallTimeout time.Duration `json:"install_timeout,omitempty" yaml:"install_timeout,omitempty"`
	// InstallOptional lets Start go on, with a warning, when Install fails.
	InstallOptional bool `json:"install_optional,omitempty" yaml:"install_optional,omitempty"`
	// Branch is a branch or tag. "" means the repository's default.
	Branch string `json:"branch,omitempty" yaml:"branch,omitempty"`
	// Commit is a hash, in full or at least 7 digits of it, to check out. ""
	// means the newest of Branch.
	Commit string `json:"commit,omitempty" yaml:"commit,omitempty"`
	// Dockerfile is the path of a Dockerfile in the repository to build and
	// run with Docker in the sandbox. "" means none. Modal only.
	Dockerfile string `json:"dockerfile,omitempty" yaml:"dockerfile,omitempty"`
	// TokenEnv is the name of the variable with the token for a private
	// repository over https, looked up like a secret. The token reaches git
	// alone, and nothing that runs code of others (an Install, Jupyter, VS Code,
	// a Dockerfile) begins before that clone is done. "" means no token.
	TokenEnv string `json:"token_env,omitempty" yaml:"token_env,omitempty"`
	// Target is the absolute path of the clone in the sandbox. "" means
	// /workspace/NAME, with the repository's name.
	Target string `json:"target,omitempty" yaml:"target,omitempty"`
}

const defaultInstallTimeout = 10 * time.Minute

// RepoHandle tells where a declared repository is in the sandbox.
type RepoHandle struct {
	Name   string `json:"name"`
	URL    string `json:"url"`  // what git cloned
	Path   string `json:"path"` // directory in the sandbox
	Commit string `json:"commit"`
}

// repoURL is a parsed RepoConfig.URL.
type repoURL struct {
	clone string // what git is given
	name  string // last part of the path, without .git
	https bool
	ssh   bool
}

var (
	githubShort = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$`)
	scpLike     = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^/:].*|/[^/].*)$`)
	urlScheme   = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
	hostName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	repoPath    = regexp.MustCompile(`^[A-Za-z0-9._~+@%/-]+$`)
)

const repoURLForms = "write https://host/org/repo, ssh://git@host/org/repo, git@host:org/repo or, for GitHub, org/repo"

// parseRepoURL reads every form that RepoConfig.URL takes. Its errors show
// nothing of the URL, which may hold a token.
func parseRepoURL(raw string) (repoURL, error) {
	text := strings.TrimRight(raw, "/")
	switch {
	case text == "":
		return repoURL{}, errors.New("is empty: " + repoURLForms)
	case urlScheme.MatchString(text):
		return parseFullURL(text)
	case githubShort.MatchString(text):
		return newRepoURL("https://github.com/"+text, text, "https")
	case scpLike.MatchString(text):
		return newRepoURL(text, scpLike.FindStringSubmatch(text)[3], "ssh")
	case strings.HasPrefix(text, "."), strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"):
		return repoURL{}, errors.New("is a path on this machine: mount it with LocalDirs, or give a URL to clone")
	case strings.Count(text, "/") >= 2 && hostName.MatchString(text[:strings.Index(text, "/")]):
		return repoURL{}, errors.New("has no scheme: put https:// before it")
	}
	return repoURL{}, errors.New("is no repository: " + repoURLForms)
}

func parseFullURL(text string) (repoURL, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return repoURL{}, errors.New("is no URL: " + repoURLForms)
	}
	scheme := strings.ToLower(parsed.Scheme)
	switch scheme {
	case "https", "http":
		if parsed.User != nil {
			return repoURL{}, errors.New("holds a user name or token: put the token in a variable and name that in TokenEnv")
		}
	case "ssh", "git":
		if _, hasPassword := parsed.User.Password(); hasPassword {
			return repoURL{}, errors.New("holds a password: use a key, or an https URL with TokenEnv")
		}
		if user := parsed.User.Username(); user != "" && !hostName.MatchString(user) {
			return repoURL{}, errors.New("has a malformed user name: write ssh://git@host/org/repo")
		}
	case "file":
		return repoURL{}, errors.New("is a path on this machine: mount it with LocalDirs, or give a URL to clone")
	default:
		return repoURL{}, errors.New("has a scheme that git is not given here: " + repoURLForms)
	}
	if !hostName.MatchString(parsed.Hostname()) && !strings.Contains(parsed.Host, "[") {
		return repoURL{}, errors.New("has no host: " + repoURLForms)
	}
	if parsed.RawQuery != "" || parsed.ForceQuery || strings.Contains(text, "#") {
		return repoURL{}, errors.New("has a query or fragment: give the repository alone, and Branch or Commit for a version of it")
	}
	if strings.EqualFold(parsed.Hostname(), "github.com") && strings.Count(strings.Trim(parsed.Path, "/"), "/") > 1 {
		return repoURL{}, errors.New("is a page inside a repository: give https://github.com/org/repo, and Branch or Commit for a version of it")
	}
	parsed.Scheme = scheme
	return newRepoURL(parsed.String(), strings.TrimPrefix(parsed.EscapedPath(), "/"), scheme)
}

func newRepoURL(clone, repository, scheme string) (repoURL, error) {
	if repository == "" {
		return repoURL{}, errors.New("has no repository name at its end: " + repoURLForms)
	}
	if !repoPath.MatchString(repository) || strings.HasPrefix(repository, "-") {
		return repoURL{}, errors.New("has characters that no repository's path has: " + repoURLForms)
	}
	name := strings.TrimSuffix(path.Base(repository), ".git")
	if unescaped, err := url.PathUnescape(name); err == nil {
		name = unescaped
	}
	if !validRepoName(name) {
		return repoURL{}, errors.New("has no repository name at its end: " + repoURLForms)
	}
	return repoURL{clone: clone, name: name, https: scheme == "https", ssh: scheme == "ssh"}, nil
}

var repoName = regexp.MustCompile(`^[A-Za-z0-9._~+@][A-Za-z0-9._~+@-]*$`)

func validRepoName(name string) bool {
	return repoName.MatchString(name) && strings.Trim(name, ".") != ""
}

// target is where the repository is cloned to. The URL must be valid.
func (r RepoConfig) target() string {
	if r.Target != "" {
		return r.Target
	}
	parsed, err := parseRepoURL(r.URL)
	if err != nil {
		return ""
	}
	return path.Join("/workspace", parsed.name)
}
