package seer

import (
	"io/fs"
	"strings"
)

func (v *validator) repos() {
	targets := make([]string, len(v.config.Repos))
	for i, r := range v.config.Repos {
		field := at("Repos", i)
		parsed, err := parseRepoURL(r.URL)
		if err != nil {
			v.problem(field+".URL", redactedURL(r.URL), "%v", err)
		}
		if r.Target == "" || v.sandboxPath(field+".Target", r.Target) {
			targets[i] = r.target()
		}
		v.repoTarget(field, i, targets)
		if r.Branch != "" {
			v.ref(field+".Branch", r.Branch)
		}
		if r.Commit != "" && !commitHash.MatchString(r.Commit) {
			v.problem(field+".Commit", quoted(r.Commit), "write a commit's hash, in full or at least 7 hex digits; a branch or tag goes into Branch")
		}
		v.install(field, r)
		v.dockerfile(field+".Dockerfile", r.Dockerfile)
		if r.TokenEnv != "" {
			v.secret(field+".TokenEnv", r.TokenEnv)
			if err == nil && !parsed.https {
				v.problem(field+".TokenEnv", quoted(r.TokenEnv), "a token is sent over https only; give an https URL, or remove TokenEnv")
			}
		}
	}
}

// redactedURL is a URL for a message: one that might hold a secret is not shown.
func redactedURL(text string) string {
	if strings.ContainsAny(text, "@?#") {
		return ""
	}
	return quoted(text)
}

// repoTarget finds clones that would lie in each other; git refuses those, or
// worse, depending on which is first.
func (v *validator) repoTarget(field string, i int, targets []string) {
	for j := range i {
		switch {
		case targets[i] == "" || targets[j] == "":
		case targets[i] == targets[j]:
			v.problem(field+".Target", quoted(targets[i]), "%s is cloned to the same place; give one of them another target", at("Repos", j))
		case within(targets[i], targets[j]), within(targets[j], targets[i]):
			v.problem(field+".Target", quoted(targets[i]), "%s is cloned to %s, and one would lie in the other; give one of them another target", at("Repos", j), targets[j])
		}
	}
}

func (v *validator) install(field string, r RepoConfig) {
	if r.Install != "" {
		v.command(field+".Install", r.Install)
	}
	if r.InstallTimeout < 0 {
		v.problem(field+".InstallTimeout", formatDuration(r.InstallTimeout), "a duration is not negative; 0 means 10m")
	}
	if r.Install == "" && r.InstallOptional {
		v.problem(field+".InstallOptional", "true", "there is nothing to install; set Install too, or remove it")
	}
}

func (v *validator) dockerfile(field, name string) {
	switch {
	case name == "":
	case !fs.ValidPath(name) || name == "." || strings.HasPrefix(name, "-"):
		v.problem(field, quoted(name), "write the Dockerfile's path in the repository, such as \"docker/Dockerfile\"")
	case v.env.local:
		v.problem(field, quoted(name), "the local backend runs no Docker containers; use the Modal backend, or remove it")
	}
}
